//! systemd credentials: one file a secret, in the directory that systemd names.

use std::path::Path;

use super::keys;
use super::layer::Layer;
use super::problem::{Origin, Problem};

/// What a credential holds when it is absent: a unit must give each credential a value, and the
/// default it gives is this (an empty one does not work on systemd 252 and 257).
const ABSENT: &str = "unset";

/// Reads the credentials. A file is named like its key with `-` for the dots
/// (`llm-api_key`, `dingtalk-group_robots-NAME-secret`); one trailing line break is not part of
/// the value; an empty file is absent too. An unknown name is a warning, for the directory may
/// have been inherited from another service.
pub(super) fn read(directory: &Path) -> Layer {
    let mut layer = Layer::default();
    let origin = Origin::new(directory.display().to_string());
    let mut names: Vec<String> = match std::fs::read_dir(directory) {
        Ok(entries) => {
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect()
        }
        Err(error) => {
            layer.warn(&origin, format!("the credentials cannot be listed: {error}"));
            return layer;
        }
    };
    names.sort();
    for name in names.iter().filter(|name| !name.starts_with('.')) {
        let origin = Origin::new(format!("credential {name}"));
        let Some(key) = key_of(name) else {
            let nearest = keys::nearest(&name.replace('-', ".")).replace('.', "-");
            layer.warn(&origin, format!("sets nothing; the nearest known name is `{nearest}`"));
            continue;
        };
        match std::fs::read_to_string(directory.join(name)) {
            Ok(content) => {
                let value = content.strip_suffix('\n').unwrap_or(&content);
                let value = value.strip_suffix('\r').unwrap_or(value);
                if !value.is_empty() && value != ABSENT {
                    layer.add_text(&key, value, origin);
                }
            }
            Err(error) => {
                let message = format!("cannot be read: {error}; it must be a file of UTF-8 text");
                layer.problems.push(Problem::new(&origin, Some(&key), message));
            }
        }
    }
    layer
}

fn key_of(name: &str) -> Option<String> {
    let prefix = format!("{}-", keys::GROUP_ROBOTS.replace('.', "-"));
    if let Some(rest) = name.strip_prefix(&prefix) {
        return keys::ROBOT_SECRETS.iter().find_map(|field| {
            let robot = rest.strip_suffix(field)?.strip_suffix('-')?;
            keys::is_robot_name(robot).then(|| keys::robot_key(robot, field))
        });
    }
    keys::all().find(|key| key.replace('.', "-") == name).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_keys_with_hyphens() {
        for (name, key) in [
            ("dingtalk-client_secret", Some("dingtalk.client_secret")),
            ("llm-embedding-model", Some("llm.embedding.model")),
            (
                "dingtalk-group_robots-ops-team-access_token",
                Some("dingtalk.group_robots.ops-team.access_token"),
            ),
            ("dingtalk-group_robots-default-secret", Some("dingtalk.group_robots.default.secret")),
            ("dingtalk-group_robots-default-name", None),
            ("dingtalk-group_robots--secret", None),
            ("llm.api_key", None),
            ("db-password", None),
        ] {
            assert_eq!(key_of(name).as_deref(), key, "{name}");
        }
    }

    #[test]
    fn no_two_keys_share_a_credential_name() {
        let mut names: Vec<String> = keys::all().map(|key| key.replace('.', "-")).collect();
        names.sort();
        let count = names.len();
        names.dedup();
        assert_eq!(names.len(), count);
    }
}
