//! Which side to look at, and with what.

use url::Url;

use crate::doctor::finding::{Remedy, Text};
use crate::doctor::probe::{Failure, Knock, Outcome, Trouble, Voice};

/// Which side to look at.
pub(super) fn remedy(knock: &Knock, outcome: &Outcome) -> Remedy {
    let port = knock.address.port();
    let on_the_host = "sudo dingbot doctor";
    let (text, command) = match outcome {
        Outcome::Failed(Failure::ConnectTimedOut) => (
            Text::new(
                format!(
                    "包被丢弃了。先看云上：ECS 控制台 → 实例 → 安全组 → 入方向，放行 TCP {port}/{port}，\
                     授权对象包含你的出口 IP，等 1-2 分钟；已经放行的话，看服务器自己的防火墙，\
                     并确认公网 IP 没有变。在服务器上运行："
                ),
                format!(
                    "The packets are dropped. First the cloud: ECS console → instance → security \
                     group → inbound: allow TCP {port}/{port} from a source that holds your \
                     address, and wait a minute or two. If it does already, the host's own \
                     firewall; and check that the public address is still this one. On the host:"
                ),
            ),
            on_the_host.to_owned(),
        ),
        Outcome::Failed(Failure::Refused) => (
            Text::new(
                format!(
                    "包到了服务器，但 {port} 端口没有服务在听（没启动、端口不对、只监听 127.0.0.1），\
                     或被防火墙拒绝。安全组丢包只会超时，不会拒绝，所以不用看它。在服务器上运行："
                ),
                format!(
                    "The packets arrive, and nothing listens on port {port} there (not started, \
                     another port, on 127.0.0.1 only), or a firewall rejects them. A security \
                     group drops and never rejects: it is not that. On the host:"
                ),
            ),
            on_the_host.to_owned(),
        ),
        Outcome::Failed(Failure::Unreachable(_)) => (
            Text::new(
                "这台机器没有到那里的路：看本机网络；IPv6 地址还要本机有 IPv6",
                "This machine has no way there: look at its own network; an IPv6 address needs IPv6 \
                 here, too",
            ),
            format!("ip route get {}", knock.address.ip()),
        ),
        Outcome::Failed(Failure::Reset | Failure::Silent) => (
            Text::new(
                "连接到了服务器，但没有得到应答：进程卡住、容器内没有监听，或中间设备切断。在服务器上运行：",
                "The connection is there, and no answer: the process hangs, nothing listens inside \
                 the container, or something in between cuts. On the host:",
            ),
            on_the_host.to_owned(),
        ),
        Outcome::Failed(Failure::IsTls) => (
            Text::new("用 https:// 再试", "Try again with https://"),
            format!("dingbot doctor --target https://{}:{port}", knock.host),
        ),
        Outcome::Failed(Failure::NotTls) => (
            Text::new("用 http:// 再试", "Try again with http://"),
            format!("dingbot doctor --target http://{}:{port}", knock.host),
        ),
        Outcome::Distrusted(trouble, _) => return certificate(knock, trouble),
        Outcome::Said(Voice::Unserved(_), _) => (
            Text::new(
                "反向代理在，机器人不在：看 proxy_pass 的地址和端口，以及 dingbot 是否在运行。在服务器上运行：",
                "The reverse proxy is there, the bot behind it is not: look at the address and port \
                 of proxy_pass, and whether dingbot runs. On the host:",
            ),
            on_the_host.to_owned(),
        ),
        Outcome::Said(Voice::Unwell(_), _) => (
            Text::new(
                "网络是通的，机器人自己有问题。在服务器上运行：",
                "The way is open; the bot itself is unwell. On the host:",
            ),
            on_the_host.to_owned(),
        ),
        Outcome::Said(Voice::Forbidden(_), _) => (
            Text::new(
                "有东西不让这里访问：看 nginx 的 allow/deny 和 auth_basic、WAF 或云防火墙的名单；\
                 钉钉的服务器也要放行。在服务器上运行：",
                "Something does not let this place in: look at allow, deny and auth_basic of nginx, \
                 and at the lists of a WAF or the cloud firewall; DingTalk's servers must be let in, \
                 too. On the host:",
            ),
            on_the_host.to_owned(),
        ),
        Outcome::Said(Voice::Troubled(_), _) | Outcome::Failed(Failure::BrokenOff) => (
            Text::new(
                "服务器在，但没有正常应答：429 和 413 是代理的限制，500 和 503 看它的日志。在服务器上运行：",
                "The server is there and gives no proper answer: 429 and 413 are limits of a proxy, \
                 for 500 and 503 read its log. On the host:",
            ),
            on_the_host.to_owned(),
        ),
        Outcome::Said(Voice::Intercepted(_, by), _) if by == "ICP" => (
            Text::new(
                "给域名办 ICP 备案，或先用 IP 和端口访问",
                "File the domain for ICP, or use the address and port meanwhile",
            ),
            format!("curl -v {}", knock.url()),
        ),
        Outcome::Said(Voice::Intercepted(..), _) => (
            Text::new(
                "换一个网络试（比如手机热点）；公司网络里请管理员放行这个地址",
                "Try from another network, such as a phone's; in a company's, have this address let \
                 through",
            ),
            format!("curl -v --noproxy '*' {}", knock.url()),
        ),
        Outcome::Said(Voice::Redirected(_, to), _) => (
            Text::new(
                "如果那里就是机器人（例如 http 跳到 https），用那个地址再试；否则这个端口是别的服务",
                "If the bot is there (as where http leads to https), try that address; else this \
                 port is another service's",
            ),
            format!("dingbot doctor --target {}", target_of(to)),
        ),
        _ => (
            Text::new(
                "这个地址是别的服务：核对 IP 和端口；服务器上看是谁在监听：",
                "This address is another service's: check address and port; on the host, see who \
                 listens:",
            ),
            format!("sudo ss -ltnp 'sport = :{port}'"),
        ),
    };
    Remedy::new(text).command(command)
}

/// An address that came from outside, as far as it may be typed: a shell would run what a name may
/// hold beside letters, digits, dots and hyphens.
fn target_of(location: &str) -> String {
    let url = Url::parse(location).ok();
    let host = url.as_ref().and_then(Url::host_str).unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | ':' | '[' | ']');
    match url.as_ref().filter(|it| !host.is_empty() && matches!(it.scheme(), "http" | "https")) {
        Some(url) if host.chars().all(plain) => url.origin().ascii_serialization(),
        _ => "https://NAME".into(),
    }
}

fn certificate(knock: &Knock, trouble: &Trouble) -> Remedy {
    let host = &knock.host;
    let text = match trouble {
        Trouble::Expired => Text::new(
            "续期证书并重新加载 nginx；钉钉不会回调证书过期的地址",
            "Renew the certificate and reload nginx; DingTalk does not call an address whose \
             certificate has expired",
        ),
        Trouble::NotYetValid => Text::new(
            "先核对本机时间，再核对证书的生效日期",
            "Check the time of this machine, then the date of the certificate",
        ),
        Trouble::WrongName => Text::new(
            format!("用证书上的域名访问，或申请包含 {host} 的证书"),
            format!("Use the name that is on the certificate, or get one for {host}"),
        ),
        Trouble::Untrusted | Trouble::Other(_) => Text::new(
            "换成受信任机构签发的证书，并在 nginx 里配置完整证书链 (fullchain.pem)",
            "Use a certificate of a trusted authority, and the whole chain in nginx (fullchain.pem)",
        ),
    };
    Remedy::new(text).command(format!(
        "openssl s_client -connect {} -servername {host} </dev/null | openssl x509 -noout -subject \
         -issuer -dates",
        knock.address
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_redirection_is_not_typed_as_it_came() {
        assert_eq!(target_of("https://a.example/x; rm -rf /"), "https://a.example");
        assert_eq!(target_of("/login"), "https://NAME");
        assert_eq!(target_of("$(reboot)"), "https://NAME");
        assert_eq!(target_of("https://a$(id).example/x"), "https://NAME");
        assert_eq!(target_of("https://a`id`.example/x"), "https://NAME");
        assert_eq!(target_of("ftp://a.example/x"), "https://NAME");
        assert_eq!(target_of("https://[2001:db8::1]:8443/x"), "https://[2001:db8::1]:8443");
    }
}
