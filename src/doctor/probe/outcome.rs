//! What came of a knock, in words.

use super::{Answer, Failure, Knock, Trouble, Voice};
use crate::doctor::finding::Text;

/// What came of a knock.
#[derive(Debug, Clone)]
pub(in crate::doctor) enum Outcome {
    /// Somebody answered.
    Said(Voice, Answer),
    /// Somebody answered, and clients that look at the certificate would have gone away.
    Distrusted(Trouble, Answer),
    /// Nobody did.
    Failed(Failure),
}

impl Knock {
    /// Sends it, and understands what comes back.
    pub(in crate::doctor) async fn outcome(&self) -> Outcome {
        match self.ask().await {
            Err(failure) => Outcome::Failed(failure),
            Ok(answer) => match answer.certificate.as_ref().and_then(|it| it.trouble.clone()) {
                Some(trouble) => Outcome::Distrusted(trouble, answer),
                None => Outcome::Said(Voice::of(&answer), answer),
            },
        }
    }

    /// The address as a URL.
    pub(in crate::doctor) fn url(&self) -> String {
        let scheme = if self.tls { "https" } else { "http" };
        format!("{scheme}://{}{}", self.host_header(), self.path)
    }
}

impl Outcome {
    /// Whether the bot answered, well.
    pub(in crate::doctor) fn is_well(&self) -> bool {
        matches!(self, Self::Said(Voice::Well, _))
    }

    /// The name of it.
    pub(in crate::doctor) fn code(&self) -> &'static str {
        match self {
            Self::Said(voice, _) => match voice {
                Voice::Well => "healthy",
                Voice::Unwell(_) => "unhealthy",
                Voice::Forbidden(_) => "forbidden",
                Voice::Redirected(..) => "redirected",
                Voice::Unserved(it) if it.status.as_u16() == 504 => "proxy_upstream_slow",
                Voice::Unserved(_) => "proxy_upstream_down",
                Voice::Intercepted(..) => "proxy_in_the_way",
                Voice::Troubled(_) => "http_error",
                Voice::Stranger(_) => "wrong_service",
            },
            Self::Distrusted(trouble, _) => match trouble {
                Trouble::Expired => "certificate_expired",
                Trouble::NotYetValid => "certificate_not_yet_valid",
                Trouble::WrongName => "certificate_wrong_name",
                Trouble::Untrusted | Trouble::Other(_) => "certificate_untrusted",
            },
            Self::Failed(failure) => match failure {
                Failure::Refused => "health_refused",
                Failure::ConnectTimedOut => "health_timed_out",
                Failure::Unreachable(_) => "no_route",
                Failure::Reset => "health_reset",
                Failure::BrokenOff => "health_broken_off",
                Failure::Silent => "health_silent",
                Failure::NotHttp => "wrong_service",
                Failure::NotTls => "https_to_plain_http",
                Failure::IsTls => "plain_http_to_tls",
                Failure::Tls(_) => "tls_failed",
            },
        }
    }

    /// What was seen.
    pub(in crate::doctor) fn seen(&self) -> Text {
        match self {
            Self::Said(voice, _) => said(voice),
            Self::Distrusted(trouble, _) => trouble.named(),
            Self::Failed(failure) => failed(failure),
        }
    }
}

impl Trouble {
    /// What it is.
    pub(in crate::doctor) fn named(&self) -> Text {
        match self {
            Self::Expired => Text::new("证书已过期", "the certificate has expired"),
            Self::NotYetValid => Text::new(
                "证书尚未生效，或本机时钟不准",
                "the certificate is not valid yet, or this clock is wrong",
            ),
            Self::WrongName => {
                Text::new("证书不是给这个名字的", "the certificate is for another name")
            }
            Self::Untrusted => Text::new(
                "证书不受信任（自签名，或缺少中间证书）",
                "the certificate is not trusted (self-signed, or intermediates are missing)",
            ),
            Self::Other(why) => {
                Text::new(format!("证书有问题：{why}"), format!("the certificate: {why}"))
            }
        }
    }
}

fn said(voice: &Voice) -> Text {
    match voice {
        Voice::Well => Text::new("健康", "healthy"),
        Voice::Unwell(reason) => {
            Text::new(format!("机器人回答 503：{reason}"), format!("the bot answers 503: {reason}"))
        }
        Voice::Forbidden(it) => {
            Text::new(format!("被拒绝：{}", it.shown()), format!("not let in: {}", it.shown()))
        }
        Voice::Redirected(it, to) => Text::new(
            format!("被重定向到 {to}（{}）", it.shown()),
            format!("redirected to {to} ({})", it.shown()),
        ),
        Voice::Unserved(it) => Text::new(
            format!("反向代理连不上机器人：{}", it.shown()),
            format!("the reverse proxy does not get through to the bot: {}", it.shown()),
        ),
        Voice::Intercepted(_, by) if by == "ICP" => Text::new(
            "被阿里云拦截：域名没有 ICP 备案",
            "Alibaba Cloud answers in its place: the domain has no ICP filing",
        ),
        Voice::Intercepted(it, by) => Text::new(
            format!("被中间的代理应答（{by}）：{}", it.shown()),
            format!("a proxy in between answers ({by}): {}", it.shown()),
        ),
        Voice::Troubled(it) => Text::new(
            format!("服务器应答了错误：{}", it.shown()),
            format!("the server answers with an error: {}", it.shown()),
        ),
        Voice::Stranger(it) => Text::new(
            format!("应答的不是 dingbot：{}", it.shown()),
            format!("somebody else than dingbot answers: {}", it.shown()),
        ),
    }
}

fn failed(failure: &Failure) -> Text {
    let (chinese, english) = match failure {
        Failure::Refused => ("连接被拒绝", "connection refused"),
        Failure::ConnectTimedOut => {
            ("连接超时，没有任何应答", "connection timed out, nothing came back")
        }
        Failure::Unreachable(why) => {
            return Text::new(format!("没有到达的路由：{why}"), format!("no way there: {why}"));
        }
        Failure::Reset => ("连接建立后被重置", "connected, then reset"),
        Failure::BrokenOff => {
            ("应答开始了，但没有传完", "an answer began, and did not come to its end")
        }
        Failure::Silent => ("连上了，但没有应答", "connected, and no answer came"),
        Failure::NotHttp => ("应答的不是 HTTP 服务", "what answers does not speak HTTP"),
        Failure::NotTls => {
            ("这个端口不是 HTTPS，是明文 HTTP", "this port speaks plain HTTP, not HTTPS")
        }
        Failure::IsTls => {
            ("这个端口是 HTTPS，不是明文 HTTP", "this port speaks HTTPS, not plain HTTP")
        }
        Failure::Tls(why) => {
            return Text::new(
                format!("TLS 握手失败：{why}"),
                format!("TLS handshake failed: {why}"),
            );
        }
    };
    Text::new(chinese, english)
}
