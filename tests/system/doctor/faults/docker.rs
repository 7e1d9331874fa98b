//! The bot in a container.

use crate::docker::container::Container;
use crate::doctor::containers;
use crate::doctor::lab::{PORT, VISITORS};
use crate::doctor::stand_in::StandIn;
use crate::doctor::table::Table;
use crate::support::ecs::api::accept;

const PUBLISHED: [&str; 2] = ["-p", "9090:8080"];
/// What no settings are.
const WRONG: [&str; 2] = ["-e", "DINGBOT_SERVER__MAX_CONNECTIONS=many"];

/// A place for the store where nothing can be kept.
const NOWHERE: [&str; 2] = ["-e", "DATABASE_PATH=/proc/dingbot.db"];

#[test]
fn a_container() {
    let mut table = Table::with_docker("Docker 容器 / A Docker container");

    table.fault(("容器被停止", "the container was stopped"), "container_exited", async |lab| {
        let bot = containers::run(lab, &PUBLISHED).await;
        bot.stop().await;
        let report = lab.names(&["dingbot"]).await;
        lab.carry_out(&report).await;
        containers::is_healthy(&bot).await;
        lab.is_mended().await;
    });

    table.fault(
        ("容器因配置有误退出", "the container exits for its settings"),
        "configuration_invalid",
        async |lab| {
            let bot = containers::start(lab, &[&PUBLISHED[..], &WRONG].concat()).await;
            containers::becomes(&bot, "exited").await;
            let report = lab.names(&["max_connections"]).await;
            let how = "按日志改正，重建容器 / correct what the log names, make it anew";
            lab.mends(&report, &["docker logs"], how);
            bot.remove().await;
            let _bot = containers::run(lab, &PUBLISHED).await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("容器反复重启", "the container starts again and again"),
        "container_restarting",
        async |lab| {
            let options = [&PUBLISHED[..], &NOWHERE, &["--restart", "always"]].concat();
            let bot = containers::start(lab, &options).await;
            containers::becomes(&bot, "restarting").await;
            let report = lab.names(&["/proc/dingbot.db"]).await;
            let how = "按日志改正，重建容器 / correct what the log names, make it anew";
            lab.mends(&report, &["docker logs"], how);
            bot.remove().await;
            let _bot = containers::run(lab, &PUBLISHED).await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("容器不健康（进程停住）", "the container is unhealthy (its process hangs)"),
        "container_unhealthy",
        async |lab| {
            let hurry = ["--health-timeout", "1s", "--health-retries", "1"];
            let bot = containers::run(lab, &[&PUBLISHED[..], &hurry].concat()).await;
            lab.sh("docker kill -s STOP dingbot").await;
            bot.becomes("(unhealthy)").await;
            let report = lab.names(&["dingbot"]).await;
            lab.mends(&report, &["docker logs"], "重启容器 / restart the container");
            lab.sh("docker kill -s KILL dingbot; docker start dingbot").await;
            containers::is_healthy(&bot).await;
            lab.is_mended().await;
        },
    );

    table.fault(("容器被暂停", "the container is paused"), "container_paused", async |lab| {
        let bot = containers::run(lab, &PUBLISHED).await;
        lab.sh("docker pause dingbot").await;
        let report = lab.names(&["dingbot"]).await;
        lab.carry_out(&report).await;
        containers::is_healthy(&bot).await;
        lab.is_mended().await;
    });

    let mappings: [((&str, &str), &str, &[&str]); 4] = [
        (("没有发布端口", "no port is published"), "port_not_published", &[]),
        (
            ("端口只发布在 127.0.0.1", "published on 127.0.0.1"),
            "published_on_loopback",
            &["-p", "127.0.0.1:9090:8080"],
        ),
        (
            ("映射到容器内没有人监听的端口", "mapped to a port at which nobody listens"),
            "container_port_mismatch",
            &["-p", "9090:9999"],
        ),
        (
            ("PORT 改了，映射没有改", "PORT was changed, the mapping was not"),
            "container_port_mismatch",
            &["-p", "9090:8080", "-e", "PORT=8888"],
        ),
    ];
    for (names, code, options) in mappings {
        table.fault(names, code, async move |lab| {
            let bot = containers::run(lab, options).await;
            let report = lab.names(&["dingbot"]).await;
            if options.contains(&"PORT=8888") {
                // The new container needs the options of the old one, which the remedy says.
                lab.mends(&report, &["9090:8888"], "`docker run -p 9090:8888 -e PORT=8888 …`");
                bot.remove().await;
                let _bot = containers::run(lab, &["-p", "9090:8888", "-e", "PORT=8888"]).await;
                return lab.is_mended().await;
            }
            lab.carry_out_all(&report).await;
            containers::is_ready(lab).await;
            lab.is_mended().await;
        });
    }

    table.fault(
        ("主机端口被占，容器启动不了", "the port is taken, and the container cannot start"),
        "port_taken",
        async |lab| {
            let page = StandIn::answer("404 Not Found", "", "");
            let other = StandIn::at(&lab.network.host, &format!("0.0.0.0:{PORT}"), page);
            let bot = containers::try_start(lab, &PUBLISHED).await;
            let report = lab.names(&["9090"]).await;
            other.stop().await;
            lab.carry_out_as(&report, 1, "").await;
            containers::is_healthy(&bot).await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("DOCKER-USER 链丢弃", "a rule in DOCKER-USER drops"),
        "forwarding_dropped",
        async |lab| {
            let _bot = containers::run(lab, &PUBLISHED).await;
            lab.sh("iptables -I DOCKER-USER -i eth0 -p tcp --dport 8080 -j DROP").await;
            let report = lab.names(&["DOCKER-USER"]).await;
            lab.carry_out(&report).await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("内核没有打开 IP 转发", "the kernel does not forward"),
        "forwarding_dropped",
        async |lab| {
            let _bot = containers::run(lab, &PUBLISHED).await;
            lab.sh("echo 0 > /proc/sys/net/ipv4/ip_forward").await;
            let report = lab.names(&["ip_forward"]).await;
            lab.carry_out(&report).await;
            lab.is_mended().await;
        },
    );

    table.fault(
        ("同一个应用跑了两个机器人", "two bots of the same application"),
        "several_services",
        async |lab| {
            let _bot = containers::run(lab, &PUBLISHED).await;
            lab.in_the_console(|rules| rules.push(accept("9091/9091", VISITORS)));
            lab.sh("docker run -d --name dingbot-old --health-interval 1s -p 9091:8080 \
                    -e DINGBOT_DINGTALK__CLIENT_ID=dingsimulated0robot1 dingbot:test")
                .await;
            lab.keeps(Container::known(lab.docker(), "dingbot-old"));
            let report = lab.names(&["2"]).await;
            let second = report.finding("second_instance").expect("it is the same application");
            assert!(second["seen"]["en"].as_str().unwrap().contains("dingbot-old"), "{second}");
            lab.mends(&report, &["docker ps"], "停掉一个 / stop one of them");
            lab.sh("docker rm -f dingbot-old").await;
            lab.is_mended().await;
        },
    );

    table.end();
}
