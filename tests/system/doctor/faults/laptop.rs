//! `dingbot doctor --target` on a laptop.

use rustix::process::Signal;

use crate::doctor::lab::PORT;
use crate::doctor::network::{HOST, PUBLIC};
use crate::doctor::stand_in::{Manner, StandIn};
use crate::doctor::table::Table;

const TARGET: &str = "http://8.222.215.42:9090";

#[test]
fn from_a_laptop() {
    let mut table = Table::new("从别的机器 --target / From another machine");

    table.fault(("域名解析不了", "the name is not known"), "name_not_resolved", async |lab| {
        let _bot = lab.bot().await;
        let target = format!("http://bot.example.com:{PORT}");
        let report = lab.laptop_names(&target, &["bot.example.com"]).await;
        lab.mends(&report, &["DNS"], "添加解析记录 / add the record");
        lab.serve_names(&[("bot.example.com", PUBLIC)]).await;
        lab.laptop_is_mended(&target).await;
    });

    table.fault(
        ("连接超时（安全组未开放）", "the connection times out (security group)"),
        "connect_timed_out",
        async |lab| {
            let _bot = lab.bot().await;
            lab.in_the_console(Vec::clear);
            let report = lab.laptop_names(TARGET, &[PUBLIC, "9090"]).await;
            lab.mends(
                &report,
                &["安全组", "ecurity group"],
                "开放安全组 / open the security group",
            );
            lab.sh("dingbot doctor --open-port --port 9090 --source 198.51.100.7 --yes").await;
            lab.laptop_is_mended(TARGET).await;
        },
    );

    table.fault(
        ("连接被拒绝（没有启动）", "the connection is refused (nothing listens)"),
        "connect_refused",
        async |lab| {
            let report = lab.laptop_names(TARGET, &[PUBLIC, "9090"]).await;
            lab.mends(&report, &[], "在主机上启动 / start it on the host");
            let _bot = lab.bot().await;
            lab.laptop_is_mended(TARGET).await;
        },
    );

    table.fault(
        ("连上了但没有应答", "connected, no answer"),
        "health_silent",
        async |lab| {
            let bot = lab.bot().await;
            bot.signal(Signal::STOP);
            let report = lab.laptop_names(TARGET, &[]).await;
            lab.mends(&report, &[], "重启服务 / restart the service");
            bot.signal(Signal::CONT);
            lab.laptop_is_mended(TARGET).await;
        },
    );

    let answers = [
        (("连接被重置", "the connection is reset"), "health_reset", Manner::Reset),
        (
            ("被重定向到登录页", "redirected to a login page"),
            "redirected",
            StandIn::answer("302 Found", "location: http://login.example.com/\r\n", ""),
        ),
        (
            ("端口上是别的服务", "another service has the port"),
            "wrong_service",
            StandIn::answer("200 OK", "content-type: text/html\r\n", "<h1>Welcome to nginx!</h1>"),
        ),
        (
            ("403", "403"),
            "forbidden",
            StandIn::answer("403 Forbidden", "server: nginx\r\n", "<h1>403 Forbidden</h1>"),
        ),
        (
            ("反向代理 502", "a proxy answers 502"),
            "proxy_upstream_down",
            StandIn::answer("502 Bad Gateway", "server: nginx\r\n", "<h1>502 Bad Gateway</h1>"),
        ),
        (
            ("反向代理 504", "a proxy answers 504"),
            "proxy_upstream_slow",
            StandIn::answer("504 Gateway Time-out", "server: nginx\r\n", "<h1>504</h1>"),
        ),
    ];
    for (names, code, manner) in answers {
        table.fault(names, code, async move |lab| {
            let other = StandIn::at(&lab.network.host, &format!("{HOST}:{PORT}"), manner);
            let report = lab.laptop_names(TARGET, &[]).await;
            lab.mends(&report, &[], "让机器人自己应答 / have the bot answer there");
            other.stop().await;
            let _bot = lab.bot().await;
            lab.laptop_is_mended(TARGET).await;
        });
    }

    table.end();
}
