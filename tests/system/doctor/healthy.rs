//! Set-ups with nothing wrong, in which nothing may be complained of.

use super::containers;
use super::faults::nginx;
use super::filters::{Firewalld, nft, ufw};
use super::lab::{GROUP, VISITORS};
use super::site::{DOMAIN, Site, changed, client};
use super::table::Table;
use crate::docker::engine::installed;
use crate::support::ecs::api::accept;

#[test]
fn a_bot_of_ones_own_that_is_well() {
    let mut table = Table::new("正常的环境（进程）/ Healthy: a process");

    table.healthy(("双栈监听", "dual stack"), async |lab| {
        let _bot = lab.bot().await;
        lab.is_healthy().await;
    });

    table.healthy(("仅 IPv4", "IPv4 only"), async |lab| {
        lab.sh("echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6").await;
        let _bot = lab.bot_with(|settings| lab.listening(settings, "0.0.0.0:9090")).await;
        lab.is_healthy().await;
    });

    table.healthy(("端口 8888", "port 8888"), async |lab| {
        lab.in_the_console(|rules| rules.push(accept("8888/8888", VISITORS)));
        let _bot = lab.bot_with(|settings| lab.listening(settings, "[::]:8888")).await;
        lab.is_healthy_at("http://8.222.215.42:8888/health").await;
    });

    table.healthy(("离线模型", "the offline model"), async |lab| {
        let offline = |settings: crate::support::settings::Settings| {
            settings.unset("llm.api_key").unset("llm.base_url").text("llm.provider", "offline")
        };
        let _bot = lab.bot_with(offline).await;
        lab.is_healthy().await;
    });

    table.healthy(("元数据服务加固", "hardened metadata"), async |lab| {
        lab.about(|about| about.hardened = true);
        let _bot = lab.bot().await;
        lab.is_healthy().await;
    });

    table.healthy(("没有访问凭证", "no credentials"), async |lab| {
        lab.without_key();
        let _bot = lab.bot().await;
        lab.is_healthy().await;
        let report = lab.doctor().await;
        assert_eq!(report.finding("security_group_unseen").unwrap()["state"], "unseen");
    });

    table.healthy(("RAM 角色没有权限", "a key without permission"), async |lab| {
        lab.api.world().keys[0].forbidden = vec!["DescribeInstances"];
        let _bot = lab.bot().await;
        lab.is_healthy().await;
        let report = lab.doctor().await;
        assert_eq!(report.finding("ecs_not_permitted").unwrap()["state"], "unseen");
    });

    table.healthy(("不在 ECS 上", "not on ECS"), async |lab| {
        lab.leaves_ecs().await;
        let _bot = lab.bot().await;
        lab.is_healthy().await;
        assert!(lab.doctor().await.finding("not_on_ecs").is_some());
    });

    table.healthy(("非 root 用户", "not root"), async |lab| {
        let _bot = lab.bot().await;
        let report = lab.doctor_of_a_user().await;
        lab.is_well(&report);
        lab.is_done();
    });

    table.healthy(
        ("nftables 默认丢弃，放行 9090", "nftables drops by policy and accepts the port"),
        async |lab| {
            let _bot = lab.bot().await;
            let ruleset = "table inet filter { chain input { type filter hook input priority 0; \
                           policy drop; ct state established,related accept; iifname lo accept; \
                           tcp dport { 22, 9090 } accept; } }";
            nft(lab, ruleset).await;
            lab.is_healthy().await;
        },
    );

    if installed("ufw") {
        table.healthy(("ufw 放行 9090", "ufw allows the port"), async |lab| {
            let _bot = lab.bot().await;
            ufw(lab).await;
            lab.sh("ufw allow 9090/tcp").await;
            lab.is_healthy().await;
        });
    }

    if !Firewalld::missing() {
        table.healthy(("firewalld 放行 9090", "firewalld allows the port"), async |lab| {
            let _bot = lab.bot().await;
            let _firewalld = Firewalld::start(lab).await;
            lab.sh("firewall-cmd --add-port=9090/tcp").await;
            lab.is_healthy().await;
        });
    }

    table.healthy(
        ("两个安全组，一个开放", "two groups, one of which opens"),
        async |lab| {
            {
                let mut world = lab.api.world();
                let instance = world.instances.keys().next().unwrap().clone();
                world.groups.insert("sg-bp1ssh".into(), vec![accept("22/22", "0.0.0.0/0")]);
                world.instances.insert(instance, vec!["sg-bp1ssh".into(), GROUP.into()]);
            }
            let _bot = lab.bot().await;
            lab.is_healthy().await;
        },
    );

    table.healthy(("从笔记本看", "from the laptop"), async |lab| {
        let _bot = lab.bot().await;
        let report = lab.doctor_of_the_laptop("http://8.222.215.42:9090").await;
        lab.is_well(&report);
        lab.is_done();
    });

    table.end();
}

#[test]
fn a_bot_behind_nginx_that_is_well() {
    if Site::missing() {
        return println!("skipped: doctor behind nginx: nginx is not installed");
    }
    let mut table = Table::new("正常的环境（nginx）/ Healthy: nginx");

    table.healthy(
        ("nginx + TLS，机器人只在本机监听", "behind nginx with TLS"),
        async |lab| {
            let _bot = nginx::bot(lab).await;
            let certificate = nginx::certificate(lab);
            let _site = Site::start(lab, &certificate, |site| site).await;
            let report = lab.doctor().await;
            lab.is_well(&report);
            assert!(report.finding("proxy_passes").is_some(), "{}", report.lines());
            let url = format!("https://{DOMAIN}");
            lab.is_well(&lab.doctor_of_the_laptop(&url).await);
            lab.is_mended_by(client(&certificate).get(format!("{url}/health"))).await;
        },
    );

    table.healthy(("nginx + TLS，非 root 用户", "behind nginx, not root"), async |lab| {
        let _bot = nginx::bot(lab).await;
        let certificate = nginx::certificate(lab);
        let _site = Site::start(lab, &certificate, |site| site).await;
        let report = lab.doctor_of_a_user().await;
        lab.is_well(&report);
        // What it shows is seen; how it is set up is not.
        assert!(report.finding("proxy_passes").is_some(), "{}", report.lines());
        assert_eq!(report.finding("proxy_unseen").unwrap()["state"], "unseen");
        lab.is_done();
    });

    let passes = "location / {\n        proxy_pass http://dingbot;";
    for (names, instead, path) in [
        (("只转发 /webhook", "only /webhook is passed on"), "location = /webhook {", "/webhook"),
        (("放在 /bot/ 下", "below /bot/"), "location /bot/ {", "/bot/webhook"),
    ] {
        table.healthy(names, async move |lab| {
            let _bot = nginx::bot(lab).await;
            let certificate = nginx::certificate(lab);
            let to = if path == "/webhook" { "dingbot" } else { "dingbot/" };
            let with = format!("{instead}\n        proxy_pass http://{to};");
            let _site = Site::start(lab, &certificate, |site| changed(site, passes, &with)).await;
            let report = lab.doctor().await;
            lab.is_well(&report);
            assert!(report.finding("proxy_passes").is_some(), "{}", report.lines());
            let url = format!("https://{DOMAIN}{path}");
            lab.is_mended_by(client(&certificate).post(url)).await;
        });
    }

    table.healthy(("www 跳转到主域名", "www leads to the domain itself"), async |lab| {
        let _bot = nginx::bot(lab).await;
        let certificate = nginx::certificate(lab).another(&[DOMAIN, "www.example.com"]);
        let names = "listen 443 ssl;\nserver_name www.example.com bot.example.com;\n\
                     if ($host = www.example.com) { return 301 https://bot.example.com; }";
        let with = |site: String| {
            let site = changed(site, "listen 443 ssl;", names);
            let own = "    server_name bot.example.com;\n\n    # 【改】证书链";
            changed(site, own, "    # 【改】证书链")
        };
        let _site = Site::start(lab, &certificate, with).await;
        let report = lab.doctor().await;
        lab.is_well(&report);
        assert!(report.finding("proxy_passes").is_some(), "{}", report.lines());
        lab.is_done();
    });

    table.healthy(("nginx 只服务别的网站", "an nginx with other sites alone"), async |lab| {
        lab.in_the_console(|rules| rules.push(accept("443/443", VISITORS)));
        let _bot = lab.bot().await;
        // Its certificate has expired, and what it passes on to is down.
        let certificate = nginx::certificate(lab).expired(&["shop.example.com"]);
        let shop = "server {\nlisten 8443;\nserver_name shop.example.com;\n\
                        location / { proxy_pass http://127.0.0.1:3000; }\n}\n";
        Site::beside(lab, "shop", shop);
        let nothing = |site: String| site.replace("proxy_pass http://dingbot;", "return 404;");
        let _site = Site::start(lab, &certificate, nothing).await;
        let report = lab.doctor().await;
        assert!(!report.json["sections"].to_string().contains("\"https\""), "{}", report.lines());
        lab.is_healthy().await;
    });

    table.end();
}

#[test]
fn a_container_that_is_well() {
    let mut table = Table::with_docker("正常的环境（Docker）/ Healthy: Docker");

    table.healthy(("-p 9090:8080", "-p 9090:8080"), async |lab| {
        let _bot = containers::run(lab, &["-p", "9090:8080"]).await;
        lab.is_healthy().await;
    });

    table.healthy(("--network host", "--network host"), async |lab| {
        let _bot = containers::run(lab, &["--network", "host", "-e", "PORT=9090"]).await;
        lab.is_healthy().await;
    });

    table.healthy(("-p 9090:8888，PORT=8888", "-p 9090:8888, PORT=8888"), async |lab| {
        let _bot = containers::run(lab, &["-p", "9090:8888", "-e", "PORT=8888"]).await;
        lab.is_healthy().await;
    });

    if installed("docker-compose") {
        table.healthy(("docker compose", "docker compose"), async |lab| {
            let _bot = containers::Composition::up(lab).await;
            lab.is_healthy().await;
        });
    }

    table.end();
}
