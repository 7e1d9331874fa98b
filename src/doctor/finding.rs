//! What a check found: one fact, how it is, and what mends it.

use serde::Serialize;

use super::codes::CODES;
use crate::language::Language;

/// How it is with what was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is as it should be.
    Fine,
    /// It cannot be seen from here, or not by this user.
    Unseen,
    /// It works, and somebody should know.
    Warning,
    /// It keeps the bot from being reached or from answering.
    Failed,
}

impl State {
    /// The sign that operators know from their guide.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Fine => "✅",
            Self::Unseen => "⏳",
            Self::Warning => "⚠️",
            Self::Failed => "❌",
        }
    }
}

/// The part that was looked at; findings are shown in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Area {
    /// The host, its addresses, the ECS instance.
    Machine,
    /// The systemd unit or the container.
    Service,
    /// Who listens on the port.
    Listening,
    /// The packet filter of the host.
    Firewall,
    /// `/health`, from loopback to the public address.
    Reach,
    /// The rules of ECS.
    SecurityGroup,
    /// A proxy before the bot, and its certificate.
    Https,
    /// DingTalk and the model.
    Upstreams,
    /// Configuration, store, messages.
    Bot,
    /// A server, seen from another machine.
    Target,
}

impl Area {
    /// Its heading.
    pub fn title(self, language: Language) -> &'static str {
        let (chinese, english) = match self {
            Self::Machine => ("主机", "Machine"),
            Self::Service => ("服务", "Service"),
            Self::Listening => ("监听", "Listening"),
            Self::Firewall => ("主机防火墙", "Host firewall"),
            Self::Reach => ("访问", "Reach"),
            Self::SecurityGroup => ("安全组", "Security group"),
            Self::Https => ("HTTPS 与反向代理", "HTTPS and reverse proxy"),
            Self::Upstreams => ("钉钉与模型", "DingTalk and model"),
            Self::Bot => ("机器人", "Bot"),
            Self::Target => ("目标", "Target"),
        };
        language.pick(chinese, english)
    }
}

/// How deep in the chain of causes a finding lies, the deepest first: a service that does not run
/// because its configuration is wrong is mended at the configuration, and an address that does not
/// answer at the packet filter that drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// The configuration is not valid: nothing starts.
    Configuration,
    /// Disk and store.
    Storage,
    /// Somebody else has the port.
    Port,
    /// The service or the container does not run.
    Service,
    /// Nothing listens, or not where it must.
    Listening,
    /// The container's port does not lead to the host's.
    Publishing,
    /// The host's packet filter.
    Firewall,
    /// There is no address for the outside.
    Address,
    /// The security group.
    SecurityGroup,
    /// What stands before the bot.
    Proxy,
    /// The answer, or that there is none: the symptom.
    Reach,
    /// The clock, which breaks signatures and certificates.
    Clock,
    /// Names and routes to the outside.
    Network,
    /// DingTalk.
    DingTalk,
    /// The model.
    Model,
    /// What the bot says of itself.
    Bot,
    /// Worth knowing.
    Note,
}

/// A sentence in both languages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    zh: String,
    en: String,
}

impl Text {
    /// The same said in Chinese and in English.
    pub fn new(chinese: impl Into<String>, english: impl Into<String>) -> Self {
        Self { zh: chinese.into(), en: english.into() }
    }

    /// The sentence in this language.
    pub fn of(&self, language: Language) -> &str {
        language.pick(&self.zh, &self.en)
    }

    /// The sentence in Chinese.
    pub fn chinese(&self) -> &str {
        &self.zh
    }

    /// The sentence in English.
    pub fn english(&self) -> &str {
        &self.en
    }
}

/// What mends it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Remedy {
    /// What to do, with the path through the console where it is done there.
    pub text: Text,
    /// Commands to be typed as they are, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<String>,
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// A stable name in `snake_case`, for machines and for documents.
    pub code: &'static str,
    /// How it is.
    pub state: State,
    /// How deep a cause it is.
    #[serde(skip)]
    pub depth: Depth,
    /// What was seen, with the values.
    pub seen: Text,
    /// What mends it; of what is fine, nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<Remedy>,
}

impl Finding {
    /// It is as it should be.
    pub fn fine(code: &'static str, seen: Text) -> Self {
        Self::new(code, State::Fine, Depth::Note, seen, None)
    }

    /// It works, and somebody should know.
    pub fn warning(code: &'static str, depth: Depth, seen: Text, remedy: Remedy) -> Self {
        Self::new(code, State::Warning, depth, seen, Some(remedy))
    }

    /// It keeps the bot from being reached or from answering.
    pub fn failed(code: &'static str, depth: Depth, seen: Text, remedy: Remedy) -> Self {
        Self::new(code, State::Failed, depth, seen, Some(remedy))
    }

    fn new(
        code: &'static str,
        state: State,
        depth: Depth,
        seen: Text,
        remedy: Option<Remedy>,
    ) -> Self {
        debug_assert!(CODES.contains(&code), "{code} is not in the list of codes");
        Self { code, state, depth, seen, remedy }
    }

    /// It cannot be seen from here; `remedy` says how it can be.
    pub fn unseen(code: &'static str, seen: Text, remedy: Remedy) -> Self {
        Self::new(code, State::Unseen, Depth::Note, seen, Some(remedy))
    }
}

impl Remedy {
    /// A sentence alone.
    pub fn new(text: Text) -> Self {
        Self { text, commands: Vec::new() }
    }

    /// With a command more.
    #[must_use]
    pub fn command(mut self, command: impl Into<String>) -> Self {
        self.commands.push(command.into());
        self
    }
}
