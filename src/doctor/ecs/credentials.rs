//! The credentials for the API: those that `aliyun` and the SDKs would take, in their order.

use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::Deserialize;

use super::metadata::Metadata;
use crate::config::Secret;
use crate::doctor::facts::Facts;

/// The variables, the newest name first; `aliyun` reads the older ones, too.
const KEY_IDS: [&str; 4] = [
    "ALIBABA_CLOUD_ACCESS_KEY_ID",
    "ALIBABACLOUD_ACCESS_KEY_ID",
    "ALICLOUD_ACCESS_KEY_ID",
    "ACCESS_KEY_ID",
];
const KEY_SECRETS: [&str; 4] = [
    "ALIBABA_CLOUD_ACCESS_KEY_SECRET",
    "ALIBABACLOUD_ACCESS_KEY_SECRET",
    "ALICLOUD_ACCESS_KEY_SECRET",
    "ACCESS_KEY_SECRET",
];
const TOKENS: [&str; 4] = [
    "ALIBABA_CLOUD_SECURITY_TOKEN",
    "ALIBABACLOUD_SECURITY_TOKEN",
    "ALICLOUD_SECURITY_TOKEN",
    "SECURITY_TOKEN",
];
const PROFILES: [&str; 3] = ["ALIBABACLOUD_PROFILE", "ALIBABA_CLOUD_PROFILE", "ALICLOUD_PROFILE"];
/// Where the service lists the role, and under it, its credentials.
const ROLE: &str = "ram/security-credentials/";

/// An access key, and where it is from.
#[derive(Debug, Clone)]
pub(in crate::doctor) struct Credentials {
    pub(in crate::doctor) origin: Origin,
    pub(super) key: String,
    pub(super) secret: Secret,
    /// With temporary credentials.
    pub(super) token: Option<Secret>,
}

/// Where credentials are from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::doctor) enum Origin {
    /// The variable with the id.
    Environment(&'static str),
    /// A profile of `aliyun`, in this file.
    Profile(PathBuf, String),
    /// The RAM role of the instance.
    Role(String),
}

/// Why there are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::doctor) enum CredentialsError {
    /// No place has any.
    #[error("there are none")]
    None,
    /// One of the two parts of a key is set.
    #[error("{0} is set, {1} is not")]
    Half(&'static str, &'static str),
    /// The file of `aliyun` cannot be used.
    #[error("{}: {why}", file.display())]
    Profile {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The role has no credentials to give.
    #[error("RAM role {0}: {1}")]
    Role(String, String),
}

/// The file of `aliyun`.
#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    current: String,
    #[serde(default)]
    profiles: Vec<Profile>,
}

#[derive(Deserialize)]
struct Profile {
    #[serde(default)]
    name: String,
    #[serde(default)]
    mode: String,
    #[serde(default)]
    access_key_id: String,
    #[serde(default)]
    access_key_secret: Secret,
    #[serde(default)]
    sts_token: Secret,
    #[serde(default)]
    ram_role_name: String,
}

/// What the metadata service says of a role.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RoleCredentials {
    code: String,
    #[serde(default)]
    access_key_id: String,
    #[serde(default)]
    access_key_secret: Secret,
    #[serde(default)]
    security_token: Secret,
    #[serde(default)]
    expiration: Option<Timestamp>,
}

/// The first credentials there are.
pub(in crate::doctor) async fn find(
    facts: &Facts,
    metadata: &Metadata,
) -> Result<Credentials, CredentialsError> {
    if let Some(found) = of_environment(|name| facts.variable(name)) {
        return found;
    }
    let mut role = facts.variable("ALIBABA_CLOUD_ECS_METADATA").map(str::to_owned);
    if let Some(home) = facts.variable("HOME") {
        let file = Path::new(home).join(".aliyun/config.json");
        let wanted = PROFILES.iter().find_map(|name| facts.variable(name));
        match of_profile(&file, wanted) {
            Ok(Some(Chosen::Key(credentials))) => return Ok(credentials),
            Ok(Some(Chosen::Role(named))) => role = role.or(named),
            Ok(None) => {}
            // The role of the instance may do as well.
            Err(error) => return of_role(metadata, role).await.map_err(|_| error),
        }
    }
    if facts.variable("ALIBABA_CLOUD_ECS_METADATA_DISABLED") == Some("true") {
        return Err(CredentialsError::None);
    }
    of_role(metadata, role).await
}

fn of_environment<'a>(
    variable: impl Fn(&str) -> Option<&'a str>,
) -> Option<Result<Credentials, CredentialsError>> {
    let first =
        |names: &[&'static str; 4]| names.iter().find_map(|name| Some((*name, variable(name)?)));
    let found = match (first(&KEY_IDS), first(&KEY_SECRETS)) {
        (None, None) => return None,
        // These two are names that anybody may use for anything.
        (Some(("ACCESS_KEY_ID", _)), None) | (None, Some(("ACCESS_KEY_SECRET", _))) => return None,
        (Some((name, _)), None) => Err(CredentialsError::Half(name, KEY_SECRETS[0])),
        (None, Some((name, _))) => Err(CredentialsError::Half(name, KEY_IDS[0])),
        (Some((name, key)), Some((_, secret))) => Ok(Credentials {
            origin: Origin::Environment(name),
            key: key.to_owned(),
            secret: Secret::from(secret),
            token: first(&TOKENS).map(|(_, token)| Secret::from(token)),
        }),
    };
    Some(found)
}

/// What a profile says to take.
#[derive(Debug)]
enum Chosen {
    Key(Credentials),
    Role(Option<String>),
}

fn of_profile(file: &Path, wanted: Option<&str>) -> Result<Option<Chosen>, CredentialsError> {
    let wrong = |why: String| CredentialsError::Profile { file: file.to_owned(), why };
    let text = match std::fs::read_to_string(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(error.to_string())),
    };
    // Its text holds secrets, so what serde says of it is not shown.
    let configuration: Configuration = serde_json::from_str(&text)
        .map_err(|error| wrong(format!("line {}: not the JSON of `aliyun`", error.line())))?;
    let name = wanted.unwrap_or(&configuration.current);
    let Some(profile) = configuration.profiles.into_iter().find(|profile| profile.name == name)
    else {
        return Err(wrong(format!("there is no profile `{name}`")));
    };
    let mode = profile.mode.to_ascii_lowercase();
    let token = match mode.as_str() {
        "ak" | "" => None,
        "ststoken" => Some(profile.sts_token),
        "ecsramrole" => {
            let role = profile.ram_role_name;
            return Ok(Some(Chosen::Role((!role.is_empty()).then_some(role))));
        }
        _ => {
            let why = format!("profile `{name}`: mode `{}` is not supported here", profile.mode);
            return Err(wrong(why));
        }
    };
    let lacks = profile.access_key_id.is_empty()
        || profile.access_key_secret.is_empty()
        || token.as_ref().is_some_and(Secret::is_empty);
    if lacks {
        // `aliyun` makes such a file when it is called for the first time.
        if mode.is_empty() || mode == "ak" {
            return Ok(None);
        }
        return Err(wrong(format!("profile `{name}`: the access key is not complete")));
    }
    Ok(Some(Chosen::Key(Credentials {
        origin: Origin::Profile(file.to_owned(), profile.name),
        key: profile.access_key_id,
        secret: profile.access_key_secret,
        token,
    })))
}

async fn of_role(
    metadata: &Metadata,
    role: Option<String>,
) -> Result<Credentials, CredentialsError> {
    let role = match role {
        Some(role) => role,
        None => metadata.get(ROLE).await.ok_or(CredentialsError::None)?,
    };
    let role = role.lines().next().unwrap_or_default().trim().to_owned();
    let is_name = |c: u8| c.is_ascii_alphanumeric() || b"-_.".contains(&c);
    if role.is_empty() || role.len() > 64 || !role.bytes().all(is_name) {
        return Err(CredentialsError::None);
    }
    let wrong = |why: &str| CredentialsError::Role(role.clone(), why.to_owned());
    let text = metadata.get(&format!("{ROLE}{role}")).await;
    let text = text.ok_or_else(|| wrong("the metadata service has no credentials of it"))?;
    let found: RoleCredentials =
        serde_json::from_str(&text).map_err(|_| wrong("its credentials cannot be read"))?;
    if found.code != "Success" || found.access_key_id.is_empty() {
        return Err(wrong("the metadata service gives no credentials"));
    }
    if found.expiration.is_some_and(|end| end < Timestamp::now()) {
        return Err(wrong("its credentials have expired"));
    }
    Ok(Credentials {
        origin: Origin::Role(role),
        key: found.access_key_id,
        secret: found.access_key_secret,
        token: Some(found.security_token),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(set: &[(&str, &'static str)]) -> Option<Result<Credentials, CredentialsError>> {
        of_environment(|name| set.iter().find(|(known, _)| *known == name).map(|(_, it)| *it))
    }

    #[test]
    fn the_environment_has_names_of_old() {
        let found = of(&[("ALICLOUD_ACCESS_KEY_ID", "id"), ("ALICLOUD_ACCESS_KEY_SECRET", "s")]);
        let found = found.unwrap().unwrap();
        assert_eq!(found.origin, Origin::Environment("ALICLOUD_ACCESS_KEY_ID"));
        assert!(found.token.is_none());
        assert!(of(&[]).is_none());
        assert!(of(&[("ACCESS_KEY_ID", "of something else")]).is_none());
    }

    #[test]
    fn half_a_key_is_named() {
        let error = of(&[("ALIBABA_CLOUD_ACCESS_KEY_ID", "id")]).unwrap().unwrap_err();
        assert_eq!(
            error.to_string(),
            "ALIBABA_CLOUD_ACCESS_KEY_ID is set, ALIBABA_CLOUD_ACCESS_KEY_SECRET is not"
        );
    }

    #[test]
    fn nothing_secret_is_shown() {
        let found = of(&[
            ("ALIBABA_CLOUD_ACCESS_KEY_ID", "id"),
            ("ALIBABA_CLOUD_ACCESS_KEY_SECRET", "s3cret"),
            ("ALIBABA_CLOUD_SECURITY_TOKEN", "t0ken"),
        ]);
        let shown = format!("{found:?}");
        assert!(!shown.contains("s3cret") && !shown.contains("t0ken"), "{shown}");
    }

    #[test]
    fn the_profile_of_aliyun_that_is_current_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("config.json");
        assert!(of_profile(&file, None).unwrap().is_none());
        let text = r#"{"current": "work", "profiles": [
            {"name": "default", "mode": "AK", "access_key_id": "", "access_key_secret": ""},
            {"name": "work", "mode": "StsToken", "access_key_id": "STS.1",
             "access_key_secret": "s", "sts_token": "t", "region_id": "cn-hangzhou"},
            {"name": "role", "mode": "EcsRamRole", "ram_role_name": "bot"},
            {"name": "far", "mode": "CloudSSO"}], "meta_path": ""}"#;
        std::fs::write(&file, text).unwrap();
        match of_profile(&file, None).unwrap() {
            Some(Chosen::Key(key)) => {
                assert_eq!((key.key.as_str(), key.token.unwrap().expose()), ("STS.1", "t"));
            }
            other => panic!("{other:?}"),
        }
        assert!(of_profile(&file, Some("default")).unwrap().is_none());
        assert!(matches!(
            of_profile(&file, Some("role")).unwrap(),
            Some(Chosen::Role(Some(role))) if role == "bot"
        ));
        let error = of_profile(&file, Some("far")).unwrap_err().to_string();
        assert!(error.ends_with("profile `far`: mode `CloudSSO` is not supported here"), "{error}");
        assert!(of_profile(&file, Some("none")).is_err());
        std::fs::write(&file, "{\n\"current\": s3cret").unwrap();
        let error = of_profile(&file, None).unwrap_err().to_string();
        assert!(error.contains("line 2") && !error.contains("s3cret"), "{error}");
    }
}
