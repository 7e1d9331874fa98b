//! Where the configuration is read from.

use std::path::PathBuf;

use super::environment::variable;

/// Every place the configuration is read from; tests give their own.
///
/// It has no `Debug`: the environment holds secrets.
#[derive(Clone, Default)]
pub struct Sources {
    /// The file named by `--config`, which must exist; it takes the place of `default_file`.
    pub file: Option<PathBuf>,
    /// The main file when none is named; it may be missing.
    pub default_file: PathBuf,
    /// Directory whose `*.toml` are read after the main file, in name order; it may be missing.
    pub conf_dir: PathBuf,
    /// systemd's `$CREDENTIALS_DIRECTORY`.
    pub credentials: Option<PathBuf>,
    /// The environment, as names and values.
    pub environment: Vec<(String, String)>,
    /// Options of the command line: key, value, and origin such as `--listen`.
    pub overrides: Vec<(String, String, String)>,
}

impl Sources {
    /// The sources of this process, with `config` from `--config`. A variable that is not UTF-8
    /// is passed over: no setting has such a value.
    pub fn from_process(config: Option<PathBuf>) -> Self {
        let environment: Vec<(String, String)> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            file: config,
            default_file: PathBuf::from("/etc/dingbot/dingbot.toml"),
            conf_dir: PathBuf::from("/etc/dingbot/conf.d"),
            credentials: variable(&environment, "CREDENTIALS_DIRECTORY").map(PathBuf::from),
            environment,
            overrides: Vec::new(),
        }
    }
}
