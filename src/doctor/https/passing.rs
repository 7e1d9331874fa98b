//! Whether a site passes callbacks on to the bot, and why not.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::edit;
use super::lead::{Lead, Ports};
use super::nginx::Nginx;
use super::site::{Listen, Passage, Site, Target};
use super::visit::Visit;
use crate::doctor::door::Door;
use crate::doctor::finding::{Depth, Finding, Remedy, Text};
use crate::doctor::probe::{Answer, Failure, Outcome, Voice};
use crate::doctor::reach::serves;

/// The code of a site that answers in the bot's place.
pub(super) const UNREACHED: &str = "webhook_unreached";
/// `1` where `SELinux` keeps programs to what they are known to do.
const SELINUX: &str = "/sys/fs/selinux/enforce";

/// A site that does not lead to the bot, with all that was asked.
#[derive(Debug)]
pub(super) struct Case<'a> {
    pub(super) site: &'a Site,
    pub(super) listen: Listen,
    pub(super) nginx: &'a Nginx,
    pub(super) ports: &'a Ports<'a>,
    pub(super) visit: &'a Visit,
    /// What the targets answer when they are asked without nginx.
    pub(super) direct: &'a [(SocketAddr, Outcome)],
}

/// What kept a request from the bot.
enum Obstacle {
    /// Nothing listens at the target.
    Down,
    /// It does not answer in time.
    Slow,
}

impl Case<'_> {
    /// Why callbacks do not come to the bot; nothing, when they may come all the same.
    pub(super) fn finding(&self) -> Option<Finding> {
        let [got, posted] = &self.visit.webhook;
        if let (Err(failure), Err(_)) = (got, posted)
            && let Some(finding) = self.unanswered(failure)
        {
            return Some(finding);
        }
        let passage = self.passage()?;
        if let Some((target, obstacle)) = self.obstacle(passage) {
            return Some(self.upstream(target, &obstacle));
        }
        if let Some(finding) = self.stranger(passage) {
            return Some(finding);
        }
        let answer = posted.as_ref().or(got.as_ref());
        match answer {
            Ok(answer) => match answer.status.as_u16() {
                401 | 403 => Some(self.guarded(answer)),
                // It has enough of our questions.
                429 => None,
                400 if answer.body.contains("SSL certificate") => Some(self.mutual()),
                502 => Some(self.cut_off(passage)),
                504 => Some(self.impatient(passage, "504")),
                301..=308 if !self.listen.tls => None,
                _ => Some(self.unreached(answer)),
            },
            Err(Failure::Silent) => Some(self.impatient(passage, "—")),
            Err(_) => Some(self.closed()),
        }
    }

    /// The `proxy_pass` that callbacks should go through.
    fn passage(&self) -> Option<&Passage> {
        let passages = &self.site.passages;
        passages.iter().find(|it| it.outside("/webhook").is_some()).or(passages.first())
    }

    fn label(&self) -> String {
        let name = self.site.names.first().map_or("_", String::as_str);
        format!("{name} ({})", self.site.at)
    }

    /// What is wrong when the site itself does not take a connection.
    fn unanswered(&self, failure: &Failure) -> Option<Finding> {
        let port = self.listen.port;
        let label = self.label();
        match failure {
            Failure::Refused | Failure::ConnectTimedOut | Failure::Unreachable(_) => {
                Some(Finding::failed(
                    "proxy_not_listening",
                    Depth::Proxy,
                    Text::new(
                        format!("nginx 没有在端口 {port} 为站点 {label} 服务：配置改过而没有重新加载"),
                        format!(
                            "nginx does not serve the site {label} on port {port}: its configuration \
                             was changed and not loaded"
                        ),
                    ),
                    Remedy::new(Text::new("重新加载 nginx", "Reload nginx"))
                        .command(self.nginx.reload()),
                ))
            }
            Failure::NotTls => Some(plain(self.site, port, self.nginx)),
            Failure::Tls(why) => Some(Finding::failed(
                "tls_failed",
                Depth::Proxy,
                Text::new(
                    format!("与站点 {label} 的 TLS 握手失败：{why}"),
                    format!("the TLS handshake with the site {label} fails: {why}"),
                ),
                Remedy::new(Text::new(
                    "看 nginx 的错误日志；核对 ssl_protocols（TLSv1.2 TLSv1.3）、ssl_certificate 和 \
                     ssl_certificate_key",
                    "Read nginx's error log; check ssl_protocols (TLSv1.2 TLSv1.3), ssl_certificate \
                     and ssl_certificate_key",
                ))
                .command("sudo tail -n 20 /var/log/nginx/error.log"),
            )),
            _ => None,
        }
    }

    /// A target that does not answer nginx; when one of several does, none.
    fn obstacle<'p>(&self, passage: &'p Passage) -> Option<(&'p Target, Obstacle)> {
        let mut first = None;
        for target in &passage.targets {
            let addresses = target.addresses();
            let outcomes = self.direct.iter().filter(|(it, _)| addresses.contains(it));
            let mut outcomes = outcomes.map(|(_, it)| it);
            // Of both loopback addresses one is enough.
            let alive = |it: &&Outcome| !matches!(it, Outcome::Failed(_));
            let obstacle = match outcomes.clone().find(alive).or_else(|| outcomes.next())? {
                Outcome::Failed(Failure::Refused | Failure::Reset | Failure::Unreachable(_)) => {
                    Obstacle::Down
                }
                Outcome::Failed(Failure::ConnectTimedOut | Failure::Silent) => Obstacle::Slow,
                _ => return None,
            };
            first.get_or_insert((target, obstacle));
        }
        first
    }

    fn upstream(&self, target: &Target, obstacle: &Obstacle) -> Finding {
        let (label, asked, at) = (self.label(), self.asked(target), &target.at);
        let lead = self.ports.of_target(target);
        // Where nginx asks the right port, what is wrong lies behind it.
        let right = matches!(lead, Lead::Bot(_));
        let depth = if right { Depth::Reach } else { Depth::Proxy };
        let (place, remedy) = self.redirected(target, right);
        let here = match &place {
            Some(place) => (format!("；dingbot 在 {place}"), format!("; dingbot is at {place}")),
            None => Default::default(),
        };
        match obstacle {
            Obstacle::Down => Finding::failed(
                "proxy_upstream_down",
                depth,
                Text::new(
                    format!(
                        "站点 {label} 转发到 {asked}（{at}），那里没有进程在监听（502）{}",
                        here.0
                    ),
                    format!(
                        "the site {label} passes requests on to {asked} ({at}), where nothing \
                         listens (502){}",
                        here.1
                    ),
                ),
                remedy,
            ),
            Obstacle::Slow => Finding::failed(
                "proxy_upstream_slow",
                depth,
                Text::new(
                    format!("站点 {label} 转发到 {asked}（{at}），那里没有应答（504）{}", here.0),
                    format!(
                        "the site {label} passes requests on to {asked} ({at}), which gives no \
                         answer (504){}",
                        here.1
                    ),
                ),
                remedy,
            ),
        }
    }

    fn asked(&self, target: &Target) -> String {
        let addresses = target.addresses();
        let first = addresses.first().map(ToString::to_string);
        first.or_else(|| target.text.clone()).unwrap_or_else(|| format!(":{}", target.port))
    }

    /// Where the bot is, and how nginx is told.
    fn redirected(&self, target: &Target, right: bool) -> (Option<String>, Remedy) {
        let Some(door) = self.ports.doors().first() else {
            let text = Text::new("先启动 dingbot", "Start dingbot first");
            return (None, Remedy::new(text));
        };
        let place = place(door);
        if right {
            let text = Text::new(
                "端口是对的，先让 dingbot 应答：看上面的服务和监听两项",
                "The port is right; first make dingbot answer: see service and listening above",
            );
            return (Some(place), Remedy::new(text));
        }
        let (text, edit) = correction(target, &place);
        let remedy = edit.into_iter().fold(Remedy::new(text), Remedy::command);
        (Some(place), remedy.command(self.nginx.reload()))
    }

    /// Somebody else is asked in the bot's place.
    fn stranger(&self, passage: &Passage) -> Option<Finding> {
        let target = passage.targets.first()?;
        let Lead::Stranger(address, name) = self.ports.of_passage(passage) else { return None };
        let (label, at) = (self.label(), &target.at);
        let who = name.map_or_else(String::new, |name| format!(" ({name})"));
        let (place, remedy) = self.redirected(target, false);
        let place = place.unwrap_or_else(|| "—".into());
        Some(Finding::failed(
            "proxy_upstream_wrong",
            Depth::Proxy,
            Text::new(
                format!(
                    "站点 {label} 转发到 {address}（{at}），那里是别的服务{who}；dingbot 在 {place}"
                ),
                format!(
                    "the site {label} passes requests on to {address} ({at}), which is another \
                     service{who}; dingbot is at {place}"
                ),
            ),
            remedy,
        ))
    }

    /// nginx lets only some in, and this host is none of them.
    fn guarded(&self, answer: &Answer) -> Finding {
        let (url, said) = (self.visit.callback.url(), shown(answer));
        Finding::unseen(
            "webhook_unseen",
            Text::new(
                format!("{url} 不让本机访问（{said}），看不出钉钉的回调能否到达机器人"),
                format!(
                    "{url} does not let this host in ({said}): whether DingTalk's callbacks come to \
                     the bot is not seen from here"
                ),
            ),
            Remedy::new(Text::new(
                "核对这个站点的 allow、deny、auth_basic：要放行钉钉",
                "Check allow, deny and auth_basic of this site: DingTalk must be let in",
            ))
            .command(self.nginx.dump()),
        )
    }

    /// The target is well when it is asked without nginx.
    fn cut_off(&self, passage: &Passage) -> Finding {
        let (label, at) = (self.label(), &passage.at);
        let enforced = std::fs::read_to_string(SELINUX).is_ok_and(|it| it.trim() == "1");
        let remedy = if enforced {
            Remedy::new(Text::new(
                "SELinux 默认不许 nginx 连接别的端口：放行",
                "SELinux does not let nginx connect to other ports: allow it",
            ))
            .command("sudo setsebool -P httpd_can_network_connect 1")
        } else {
            Remedy::new(Text::new(
                "看 nginx 的错误日志（站点的 error_log）；改过配置的话重新加载 nginx",
                "Read nginx's error log (error_log of the site); if its configuration was changed, \
                 reload it",
            ))
            .command("sudo tail -n 20 /var/log/nginx/error.log")
            .command(self.nginx.reload())
        };
        Finding::failed(
            "proxy_upstream_down",
            Depth::Proxy,
            Text::new(
                format!("dingbot 正常，但站点 {label} 连不上它（502，{at}）"),
                format!(
                    "dingbot is well, and the site {label} does not get through to it (502, {at})"
                ),
            ),
            remedy,
        )
    }

    fn impatient(&self, passage: &Passage, status: &str) -> Finding {
        let (label, at) = (self.label(), &passage.at);
        Finding::failed(
            "proxy_upstream_slow",
            Depth::Proxy,
            Text::new(
                format!("经过站点 {label} 得不到应答（{status}，{at}）"),
                format!("through the site {label} there is no answer ({status}, {at})"),
            ),
            Remedy::new(Text::new(
                "核对 proxy_connect_timeout 和 proxy_read_timeout（dingbot 最多要 620s），看 nginx 的错误日志",
                "Check proxy_connect_timeout and proxy_read_timeout (dingbot may need 620s), and \
                 read nginx's error log",
            ))
            .command("sudo tail -n 20 /var/log/nginx/error.log"),
        )
    }

    /// nginx asks everybody for a certificate.
    fn mutual(&self) -> Finding {
        let (url, label) = (self.visit.callback.url(), self.label());
        Finding::failed(
            UNREACHED,
            Depth::Proxy,
            Text::new(
                format!("{url} 要求客户端证书，钉钉没有（站点 {label} 的 ssl_verify_client）"),
                format!(
                    "{url} asks for a client certificate, which DingTalk does not have \
                     (ssl_verify_client of the site {label})"
                ),
            ),
            Remedy::new(Text::new(
                "改成 ssl_verify_client optional;，在其他 location 里用 $ssl_client_verify 判断",
                "Use ssl_verify_client optional; and check $ssl_client_verify in the other locations",
            ))
            .command(self.nginx.reload()),
        )
    }

    /// nginx closes the connection without an answer.
    fn closed(&self) -> Finding {
        let (url, label) = (self.visit.callback.url(), self.label());
        Finding::failed(
            UNREACHED,
            Depth::Proxy,
            Text::new(
                format!("{url} 没有应答就断开（站点 {label}，可能是 return 444）"),
                format!("{url} closes without an answer (site {label}; maybe return 444)"),
            ),
            Remedy::new(self.location()).command(self.nginx.reload()),
        )
    }

    fn unreached(&self, answer: &Answer) -> Finding {
        let (url, said, label) = (self.visit.callback.url(), shown(answer), self.label());
        let (zh, en) = if self.is_well() {
            ("/health 正常，但 ", "/health is fine, and ")
        } else {
            ("", "")
        };
        Finding::failed(
            UNREACHED,
            Depth::Proxy,
            Text::new(
                format!("{zh}{url} 没有转给机器人：{said}（站点 {label}）"),
                format!("{en}{url} is not passed on to the bot: {said} (site {label})"),
            ),
            Remedy::new(self.location()).command(self.nginx.reload()),
        )
    }

    /// Whether the bot says through the site that it is well.
    fn is_well(&self) -> bool {
        self.visit.health.as_ref().is_ok_and(|it| matches!(Voice::of(it), Voice::Well))
    }

    /// What a site needs for callbacks.
    fn location(&self) -> Text {
        let to = match self.passage().and_then(|it| it.upstream.clone()) {
            Some(upstream) => upstream,
            None => self.ports.doors().first().map_or_else(|| "127.0.0.1:8080".into(), place),
        };
        let at = &self.site.at;
        Text::new(
            format!("在 {at} 的 server 里加上：location /webhook {{ proxy_pass http://{to}; }}"),
            format!("Add to the server at {at}: location /webhook {{ proxy_pass http://{to}; }}"),
        )
    }
}

/// A port for HTTPS at which nginx speaks plain HTTP.
pub(super) fn plain(site: &Site, port: u16, nginx: &Nginx) -> Finding {
    let (name, at) = (site.names.first().map_or("_", String::as_str), &site.at);
    Finding::failed(
        "https_to_plain_http",
        Depth::Proxy,
        Text::new(
            format!("站点 {name}（{at}）在端口 {port} 上应答的是明文 HTTP，不是 HTTPS"),
            format!("the site {name} ({at}) speaks plain HTTP on port {port}, not HTTPS"),
        ),
        Remedy::new(Text::new(
            format!("写成 listen {port} ssl;，再重新加载 nginx"),
            format!("Write listen {port} ssl; and reload nginx"),
        ))
        .command(nginx.reload()),
    )
}

/// Where a program of this host reaches the bot.
fn place(door: &Door) -> String {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let by_loopback = door.bound.is_empty() || door.bound.iter().any(|it| serves(*it, loopback));
    let ip = if by_loopback { loopback } else { door.bound[0] };
    SocketAddr::new(ip, door.port).to_string()
}

/// What is to be written where the target is, and the command that does it.
fn correction(target: &Target, place: &str) -> (Text, Option<String>) {
    let at = &target.at;
    let Some(text) = &target.text else {
        return (
            Text::new(
                format!("让 {at} 的 proxy_pass 指向 {place}，再重新加载 nginx"),
                format!("Have proxy_pass at {at} lead to {place}, and reload nginx"),
            ),
            None,
        );
    };
    let words = Text::new(
        format!("把 {at} 的 {text} 改成 {place}，再重新加载 nginx"),
        format!("Write {place} instead of {text} at {at}, and reload nginx"),
    );
    (words, edit::replaced(at, text, place))
}

/// An answer in few words.
fn shown(answer: &Answer) -> String {
    match Voice::of(answer) {
        Voice::Forbidden(it)
        | Voice::Redirected(it, _)
        | Voice::Unserved(it)
        | Voice::Intercepted(it, _)
        | Voice::Troubled(it)
        | Voice::Stranger(it) => it.shown(),
        Voice::Well | Voice::Unwell(_) => format!("HTTP {}", answer.status.as_u16()),
    }
}
