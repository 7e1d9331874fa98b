//! Behind nginx.

use crate::doctor::containers;
use crate::doctor::lab::{Lab, VISITORS};
use crate::doctor::network::{LAPTOP, PUBLIC};
use crate::doctor::site::{DOMAIN, Site, changed, client, upstream};
use crate::doctor::stand_in::StandIn;
use crate::doctor::table::Table;
use crate::support::daemon::Daemon;
use crate::support::ecs::api::accept;
use crate::support::settings::Settings;
use crate::support::tls::Certificate;

/// The bridge of the lab's Docker, as its containers see it.
const GATEWAY: &str = "192.0.2.1";

/// The bot on loopback, and who trusts nginx there.
pub(in crate::doctor) async fn bot(lab: &Lab) -> Daemon {
    bot_with(lab, |settings| settings).await
}

async fn bot_with(lab: &Lab, change: impl FnOnce(Settings) -> Settings) -> Daemon {
    lab.in_the_console(|rules| {
        *rules = vec![accept("443/443", VISITORS), accept("80/80", VISITORS)];
    });
    lab.serve_names(&[(DOMAIN, PUBLIC)]).await;
    let behind = |settings| {
        let settings = lab.listening(settings, "127.0.0.1:8080");
        change(settings.set("server.trusted_proxies", r#"["127.0.0.1/32"]"#))
    };
    lab.bot_with(behind).await
}

/// A certificate of the domain, whose authority this place trusts.
pub(in crate::doctor) fn certificate(lab: &Lab) -> Certificate {
    let certificate = Certificate::new(&[DOMAIN]);
    lab.trust(&[certificate.authority()]);
    certificate
}

/// Nothing fails any more, and the laptop is answered by HTTPS.
async fn is_mended(lab: &Lab, certificate: &Certificate) {
    lab.is_mended_by(client(certificate).get(format!("https://{DOMAIN}/health"))).await;
}

#[test]
fn behind_nginx() {
    if Site::missing() {
        return println!("skipped: doctor behind nginx: nginx is not installed");
    }
    let mut table = Table::new("nginx 与 HTTPS / nginx and HTTPS");

    table.fault(
        ("证书已过期", "the certificate has expired"),
        "certificate_expired",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let site = Site::start(lab, &good.expired(&[DOMAIN]), |site| site).await;
            let report = lab.names(&[DOMAIN]).await;
            lab.mends(&report, &["nginx"], "续期并重新加载 / renew it, reload nginx");
            site.renew(lab, &good).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("证书不是这个域名的", "the certificate is for another name"),
        "certificate_wrong_name",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let other = good.another(&["other.example.com"]);
            let site = Site::start(lab, &other, |site| site).await;
            let report = lab.names(&[DOMAIN]).await;
            lab.mends(&report, &[DOMAIN], "申请这个域名的证书 / get one for this name");
            site.renew(lab, &good).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("证书不受信任", "the certificate is not trusted"),
        "certificate_untrusted",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let own = Certificate::new(&[DOMAIN]);
            let site = Site::start(lab, &own, |site| site).await;
            let report = lab.names(&[DOMAIN]).await;
            lab.mends(&report, &["fullchain"], "换受信任的证书 / take one of a trusted authority");
            site.renew(lab, &good).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("上游端口写错（502）", "the wrong port of the bot in nginx (502)"),
        "proxy_upstream_down",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let site = Site::start(lab, &good, |site| upstream(site, "127.0.0.1:8081")).await;
            let report = lab.names(&[DOMAIN, "8081", "8080"]).await;
            site.carries_out(lab, &report).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("没有转发来访地址", "nginx does not say who asks"),
        "forwarded_headers_missing",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let header = "proxy_set_header X-Forwarded-For $remote_addr;";
            let site = Site::start(lab, &good, |site| {
                assert!(site.contains(header));
                site.replace(header, "")
            })
            .await;
            let report = lab.names(&["X-Forwarded-For"]).await;
            site.carries_out(lab, &report).await;
            assert!(lab.doctor().await.finding("forwarded_headers_missing").is_none());
            is_mended(lab, &good).await;
        },
    );

    table.fault(("没有信任 nginx", "nginx is not trusted"), "proxy_not_trusted", async |lab| {
        let bot = bot_with(lab, |settings| settings.unset("server.trusted_proxies")).await;
        let good = certificate(lab);
        let _site = Site::start(lab, &good, |site| site).await;
        let report = lab.names(&["127.0.0.1"]).await;
        let how = "设置 server.trusted_proxies 并重启 / set it, restart";
        lab.mends(&report, &["trusted_proxies"], how);
        drop(bot);
        let _bot = self::bot(lab).await;
        is_mended(lab, &good).await;
    });

    passing_on(&mut table);
    not_loaded(&mut table);

    table.fault(
        ("安全组未开放 443", "the security group does not open 443"),
        "security_group_closed",
        async |lab| {
            let _bot = bot(lab).await;
            lab.in_the_console(Vec::clear);
            let good = certificate(lab);
            let _site = Site::start(lab, &good, |site| site).await;
            let report = lab.names(&["443"]).await;
            lab.carry_out_as(&report, 0, " --yes").await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("用 http:// 访问 443", "http:// to port 443"),
        "plain_http_to_tls",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let _site = Site::start(lab, &good, |site| site).await;
            let report = lab.laptop_names(&format!("http://{DOMAIN}:443"), &["443"]).await;
            lab.mends(&report, &["https://"], "改用 https:// / use https://");
            lab.laptop_is_mended(&format!("https://{DOMAIN}")).await;
        },
    );

    table.fault(
        ("从外面看证书已过期", "seen from outside, the certificate has expired"),
        "certificate_expired",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let site = Site::start(lab, &good.expired(&[DOMAIN]), |site| site).await;
            let target = format!("https://{DOMAIN}");
            let report = lab.laptop_names(&target, &[DOMAIN]).await;
            lab.mends(&report, &["nginx"], "续期并重新加载 / renew it, reload nginx");
            site.renew(lab, &good).await;
            lab.laptop_is_mended(&target).await;
        },
    );

    table.end();
}

/// Where requests are passed on to, and the certificate in time.
fn passing_on(table: &mut Table) {
    table.fault(
        ("证书快到期", "the certificate ends soon"),
        "certificate_expiring",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let site = Site::start(lab, &good.lasting(&[DOMAIN], 10), |site| site).await;
            let report = lab.names(&[DOMAIN, "10"]).await;
            lab.mends(&report, &["nginx"], "续期并重新加载 / renew it, reload nginx");
            site.renew(lab, &good).await;
            assert!(lab.doctor().await.complaints().is_empty());
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("没有带中间证书", "the intermediate certificate is missing"),
        "certificate_untrusted",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab).by_another_authority(&[DOMAIN]);
            lab.trust(&[good.authority()]);
            let alone = |site: String| changed(site, "/fullchain.pem;", "/cert.pem;");
            let site = Site::start(lab, &good, alone).await;
            let report = lab.names(&[DOMAIN, "intermediates are missing"]).await;
            site.carries_out(lab, &report).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("/webhook 没有转发", "/webhook is not passed on"),
        "webhook_unreached",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let passes = "location / {\n        proxy_pass";
            let site = Site::start(lab, &good, |site| {
                changed(site, passes, "location = / {\n        proxy_pass")
            })
            .await;
            let report = lab.names(&["/health", "/webhook", "404"]).await;
            let line = "location /webhook { proxy_pass http://dingbot; }";
            lab.mends(&report, &[line], "加上 location /webhook / add that location");
            let with = format!("{line}\n    location = / {{");
            site.edit(lab, |site| changed(site, "location = / {", &with)).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("上游没有应答（504）", "the upstream does not answer (504)"),
        "proxy_upstream_slow",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            // Nobody has the address: packets to it vanish.
            let site = Site::start(lab, &good, |site| upstream(site, "203.0.113.99:8080")).await;
            let report = lab.names(&["203.0.113.99:8080", "127.0.0.1:8080"]).await;
            site.carries_out(lab, &report).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("上游是别的服务", "the upstream is another service"),
        "proxy_upstream_wrong",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let page = StandIn::answer("404 Not Found", "server: Other\r\n", "nothing here");
            let _other = StandIn::at(&lab.network.host, "127.0.0.1:3000", page);
            let site = Site::start(lab, &good, |site| upstream(site, "127.0.0.1:3000")).await;
            let report = lab.names(&["127.0.0.1:3000", "127.0.0.1:8080"]).await;
            site.carries_out(lab, &report).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("没有 root 权限，证书过期", "the certificate has expired, seen without root"),
        "certificate_expired",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let site = Site::start(lab, &good.expired(&[DOMAIN]), |site| site).await;
            let report = lab.doctor_of_a_user().await;
            lab.expect(&report, &[DOMAIN]);
            lab.mends(&report, &["certbot"], "续期并重新加载 / renew it, reload nginx");
            site.renew(lab, &good).await;
            is_mended(lab, &good).await;
        },
    );
}

/// What lies on the disk, and is not in force.
fn not_loaded(table: &mut Table) {
    table.fault(
        ("续期后没有重新加载", "a renewed certificate that nginx has not loaded"),
        "certificate_expired",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let site = Site::start(lab, &good.expired(&[DOMAIN]), |site| site).await;
            site.replace(&good);
            let report = lab.names(&[DOMAIN]).await;
            site.carries_out(lab, &report).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("站点改了没有重新加载", "a site that nginx has not loaded"),
        "proxy_not_listening",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let site = Site::start(lab, &good, |site| {
                site.replace("listen 443 ssl;", "listen 443 ssl; # 8443")
            })
            .await;
            Site::write(lab, |site| changed(site, "listen 443 ssl; # 8443", "listen 8443 ssl;"));
            Site::write(lab, |site| changed(site, "listen [::]:443 ssl;", ""));
            let report = lab.names(&["8443", DOMAIN]).await;
            site.carries_out(lab, &report).await;
            assert!(lab.doctor().await.finding("proxy_passes").is_some());
            site.edit(lab, |site| changed(site, "listen 8443 ssl;", "listen 443 ssl;")).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("nginx 的配置改坏了", "a broken configuration that nginx has not loaded"),
        "proxy_configuration_invalid",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let site = Site::start(lab, &good, |site| site).await;
            Site::write(lab, |site| changed(site, "server_tokens off;", "server_token off;"));
            let report = lab.names(&["server_token", "dingbot.conf"]).await;
            lab.mends(&report, &["nginx -t"], "改正并重新加载 / correct it, reload");
            site.edit(lab, |site| changed(site, "server_token off;", "server_tokens off;")).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(
        ("没有启用站点", "no site is enabled for the bot"),
        "proxy_site_missing",
        async |lab| {
            let _bot = bot(lab).await;
            let good = certificate(lab);
            let passes = "proxy_pass http://dingbot;";
            let site = Site::start(lab, &good, |site| site.replace(passes, "return 404;")).await;
            let report = lab.names(&["8080"]).await;
            lab.mends(&report, &["dingbot.conf", "nginx"], "启用站点 / enable the site");
            site.edit(lab, |site| site.replace("return 404;", passes)).await;
            is_mended(lab, &good).await;
        },
    );

    table.fault(("nginx 没有运行", "nginx does not run"), "proxy_stopped", async |lab| {
        let _bot = bot(lab).await;
        let good = certificate(lab);
        drop(Site::start(lab, &good, |site| site).await);
        let report = lab.names(&[DOMAIN]).await;
        lab.mends(&report, &["nginx"], "启动 nginx / start nginx");
        let _site = Site::start(lab, &good, |site| site).await;
        is_mended(lab, &good).await;
    });
}

#[test]
fn nginx_before_a_container() {
    if Site::missing() {
        return println!("skipped: doctor behind nginx: nginx is not installed");
    }
    let mut table = Table::with_docker("nginx 与 Docker / nginx and Docker");

    table.fault(
        ("容器没有信任网桥上的 nginx", "a container does not trust nginx at its bridge"),
        "proxy_not_trusted",
        async |lab| {
            let published = ["-p", "127.0.0.1:9090:8080"];
            let good = opened(lab).await;
            let bot = containers::run(lab, &published).await;
            let _site = Site::start(lab, &good, |site| upstream(site, "127.0.0.1:9090")).await;
            let report = lab.names(&[GATEWAY]).await;
            let variable = "DINGBOT_SERVER__TRUSTED_PROXIES=";
            lab.mends(&report, &[variable], "重建容器时加上它 / create the container with it");
            let remedy = report.remedy();
            let words = remedy.split_whitespace();
            let setting = words.clone().find(|word| word.starts_with(variable)).unwrap();
            drop(bot);
            let bot = containers::run(lab, &[&published[..], &["-e", setting]].concat()).await;
            // The bot itself says whom it sees.
            let url = format!("https://{DOMAIN}/webhook");
            let unsigned = client(&good).post(url).header("content-type", "application/json");
            let answer = lab.laptop_sends(unsigned.body("{}")).await;
            assert_eq!(answer.map(|it| it.status), Ok(401));
            let says_it = async || format!("{:?}", bot.output().await).contains(LAPTOP);
            // Docker writes the log behind the container.
            lab.until("the log names the laptop", says_it).await;
            let report = lab.doctor().await;
            assert!(report.complaints().is_empty(), "{}", report.lines());
            is_mended(lab, &good).await;
        },
    );

    table.end();
}

/// A way in by 443, and a certificate of the domain.
async fn opened(lab: &Lab) -> Certificate {
    lab.in_the_console(|rules| *rules = vec![accept("443/443", VISITORS)]);
    lab.serve_names(&[(DOMAIN, PUBLIC)]).await;
    certificate(lab)
}
