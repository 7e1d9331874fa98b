//! Behind nginx.

use crate::doctor::lab::{Lab, VISITORS};
use crate::doctor::network::PUBLIC;
use crate::doctor::site::{DOMAIN, Site, client, upstream};
use crate::doctor::table::Table;
use crate::support::daemon::Daemon;
use crate::support::ecs::api::accept;
use crate::support::settings::Settings;
use crate::support::tls::Certificate;

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
            let report = lab.names(&[DOMAIN]).await;
            lab.mends(&report, &["8080"], "改正上游并重新加载 / correct the upstream, reload");
            site.edit(lab, |site| site.replace("127.0.0.1:8081", "127.0.0.1:8080")).await;
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
            let how = "加上 proxy_set_header X-Forwarded-For / add that line";
            lab.mends(&report, &["proxy_set_header X-Forwarded-For"], how);
            let with = format!("proxy_set_header X-Forwarded-Proto $scheme;\n{header}");
            site.edit(lab, |site| {
                site.replace("proxy_set_header X-Forwarded-Proto $scheme;", &with)
            })
            .await;
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
