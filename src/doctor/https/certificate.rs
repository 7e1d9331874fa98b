//! The certificate that a site shows.

use std::path::Path;
use std::time::Duration;

use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{CertificateError, Error};
use webpki::EndEntityCert;

use super::edit;
use super::nginx::Nginx;
use super::site::{File, Site};
use crate::doctor::finding::{Depth, Finding, Remedy, State, Text};
use crate::doctor::probe::{Certificate, Trouble};

/// A certificate that ends sooner is to be seen to: programs that renew do it 30 days before.
const SOON: Duration = Duration::from_secs(21 * 24 * 60 * 60);
/// In seconds.
const DAY: f64 = 86_400.0;
/// Later than any certificate.
const EVER: Duration = Duration::from_secs(200 * 365 * 24 * 60 * 60);
/// Where certbot puts certificates, each in a folder by its name.
const CERTBOT: &str = "/etc/letsencrypt/live/";

/// A certificate as it was shown for a name.
#[derive(Debug)]
pub(super) struct Shown<'a> {
    pub(super) certificate: &'a Certificate,
    pub(super) name: &'a str,
    /// The site, if it is known; and who serves it.
    pub(super) site: Option<&'a Site>,
    pub(super) nginx: Option<&'a Nginx>,
}

/// The names of a certificate.
pub(super) fn names(certificate: &CertificateDer<'_>) -> Vec<String> {
    let Ok(leaf) = EndEntityCert::try_from(certificate) else { return Vec::new() };
    leaf.valid_dns_names().map(str::to_owned).collect()
}

/// The certificate in a file of nginx's, with those that lead to an authority.
fn on_disk(file: &File) -> Option<Vec<CertificateDer<'static>>> {
    let folder = Path::new(&*file.at.file).parent()?;
    let chain = CertificateDer::pem_file_iter(folder.join(&file.path)).ok()?;
    Some(chain.filter_map(Result::ok).collect())
}

/// The names of the certificates of a site.
pub(super) fn names_on_disk(site: &Site) -> Vec<String> {
    let chains: Vec<_> = site.certificates.iter().filter_map(on_disk).collect();
    chains.iter().filter_map(|chain| chain.first()).flat_map(names).collect()
}

/// A warning, when a certificate that is good for `name` ends soon.
pub(in crate::doctor) fn expiring(certificate: &Certificate, name: &str) -> Option<Finding> {
    let shown = Shown { certificate, name, site: None, nginx: None };
    shown.finding().filter(|finding| finding.state == State::Warning)
}

impl Shown<'_> {
    /// What is to be said of it.
    pub(super) fn finding(&self) -> Option<Finding> {
        let mut finding = self.trouble()?;
        if let Some(remedy) = self.loading() {
            finding.remedy = Some(remedy);
        }
        Some(finding)
    }

    fn trouble(&self) -> Option<Finding> {
        match &self.certificate.trouble {
            Some(Trouble::Expired) => Some(self.expired()),
            Some(Trouble::NotYetValid) => Some(self.early()),
            Some(Trouble::WrongName) => Some(self.misnamed()),
            // The rules themselves could not be read: nothing is known.
            Some(Trouble::Other(_)) if !self.is_judged() => None,
            Some(Trouble::Untrusted | Trouble::Other(_)) => Some(self.untrusted()),
            None => {
                let soon = now() + SOON;
                let end = end(self.certificate.at(self.name, soon).err()?)?;
                Some(self.expiring(end))
            }
        }
    }

    /// Until when it is valid.
    pub(super) fn end(&self) -> Option<String> {
        end(self.certificate.at(self.name, EVER).err()?).map(|end| date(&end))
    }

    fn is_judged(&self) -> bool {
        let verdict = self.certificate.at(self.name, now());
        matches!(verdict, Ok(()) | Err(Error::InvalidCertificate(_)))
    }

    fn expired(&self) -> Finding {
        let verdict = self.certificate.at(self.name, now()).err();
        let at = verdict.and_then(end).map(|end| date(&end)).unwrap_or_default();
        let name = self.name;
        Finding::failed(
            "certificate_expired",
            Depth::Proxy,
            Text::new(
                format!("{name} 的证书已过期：{at}"),
                format!("the certificate of {name} has expired: {at}"),
            ),
            self.renewal(),
        )
    }

    fn expiring(&self, end: Zoned) -> Finding {
        let left = end.timestamp().duration_since(Timestamp::now());
        let days = (left.as_secs_f64() / DAY).round();
        let (name, at) = (self.name, date(&end));
        Finding::warning(
            "certificate_expiring",
            Depth::Proxy,
            Text::new(
                format!("{name} 的证书还有 {days} 天到期：{at}；自动续期可能没有生效"),
                format!(
                    "the certificate of {name} ends in {days} days: {at}; what should renew it may \
                     not work"
                ),
            ),
            self.renewal(),
        )
    }

    /// How another one is got and shown.
    fn renewal(&self) -> Remedy {
        let reload = self.nginx.map(Nginx::reload);
        let loaded = reload.clone().unwrap_or_else(|| "sudo nginx -s reload".into());
        let certbot = self.files().iter().find_map(|file| {
            let name = file.path.strip_prefix(CERTBOT)?.split('/').next()?;
            shlex::try_quote(name).ok().map(|name| format!("sudo certbot renew --cert-name {name}"))
        });
        match certbot {
            Some(certbot) => Remedy::new(Text::new(
                "续期证书并重新加载 nginx；没有自动续期时看 systemctl list-timers certbot.timer",
                "Renew it and reload nginx; whether that happens by itself is shown by systemctl \
                 list-timers certbot.timer",
            ))
            .command(certbot)
            .command(loaded),
            None => {
                let (zh, en) = match self.files().first() {
                    Some(File { path: file, .. }) => {
                        (format!("替换 {file} 和它的私钥"), format!("replace {file} and its key"))
                    }
                    None => ("换上新证书".to_owned(), "install the new one".to_owned()),
                };
                let text = Text::new(
                    format!(
                        "重新签发证书（certbot、acme.sh，或阿里云 数字证书管理服务控制台 → SSL 证书），{zh}，\
                         再重新加载 nginx（或前面的代理）"
                    ),
                    format!(
                        "Get a new one (certbot, acme.sh, or Alibaba Cloud: Certificate Management \
                         Service console → SSL certificates), {en}, and reload nginx (or whatever \
                         stands before the bot)"
                    ),
                );
                reload.into_iter().fold(Remedy::new(text), Remedy::command)
            }
        }
    }

    /// When a certificate lies in the site's file that is well, and that nginx has not read: how it
    /// is told to.
    fn loading(&self) -> Option<Remedy> {
        let (nginx, shown) = (self.nginx?, self.certificate.chain.first()?);
        let newer = self.files().iter().find(|file| {
            let chain = on_disk(file).unwrap_or_default();
            chain.first().is_some_and(|leaf| leaf != shown) && self.is_well(chain)
        });
        let file = &newer?.path;
        let text = Text::new(
            format!("{file} 里的证书已经是新的，nginx 还在用旧的：重新加载 nginx"),
            format!("The certificate in {file} is new, nginx still shows the old one: reload it"),
        );
        Some(Remedy::new(text).command(nginx.reload()))
    }

    /// Whether these certificates would do for some time.
    fn is_well(&self, chain: Vec<CertificateDer<'static>>) -> bool {
        let other = Certificate { chain, trouble: None };
        !other.chain.is_empty()
            && other.at(self.name, now()).is_ok()
            && other.at(self.name, now() + SOON).is_ok()
    }

    fn files(&self) -> &[File] {
        self.site.map(|site| site.certificates.as_slice()).unwrap_or_default()
    }

    fn early(&self) -> Finding {
        let name = self.name;
        Finding::failed(
            "certificate_not_yet_valid",
            Depth::Clock,
            Text::new(
                format!("{name} 的证书尚未生效，或本机时钟慢了"),
                format!("the certificate of {name} is not valid yet, or this clock is behind"),
            ),
            Remedy::new(Text::new(
                "先核对本机时间，再核对证书的生效日期",
                "Check the time of this host, then the dates of the certificate",
            ))
            .command("timedatectl"),
        )
    }

    fn misnamed(&self) -> Finding {
        let name = self.name;
        let others = self.certificate.chain.first().map(names).unwrap_or_default();
        let others = if others.is_empty() { "—".to_owned() } else { others.join(", ") };
        let text = Text::new(
            format!(
                "申请包含 {name} 的证书，写进站点的 ssl_certificate；多个站点时核对 server_name，\
                 没有匹配的站点时 nginx 用默认站点的证书"
            ),
            format!(
                "Get a certificate for {name} and name it in ssl_certificate of the site; check \
                 server_name, too: where no site has the name, nginx shows the certificate of the \
                 default one"
            ),
        );
        let remedy = match (self.nginx, shlex::try_quote(name)) {
            (Some(nginx), Ok(name)) => Remedy::new(text)
                .command(format!("sudo certbot certonly --webroot -w /var/www/html -d {name}"))
                .command(nginx.reload()),
            _ => Remedy::new(text),
        };
        Finding::failed(
            "certificate_wrong_name",
            Depth::Proxy,
            Text::new(
                format!("{name} 出示的证书不是给它的，是给 {others} 的"),
                format!("the certificate shown for {name} is for {others}"),
            ),
            remedy,
        )
    }

    fn untrusted(&self) -> Finding {
        let (name, chain) = (self.name, &self.certificate.chain);
        let (own, whole) = (self.is_self_signed(), self.whole());
        let (zh, en) = match own {
            true => ("是自签名的", "it is self-signed"),
            false if whole.is_some() => ("没有带中间证书", "its intermediates are missing"),
            false if chain.len() < 2 => (
                "没有带中间证书，或签发者不受信任",
                "its intermediates are missing, or its issuer is not trusted",
            ),
            false => ("签发者不受信任", "its issuer is not trusted"),
        };
        let remedy = match whole {
            Some((file, whole)) => {
                let (from, at) = (&file.path, &file.at);
                let text = Text::new(
                    format!("换成完整证书链：把 {at} 的 {from} 改成 {whole}，再重新加载 nginx"),
                    format!(
                        "Use the whole chain: write {whole} instead of {from} at {at}, and reload nginx"
                    ),
                );
                let edit = edit::replaced(at, from, &whole);
                edit.into_iter().fold(Remedy::new(text), Remedy::command)
            }
            None => {
                let text = Text::new(
                    "换成受信任机构签发的证书（certbot，或阿里云 SSL 证书），ssl_certificate \
                     用完整证书链 fullchain.pem，不是 cert.pem",
                    "Use a certificate of a trusted authority (certbot, or Alibaba Cloud SSL \
                     certificates), with the whole chain: ssl_certificate …/fullchain.pem, not \
                     cert.pem",
                );
                let certbot = shlex::try_quote(name).ok().map(|name| {
                    format!("sudo certbot certonly --webroot -w /var/www/html -d {name}")
                });
                certbot.into_iter().fold(Remedy::new(text), Remedy::command)
            }
        };
        let reload = self.nginx.map(Nginx::reload);
        let remedy = reload.into_iter().fold(remedy, Remedy::command);
        Finding::failed(
            "certificate_untrusted",
            Depth::Proxy,
            Text::new(
                format!("{name} 的证书不受信任：{zh}；钉钉不会回调这样的地址"),
                format!(
                    "the certificate of {name} is not trusted: {en}; DingTalk does not call such an \
                     address"
                ),
            ),
            remedy,
        )
    }

    fn is_self_signed(&self) -> bool {
        let Some(leaf) = self.certificate.chain.first() else { return false };
        EndEntityCert::try_from(leaf).is_ok_and(|leaf| leaf.issuer() == leaf.subject())
    }

    /// The file that has the certificate alone, and the one beside it that has the whole chain.
    fn whole(&self) -> Option<(&File, String)> {
        self.files().iter().find_map(|file| {
            let path = Path::new(&file.path).with_file_name("fullchain.pem").to_str()?.to_owned();
            let whole = File { path, at: file.at.clone() };
            let chain = on_disk(&whole)?;
            (whole.path != file.path && self.is_well(chain)).then_some((file, whole.path))
        })
    }
}

/// The end of a certificate that was found to have ended.
fn end(error: Error) -> Option<Zoned> {
    let Error::InvalidCertificate(CertificateError::ExpiredContext { not_after, .. }) = error
    else {
        return None;
    };
    let end = Timestamp::from_second(i64::try_from(not_after.as_secs()).ok()?).ok()?;
    Some(end.to_zoned(TimeZone::system()))
}

fn date(end: &Zoned) -> String {
    end.strftime("%Y-%m-%d %H:%M").to_string()
}

fn now() -> Duration {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.unwrap_or_default()
}
