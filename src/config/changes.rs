//! What is different in a configuration that is read again.

use std::collections::BTreeMap;

use super::keys::{self, GROUP_ROBOTS};
use super::secret::Secret;
use super::settings::{GroupRobot, Settings};

/// Keys that are read at the start only: the sockets, the store and the log are open, and what
/// vectors are made by does not change under them.
const AT_START: [&str; 7] = [
    "llm.embedding.api_key",
    "llm.embedding.base_url",
    "llm.embedding.dimensions",
    "llm.embedding.model",
    "log.format",
    "server.listen",
    "store.url",
];

/// The keys whose values differ, in alphabetical order.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Those that a running daemon can put in force.
    pub applicable: Vec<String>,
    /// Those that need a restart.
    pub need_restart: Vec<String>,
}

/// What is different in `new`; of a group robot `dingtalk.group_robots.NAME`.
pub fn changes(running: &Settings, new: &Settings) -> Changes {
    let (old_values, new_values) = (keys::flatten(running), keys::flatten(new));
    let plain = new_values.keys().filter(|key| old_values.get(*key) != new_values.get(*key));
    let (old_secrets, new_secrets) = (secrets(running), secrets(new));
    let all = old_secrets.keys().chain(new_secrets.keys());
    let secret = all.filter(|key| old_secrets.get(*key) != new_secrets.get(*key));
    let mut changed: Vec<String> = plain.chain(secret).cloned().collect();
    changed.extend(mentions(running, new));
    changed.sort();
    changed.dedup();
    let (need_restart, applicable) =
        changed.into_iter().partition(|key| AT_START.contains(&key.as_str()));
    Changes { applicable, need_restart }
}

/// The group robots that stay and mention others than before.
fn mentions<'a>(running: &'a Settings, new: &'a Settings) -> impl Iterator<Item = String> + 'a {
    let mention = |robot: &'a GroupRobot| (&robot.mention_mobiles, robot.mention_all);
    new.dingtalk.group_robots.iter().filter_map(move |robot| {
        let before = running.dingtalk.group_robots.iter().find(|it| it.name == robot.name)?;
        let differs = mention(before) != mention(robot);
        differs.then(|| format!("{GROUP_ROBOTS}.{}", robot.name))
    })
}

/// `new` as far as it can be in force now: what needs a restart is as `running` has it.
pub fn until_restart(running: &Settings, mut new: Settings) -> Settings {
    new.server.listen.clone_from(&running.server.listen);
    new.store.clone_from(&running.store);
    new.log.format = running.log.format;
    new.llm.embedding.clone_from(&running.llm.embedding);
    new
}

/// Secrets are masked wherever settings are listed, so they are compared by themselves.
fn secrets(settings: &Settings) -> BTreeMap<String, Vec<&str>> {
    let server = settings.server.api_keys.iter().map(Secret::expose).collect();
    let mut all = BTreeMap::from([
        ("server.api_keys".to_owned(), server),
        ("dingtalk.client_secret".to_owned(), vec![settings.dingtalk.client_secret.expose()]),
        ("llm.api_key".to_owned(), vec![settings.llm.api_key.expose()]),
        ("llm.embedding.api_key".to_owned(), vec![settings.llm.embedding.api_key.expose()]),
    ]);
    for robot in &settings.dingtalk.group_robots {
        let key = format!("{GROUP_ROBOTS}.{}", robot.name);
        all.insert(key, vec![robot.access_token.expose(), robot.secret.expose()]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn with(overrides: &[(&str, &str)]) -> Settings {
        let overrides = overrides
            .iter()
            .map(|(key, value)| ((*key).into(), (*value).into(), "a test".into()))
            .collect();
        load(&Sources { overrides, ..Sources::default() }).expect("valid settings").settings
    }

    fn changed(overrides: &[(&str, &str)]) -> Changes {
        changes(&Settings::default(), &with(overrides))
    }

    #[test]
    fn what_is_the_same_is_no_change() {
        let set = [("llm.api_key", "k"), ("dingtalk.group_robots.ops.access_token", "t")];
        assert_eq!(changes(&with(&set), &with(&set)), Changes::default());
    }

    #[test]
    fn a_secret_that_is_replaced_is_seen_and_not_shown() {
        for key in ["dingtalk.client_secret", "llm.api_key", "server.api_keys"] {
            let before = with(&[(key, "one")]);
            let found = changes(&before, &with(&[(key, "two")]));
            assert_eq!(found.applicable, [key]);
        }
        let robot = "dingtalk.group_robots.ops.access_token";
        let found = changes(&with(&[(robot, "one")]), &with(&[(robot, "two")]));
        assert_eq!(found.applicable, ["dingtalk.group_robots.ops"]);
        let gone = changes(&with(&[(robot, "one")]), &Settings::default());
        assert_eq!(gone.applicable, ["dingtalk.group_robots.ops"]);
    }

    #[test]
    fn who_is_mentioned_is_a_change_of_the_robot() {
        let robot = ("dingtalk.group_robots.ops.access_token", "t");
        let mobiles = ("dingtalk.group_robots.ops.mention_mobiles", "13800000000");
        let all = ("dingtalk.group_robots.ops.mention_all", "true");
        for mention in [mobiles, all] {
            let found = changes(&with(&[robot]), &with(&[robot, mention]));
            assert_eq!(found.applicable, ["dingtalk.group_robots.ops"]);
        }
    }

    #[test]
    fn every_secret_is_compared() {
        let settings = Settings::default();
        let compared = secrets(&settings);
        let known: Vec<&str> = keys::all().filter(|key| keys::is_secret(key)).collect();
        assert_eq!(compared.keys().map(String::as_str).collect::<Vec<_>>(), known);
    }

    #[test]
    fn what_is_open_already_needs_a_restart() {
        let new = [("server.listen", "127.0.0.1:1"), ("llm.model", "m"), ("log.format", "json")];
        let found = changed(&new);
        assert_eq!(found.applicable, ["llm.model"]);
        assert_eq!(found.need_restart, ["log.format", "server.listen"]);
        let in_force = until_restart(&Settings::default(), with(&new));
        assert_eq!(changes(&Settings::default(), &in_force).need_restart, [""; 0]);
        assert_eq!(in_force.llm.model, "m");
    }
}
