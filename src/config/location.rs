//! Where the store's file is.

use std::path::{Path, PathBuf};

use url::Url;

use super::environment::variable;
use super::settings::Settings;

const FILE: &str = "dingbot.db";
const SCHEME: &str = "sqlite";

/// Path of the SQLite file: `store.url`; else `dingbot.db` in the first directory of
/// `$STATE_DIRECTORY` (systemd's list has colons), in `$XDG_STATE_HOME/dingbot`, or in
/// `~/.local/state/dingbot`. With no home directory either: in `/var/lib/dingbot`.
///
/// `settings` must come from [`load()`](super::load()), which refuses any other `store.url`.
pub fn state_path(settings: &Settings, environment: &[(String, String)]) -> PathBuf {
    if let Ok(path) = sqlite_path(&settings.store.url) {
        return path;
    }
    // The XDG specification has relative paths ignored.
    let absolute = |name: &str| {
        variable(environment, name).map(PathBuf::from).filter(|path| path.is_absolute())
    };
    let systemd = variable(environment, "STATE_DIRECTORY")
        .and_then(|list| list.split(':').next())
        .map(PathBuf::from);
    let directory = systemd
        .or_else(|| absolute("XDG_STATE_HOME").map(|state| state.join("dingbot")))
        .or_else(|| absolute("HOME").map(|home| home.join(".local/state/dingbot")))
        .unwrap_or_else(|| PathBuf::from("/var/lib/dingbot"));
    directory.join(FILE)
}

/// The file that `sqlite:///path` names. The error says what is wrong and what to write.
pub(super) fn sqlite_path(url: &str) -> Result<PathBuf, &'static str> {
    const USAGE: &str = "expected sqlite:///path/to/file";
    let url = Url::parse(url).map_err(|_| USAGE)?;
    match url.scheme() {
        SCHEME => {}
        "postgres" | "postgresql" => {
            return Err(
                "PostgreSQL is not available in this version: write sqlite:///path/to/file",
            );
        }
        _ => return Err(USAGE),
    }
    if url.has_host() && url.host_str().is_some_and(|host| !host.is_empty()) {
        return Err("the path must be absolute, with three slashes: sqlite:///path/to/file");
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("takes no `?` or `#`; write such a character of the path as %3F or %23");
    }
    let file = Url::parse(&format!("file://{}", url.path())).map_err(|_| USAGE)?;
    let path = file.to_file_path().map_err(|()| USAGE)?;
    if path.file_name().is_none() || url.path().ends_with('/') { Err(USAGE) } else { Ok(path) }
}

/// `sqlite:///path` of a file; a relative path is meant from the working directory.
pub(super) fn sqlite_url(path: &Path) -> Option<String> {
    let file = Url::from_file_path(std::path::absolute(path).ok()?).ok()?;
    Some(format!("{SCHEME}://{}", file.path()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn located(url: &str, environment: &[(&str, &str)]) -> String {
        let mut settings = Settings::default();
        settings.store.url = url.into();
        let environment: Vec<(String, String)> =
            environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        state_path(&settings, &environment).display().to_string()
    }

    #[test]
    fn the_first_place_that_is_named_counts() {
        let home = ("HOME", "/home/a");
        let xdg = ("XDG_STATE_HOME", "/home/a/state");
        let systemd = ("STATE_DIRECTORY", "/var/lib/one:/var/lib/two");
        assert_eq!(located("", &[]), "/var/lib/dingbot/dingbot.db");
        assert_eq!(located("", &[home]), "/home/a/.local/state/dingbot/dingbot.db");
        assert_eq!(located("", &[home, xdg]), "/home/a/state/dingbot/dingbot.db");
        assert_eq!(located("", &[home, xdg, systemd]), "/var/lib/one/dingbot.db");
        assert_eq!(located("sqlite:///srv/b.db", &[home, xdg, systemd]), "/srv/b.db");
        let relative = ("XDG_STATE_HOME", "state");
        assert_eq!(located("", &[home, relative]), "/home/a/.local/state/dingbot/dingbot.db");
    }

    #[test]
    fn a_path_survives_being_written_as_an_url() {
        for path in ["/srv/dingbot.db", "/srv/a b/c%20d?e#f.db", "/数据/机器人.db"] {
            let url = sqlite_url(Path::new(path)).expect("absolute");
            assert_eq!(sqlite_path(&url), Ok(PathBuf::from(path)), "{url}");
        }
        assert_eq!(sqlite_url(Path::new("/srv/a.db")).as_deref(), Some("sqlite:///srv/a.db"));
        let relative = sqlite_url(Path::new("a.db")).expect("from the working directory");
        assert!(relative.starts_with("sqlite:///") && relative.ends_with("/a.db"), "{relative}");
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "/srv/a.db",
            "mysql://h/d",
            "postgres://h/d",
            "sqlite://data/a.db",
            "sqlite:///a.db?mode=ro",
            "sqlite:///srv/",
            "sqlite:",
        ] {
            assert!(sqlite_path(url).is_err(), "{url}");
        }
    }
}
