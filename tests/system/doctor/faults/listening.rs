//! Whether the bot runs, and where it listens.

use rustix::process::Signal;

use crate::doctor::lab::PORT;
use crate::doctor::network::HOST;
use crate::doctor::stand_in::StandIn;
use crate::doctor::table::Table;

#[test]
fn a_bot_of_ones_own() {
    let mut table = Table::new("进程与监听 / Process and listening");

    table.fault(("没有启动", "it was not started"), "service_not_found", async |lab| {
        lab.configure(&lab.settings());
        let report = lab.names(&[]).await;
        lab.mends(&report, &["dingbot"], "启动 / start it");
        let _bot = lab.bot().await;
        lab.is_mended().await;
    });

    table.fault(
        ("配置有误", "the configuration is not valid"),
        "configuration_invalid",
        async |lab| {
            lab.configure(&lab.settings().set("server.max_connections", "\"many\""));
            let file = lab.configuration();
            let report = lab.names(&[file.to_str().unwrap(), "max_connections"]).await;
            lab.mends(&report, &["dingbot check"], "改正所指的一行 / correct the line");
            let _bot = lab.bot().await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("端口被别的程序占用", "another program has the port"),
        "port_taken",
        async |lab| {
            lab.configure(&lab.settings());
            let page = StandIn::answer("404 Not Found", "server: other\r\n", "<h1>Not Found</h1>");
            let other = StandIn::at(&lab.network.host, &format!("0.0.0.0:{PORT}"), page);
            let pid = std::process::id().to_string();
            let report = lab.names(&["9090", &pid]).await;
            lab.mends(&report, &[], "停止那个程序，再启动 / stop that program, start the bot");
            other.stop().await;
            let _bot = lab.bot().await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("只监听 127.0.0.1", "it listens on 127.0.0.1 only"),
        "listens_on_loopback",
        async |lab| {
            let at_loopback = |settings| lab.listening(settings, &format!("127.0.0.1:{PORT}"));
            let bot = lab.bot_with(at_loopback).await;
            let report = lab.names(&["127.0.0.1:9090"]).await;
            lab.mends(&report, &["listen"], "改 server.listen / change server.listen");
            drop(bot);
            let _bot = lab.bot().await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("监听 8080，安全组只开放了 9090", "it listens at 8080, and the group opens 9090"),
        "security_group_closed",
        async |lab| {
            let _bot = lab.bot_with(|settings| lab.listening(settings, "[::]:8080")).await;
            let report = lab.names(&["8080"]).await;
            lab.carry_out_as(&report, 0, " --yes").await;
            lab.is_mended_at("http://8.222.215.42:8080/health").await;
        },
    );

    table.fault(("只监听 IPv6", "it listens by IPv6 only"), "ipv6_only", async |lab| {
        lab.sh("ip address add 2001:db8:120::120/64 dev eth0 nodad").await;
        let at_ipv6 = |settings| lab.listening(settings, "[2001:db8:120::120]:9090");
        let bot = lab.bot_with(at_ipv6).await;
        let report = lab.names(&["2001:db8:120::120"]).await;
        lab.mends(&report, &["listen"], "改 server.listen / change server.listen");
        drop(bot);
        let _bot = lab.bot().await;
        lab.is_mended().await;
    });

    table.fault(
        ("进程停住，不再应答", "the process hangs and answers nobody"),
        "health_silent",
        async |lab| {
            let bot = lab.bot().await;
            bot.signal(Signal::STOP);
            let report = lab.names(&[]).await;
            lab.mends(&report, &[], "让它继续，或重启 / let it go on, or restart it");
            bot.signal(Signal::CONT);
            lab.is_mended().await;
        },
    );

    table.fault(
        ("内网地址上是另一个服务", "another service answers at the private address"),
        "port_taken",
        async |lab| {
            let at_loopback = |settings| lab.listening(settings, &format!("127.0.0.1:{PORT}"));
            let bot = lab.bot_with(at_loopback).await;
            let page =
                StandIn::answer("200 OK", "content-type: text/html\r\n", "<h1>It works!</h1>");
            let other = StandIn::at(&lab.network.host, &format!("{HOST}:{PORT}"), page);
            lab.names(&["9090"]).await;
            other.stop().await;
            drop(bot);
            let report = lab.doctor().await;
            lab.mends(
                &report,
                &[],
                "停止那个程序，监听所有地址 / stop it, listen on all addresses",
            );
            let _bot = lab.bot().await;
            lab.is_mended().await;
        },
    );

    table.end();
}
