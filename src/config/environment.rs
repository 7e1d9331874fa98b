//! Environment variables named after their keys: `DINGBOT_<SECTION>__<KEY>`.

use super::keys;
use super::layer::Layer;
use super::problem::Origin;

const PREFIX: &str = "DINGBOT_";
const SEPARATOR: &str = "__";

/// The value of a variable; an empty one counts as unset, since containers pass what their own
/// environment lacks as an empty text.
pub(super) fn variable<'a>(environment: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let (_, value) = environment.iter().find(|(known, _)| known == name)?;
    (!value.is_empty()).then_some(value.as_str())
}

/// The origin of a value from a variable.
pub(super) fn origin(name: &str) -> Origin {
    Origin::new(format!("environment {name}"))
}

/// Reads the variables with two underscores between section and key. All others belong to someone
/// else (`DINGBOT_PORT` is what Kubernetes calls a service's address); an unknown one is a
/// warning, never an error.
pub(super) fn read(environment: &[(String, String)]) -> Layer {
    let mut layer = Layer::default();
    for (name, value) in environment {
        let Some(path) = name.strip_prefix(PREFIX) else { continue };
        if !path.contains(SEPARATOR) || value.is_empty() {
            continue;
        }
        let key = path.to_ascii_lowercase().replace(SEPARATOR, ".");
        let is_robot_name = keys::robot_field(&key).is_some_and(|(_, field)| field == "name");
        if keys::default_of(&key).is_some() && !is_robot_name {
            layer.add_text(&key, value, origin(name));
        } else {
            let nearest = keys::nearest(&key).to_ascii_uppercase().replace('.', SEPARATOR);
            let message = format!("sets nothing; the nearest known variable is {PREFIX}{nearest}");
            layer.warn(&origin(name), message);
        }
    }
    layer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(pairs: &[(&str, &str)]) -> Layer {
        let environment: Vec<(String, String)> =
            pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        read(&environment)
    }

    #[test]
    fn sections_and_keys_are_parted_by_two_underscores() {
        let layer = given(&[
            ("DINGBOT_LLM__API_KEY", "007"),
            ("DINGBOT_LLM__EMBEDDING__DIMENSIONS", "3"),
            ("DINGBOT_DINGTALK__GROUP_ROBOTS__OPS_TEAM__ACCESS_TOKEN", "t"),
        ]);
        let entries: Vec<String> = layer
            .entries
            .iter()
            .map(|entry| format!("{} = {} # {}", entry.key, entry.value, entry.origin))
            .collect();
        assert_eq!(
            entries,
            [
                "llm.api_key = \"007\" # environment DINGBOT_LLM__API_KEY",
                "llm.embedding.dimensions = 3 # environment DINGBOT_LLM__EMBEDDING__DIMENSIONS",
                "dingtalk.group_robots.ops_team.access_token = \"t\" # environment \
                 DINGBOT_DINGTALK__GROUP_ROBOTS__OPS_TEAM__ACCESS_TOKEN",
            ]
        );
    }

    #[test]
    fn a_stray_variable_is_no_error() {
        let layer = given(&[
            ("DINGBOT_CONFIG", "/somewhere"),
            ("DINGBOT_PORT", "tcp://10.0.0.1:8080"),
            ("DINGBOT_LLM__MODLE", "x"),
            ("DINGBOT_DINGTALK__GROUP_ROBOTS__1__SECRET", "x"),
            ("DINGBOT_LLM", "x"),
            ("DINGBOT_LLM__MODEL", ""),
            ("LLM__MODEL", "x"),
        ]);
        assert!(layer.entries.is_empty() && layer.problems.is_empty());
        let warnings: Vec<String> = layer.warnings.iter().map(ToString::to_string).collect();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert_eq!(
            warnings[0],
            "environment DINGBOT_LLM__MODLE: sets nothing; the nearest known variable is \
             DINGBOT_LLM__MODEL"
        );
    }
}
