//! What an operator types to work on the bot, in the words of what starts it.

use std::path::Path;

use super::{Examined, Starter};
use crate::doctor::finding::Text;

impl Examined {
    /// The command line that has `dingbot` do this, as this bot.
    pub(in crate::doctor) fn command(&self, words: &str) -> String {
        match &self.starter {
            Starter::Container(name) => format!("docker exec {name} dingbot {words}"),
            Starter::Unit => format!("sudo dingbot {words}"),
            Starter::Hand => match &self.file {
                Some(file) => format!("dingbot {words} --config {}", quoted(file)),
                None => format!("dingbot {words}"),
            },
        }
    }

    /// The command line that starts it again.
    pub(in crate::doctor) fn restart(&self) -> String {
        self.operate("restart")
    }

    /// The command line that stops it.
    pub(in crate::doctor) fn stop(&self) -> String {
        self.operate("stop")
    }

    fn operate(&self, verb: &str) -> String {
        match &self.starter {
            Starter::Container(name) => format!("docker {verb} {name}"),
            Starter::Unit | Starter::Hand => format!("sudo systemctl {verb} dingbot"),
        }
    }

    /// The command line that shows the end of its log.
    pub(in crate::doctor) fn log(&self) -> String {
        match &self.starter {
            Starter::Container(name) => format!("docker logs --tail 50 {name}"),
            Starter::Unit | Starter::Hand => {
                "journalctl -u dingbot -p warning -n 50 --no-pager".into()
            }
        }
    }

    /// What gives the bot another value of a setting.
    pub(in crate::doctor) fn set(&self, key: &str) -> Text {
        match &self.starter {
            // Its environment is fixed when it is made.
            Starter::Container(_) => {
                let variable = format!("DINGBOT_{}", key.to_uppercase().replacen('.', "__", 1));
                Text::new(
                    format!("{key}（重建容器：docker rm -f 之后带 -e {variable}=… 再 docker run）"),
                    format!(
                        "{key} (make the container anew: docker rm -f, then docker run with \
                             -e {variable}=…)"
                    ),
                )
            }
            Starter::Unit if key.ends_with("_secret") || key.ends_with("api_key") => {
                let file = format!("/etc/dingbot/credentials/{}", key.replace('.', "-"));
                Text::new(
                    format!("{key}（最好写进 {file}），再重启"),
                    format!("{key} (best in {file}), then restart"),
                )
            }
            Starter::Unit => Text::new(
                format!("{key}（/etc/dingbot/dingbot.toml），再重启"),
                format!("{key} (/etc/dingbot/dingbot.toml), then restart"),
            ),
            Starter::Hand => Text::new(format!("{key}，再重启"), format!("{key}, then restart")),
        }
    }
}

/// As a word of a command line.
pub(in crate::doctor) fn quoted(path: &Path) -> String {
    let word = path.to_string_lossy();
    shlex::try_quote(&word).map_or_else(|_| "?".into(), std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::super::Seen;
    use super::*;
    use crate::config::Sources;

    #[test]
    fn commands_are_those_of_its_starter() {
        let of = |starter| {
            let seen = Seen { starter, ..Seen::of(Sources::default()) };
            let bot = Examined::read(seen, true);
            (bot.command("outbox list"), bot.restart(), bot.set("llm.api_key").english().to_owned())
        };
        let (command, restart, set) = of(Starter::Container("bot".into()));
        assert_eq!(command, "docker exec bot dingbot outbox list");
        assert_eq!(restart, "docker restart bot");
        assert!(set.contains("-e DINGBOT_LLM__API_KEY=…"), "{set}");
        let (command, restart, set) = of(Starter::Unit);
        assert_eq!(command, "sudo dingbot outbox list");
        assert_eq!(restart, "sudo systemctl restart dingbot");
        assert!(set.contains("/etc/dingbot/credentials/llm-api_key"), "{set}");
        assert_eq!(quoted(Path::new("/data/a b$(id)")), "'/data/a b$(id)'");
    }
}
