//! The bot that is looked into: the settings it has, and where its files are.
//!
//! An operator's shell has neither the unit's credentials nor the container's environment. So the
//! settings are read as the bot itself reads them: with the environment of its process where that
//! can be seen, else with what its unit or its container would give it.

mod commands;

use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use procfs::process::Process;

pub(super) use self::commands::quoted;
use super::docker::{Container, State};
use super::facts::Facts;
use super::systemd::Unit;
use crate::config::{self, Loaded, Problem, Settings, Sources};

/// Where the unit's `LoadCredential=` reads from.
const CREDENTIALS: &str = "/etc/dingbot/credentials";
/// What the unit's `StateDirectory=` becomes.
const STATE: &str = "/var/lib/dingbot";

/// What starts the bot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Starter {
    /// systemd.
    Unit,
    /// Docker; the container's name.
    Container(String),
    /// Somebody, by hand; or nobody yet.
    Hand,
}

/// A bot.
#[allow(missing_debug_implementations, reason = "the sources hold secrets")]
pub(super) struct Examined {
    pub(super) starter: Starter,
    /// Whether its process runs.
    pub(super) runs: bool,
    /// Its process, when it was looked into.
    pub(super) pid: Option<i32>,
    /// Its configuration, or all that is wrong with it.
    pub(super) configuration: Result<Loaded, Vec<Problem>>,
    /// What this user may not read of the bot's settings: they may differ from those read.
    pub(super) closed: Option<PathBuf>,
    /// The file of settings that it was told of.
    pub(super) file: Option<PathBuf>,
    environment: Vec<(String, String)>,
    files: Files,
    fallback: Settings,
}

/// Where the files that the bot sees are seen from here.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Files {
    /// At the same place.
    Here,
    /// Below the root of its process.
    Below(PathBuf),
    /// In what is mounted into its container: pairs of the place here and the place inside.
    Mounted(Vec<(String, String)>),
}

impl Files {
    /// The place here of what the bot sees at `path`; nothing, when it is not here.
    fn place(&self, path: &Path) -> Option<PathBuf> {
        match self {
            Self::Here => Some(path.to_owned()),
            Self::Below(root) => Some(root.join(path.strip_prefix("/").unwrap_or(path))),
            Self::Mounted(mounts) => mounts
                .iter()
                .filter_map(|(here, inside)| {
                    let rest = path.strip_prefix(inside).ok()?;
                    let here = Path::new(here);
                    // Joined with nothing, a file would get a slash at its end.
                    let place =
                        if rest.as_os_str().is_empty() { here.into() } else { here.join(rest) };
                    Some((inside.len(), place))
                })
                .max_by_key(|(length, _)| *length)
                .map(|(_, place)| place),
        }
    }

    /// A text with places as the bot sees them.
    fn as_inside(&self, text: &str) -> String {
        match self {
            Self::Here => text.to_owned(),
            Self::Below(root) => text.replace(&*root.to_string_lossy(), ""),
            Self::Mounted(mounts) => match mounts.iter().find(|(here, _)| text.starts_with(here)) {
                Some((here, inside)) => text.replacen(here, inside, 1),
                None => text.to_owned(),
            },
        }
    }
}

impl Examined {
    /// The settings; the defaults when the configuration is not valid.
    pub(super) fn settings(&self) -> &Settings {
        self.configuration.as_ref().map_or(&self.fallback, |loaded| &loaded.settings)
    }

    /// The value of a variable of its environment that is set and not empty.
    pub(super) fn variable(&self, name: &str) -> Option<&str> {
        let all = self.environment.iter().rev();
        let mut found = all.filter(|(known, value)| known == name && !value.is_empty());
        found.next().map(|(_, value)| value.as_str())
    }

    /// The file of the store, as the bot sees it.
    pub(super) fn store(&self) -> PathBuf {
        config::state_path(self.settings(), &self.environment)
    }

    /// The place here of what the bot sees at `path`; nothing, when it is not here: in a container
    /// that does not run.
    pub(super) fn place(&self, path: &Path) -> Option<PathBuf> {
        self.files.place(path)
    }

    /// What is wrong with the configuration, with the places as the bot sees them.
    pub(super) fn problems(&self) -> Vec<String> {
        let problems = self.configuration.as_ref().err().into_iter().flatten();
        problems.map(|problem| self.files.as_inside(&problem.to_string())).collect()
    }

    fn read(seen: Seen, is_root: bool) -> Self {
        let Seen { starter, runs, pid, mut sources, files, mut closed } = seen;
        let environment = sources.environment.clone();
        // What a process may read is no problem of its configuration when we may not.
        if !is_root {
            for place in [&mut sources.default_file, &mut sources.conf_dir] {
                if is_closed(place) {
                    closed.get_or_insert(std::mem::take(place));
                }
            }
            for place in [&mut sources.file, &mut sources.credentials] {
                if let Some(place) = place.take_if(|place| is_closed(place)) {
                    closed.get_or_insert(place);
                }
            }
        }
        Self {
            starter,
            runs,
            pid,
            configuration: config::load(&sources),
            file: sources.file.map(|file| files.as_inside(&file.to_string_lossy()).into()),
            closed: closed.map(|place| files.as_inside(&place.to_string_lossy()).into()),
            environment,
            files,
            fallback: Settings::default(),
        }
    }
}

/// Whether this user is kept out of a file or a directory.
fn is_closed(path: &Path) -> bool {
    let denied = |error: std::io::Error| error.kind() == ErrorKind::PermissionDenied;
    match std::fs::metadata(path) {
        Ok(it) if it.is_dir() => std::fs::read_dir(path).is_err_and(denied),
        Ok(_) => std::fs::File::open(path).is_err_and(denied),
        Err(error) => denied(error),
    }
}

/// A bot whose settings have not been read yet.
struct Seen {
    starter: Starter,
    runs: bool,
    pid: Option<i32>,
    sources: Sources,
    files: Files,
    closed: Option<PathBuf>,
}

impl Seen {
    /// One that nobody has started, with files of this host.
    fn of(sources: Sources) -> Self {
        let (starter, files) = (Starter::Hand, Files::Here);
        Self { starter, runs: false, pid: None, sources, files, closed: None }
    }
}

/// The bot that runs with the file that `--config` names, or would be started with it; else the one that is most likely meant: the unit's, a container's,
/// one that runs by hand, one that would be started by hand.
pub(super) async fn find(facts: &Facts) -> Examined {
    let (docker, unit, sockets) = tokio::join!(facts.docker(), facts.unit(), facts.sockets());
    let sources = facts.sources().clone();
    let bots: Vec<i32> = sockets.bots.iter().map(|bot| bot.pid).collect();
    let unit = unit.cloned();
    let runs = |container: &&Container| container.state == State::Running;
    let containers = docker.containers();
    let container = containers.iter().find(runs).or(containers.first()).cloned();
    let is_root = facts.is_root();
    let read = move || Examined::read(choose(sources, unit, container, &bots), is_root);
    match tokio::task::spawn_blocking(read).await {
        Ok(examined) => examined,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn choose(
    sources: Sources,
    unit: Option<Unit>,
    container: Option<Container>,
    bots: &[i32],
) -> Seen {
    let by_hand = bots.first().copied();
    if let Some(file) = &sources.file {
        if let Some(seen) = with_file(file, bots) {
            let is_unit = seen.pid == unit.and_then(|unit| unit.pid);
            return Seen { starter: if is_unit { Starter::Unit } else { Starter::Hand }, ..seen };
        }
        return Seen { runs: by_hand.is_some(), pid: by_hand, ..Seen::of(sources) };
    }
    let is_used = |unit: &Unit| unit.active != "inactive";
    match (unit, container, by_hand) {
        (Some(unit), _, _) if is_used(&unit) => of_unit(&unit),
        (_, Some(container), _) => of_container(container),
        (_, None, Some(pid)) => of_process(pid).unwrap_or_else(|| {
            // Another user's, with settings of its own.
            let closed = Some(PathBuf::from(format!("/proc/{pid}/environ")));
            Seen { runs: true, pid: Some(pid), closed, ..Seen::of(sources) }
        }),
        (Some(unit), None, None) => of_unit(&unit),
        (None, None, None) => Seen::of(sources),
    }
}

/// The bot that runs with this very file: what else it was started with, such as its environment,
/// tells where its store is.
fn with_file(file: &Path, bots: &[i32]) -> Option<Seen> {
    let named = std::fs::metadata(file).ok()?;
    let is_named = |it: &Path| {
        std::fs::metadata(it).is_ok_and(|it| (it.dev(), it.ino()) == (named.dev(), named.ino()))
    };
    let mut running = bots.iter().filter_map(|pid| of_process(*pid));
    running.find(|seen| seen.sources.file.as_deref().is_some_and(is_named))
}

fn of_unit(unit: &Unit) -> Seen {
    if let Some(seen) = unit.pid.and_then(of_process) {
        return Seen { starter: Starter::Unit, ..seen };
    }
    let mut sources = Sources { environment: unit.environment.clone(), ..Sources::default() };
    sources.environment.push(("STATE_DIRECTORY".into(), STATE.into()));
    sources.credentials = Some(CREDENTIALS.into()).filter(|it: &PathBuf| it.exists());
    places(&mut sources, &unit.command, &Files::Here, Path::new("/"));
    Seen { starter: Starter::Unit, runs: unit.pid.is_some(), pid: unit.pid, ..Seen::of(sources) }
}

fn of_container(container: Container) -> Seen {
    let starter = Starter::Container(container.name);
    let process = container.pid.filter(|pid| is_in(*pid, &container.id));
    if let Some(seen) = process.and_then(of_process) {
        return Seen { starter, ..seen };
    }
    let mut sources = Sources { environment: container.environment, ..Sources::default() };
    let files = Files::Mounted(container.mounts);
    places(&mut sources, &[], &files, Path::new("/"));
    let runs = container.state == State::Running;
    Seen { starter, runs, files, ..Seen::of(sources) }
}

/// Whether a process is in a container: the engine may count processes otherwise than we do.
fn is_in(pid: i32, container: &str) -> bool {
    let groups = Process::new(pid).and_then(|process| process.cgroups());
    groups.is_ok_and(|groups| groups.0.iter().any(|group| group.pathname.contains(container)))
}

/// A bot that runs; nothing, when this user may not look into it.
fn of_process(pid: i32) -> Option<Seen> {
    let process = Process::new(pid).ok()?;
    let environment = process.environ().ok()?.into_iter();
    let environment = environment
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let root = PathBuf::from(format!("/proc/{pid}/root"));
    std::fs::read_dir(&root).ok()?;
    let files = Files::Below(root);
    let mut sources = Sources { environment, ..Sources::default() };
    let folder = process.cwd().ok()?;
    places(&mut sources, &process.cmdline().ok()?, &files, &folder);
    Some(Seen { runs: true, pid: Some(pid), files, ..Seen::of(sources) })
}

/// Where the settings of a bot with this command line are, as seen from here.
fn places(sources: &mut Sources, command: &[String], files: &Files, folder: &Path) {
    let usual = Sources::from_process(None);
    // What is not mounted into a container is as the image has it: without a setting.
    let place = |path: PathBuf| files.place(&path).unwrap_or_default();
    sources.default_file = place(usual.default_file);
    sources.conf_dir = place(usual.conf_dir);
    let variable = sources.environment.iter().find(|(name, _)| name == "CREDENTIALS_DIRECTORY");
    if let Some((_, directory)) = variable {
        sources.credentials = files.place(Path::new(directory));
    }
    sources.file = option(command, "--config").next().map(|file| place(folder.join(file)));
    let listen: Vec<String> = option(command, "--listen").collect();
    if !listen.is_empty() {
        let listen = ("server.listen".to_owned(), listen.join(","), "--listen".to_owned());
        sources.overrides.push(listen);
    }
}

/// The values of an option on a command line.
fn option<'a>(command: &'a [String], name: &'a str) -> impl Iterator<Item = String> + 'a {
    command.iter().enumerate().filter_map(move |(at, word)| match word.strip_prefix(name)? {
        "" => command.get(at + 1).cloned(),
        rest => rest.strip_prefix('=').map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn options_are_found_in_both_forms() {
        let command = words("dingbot serve --listen 127.0.0.1:1 --config=/a.toml --listen=[::]:2");
        let of = |name: &'static str| option(&command, name).collect::<Vec<_>>();
        assert_eq!(of("--config"), ["/a.toml"]);
        assert_eq!(of("--listen"), ["127.0.0.1:1", "[::]:2"]);
        assert_eq!(of("--lis"), Vec::<String>::new());
    }

    #[test]
    fn a_container_that_does_not_run_has_what_is_mounted() {
        let pair = |here: &str, inside: &str| (here.to_owned(), inside.to_owned());
        let files = Files::Mounted(vec![
            pair("/srv/data", "/data"),
            pair("/srv/bot.toml", "/etc/dingbot/dingbot.toml"),
        ]);
        let place = |path: &str| files.place(Path::new(path));
        assert_eq!(place("/data/dingbot.db").unwrap(), Path::new("/srv/data/dingbot.db"));
        assert_eq!(place("/etc/dingbot/dingbot.toml").unwrap(), Path::new("/srv/bot.toml"));
        assert_eq!(place("/database"), None);
        assert_eq!(files.as_inside("/srv/bot.toml:3: x"), "/etc/dingbot/dingbot.toml:3: x");
    }

    #[test]
    fn a_unit_that_does_not_run_has_what_it_will_be_given() {
        let unit = Unit {
            active: "failed".into(),
            environment: vec![("PORT".into(), "9090".into())],
            command: words("/usr/bin/dingbot serve --listen 127.0.0.1:7"),
            ..Unit::default()
        };
        let examined = Examined::read(of_unit(&unit), true);
        assert_eq!((examined.starter.clone(), examined.runs), (Starter::Unit, false));
        assert_eq!(examined.store(), Path::new("/var/lib/dingbot/dingbot.db"));
        assert_eq!(examined.settings().server.listen, ["127.0.0.1:7".parse().unwrap()]);
    }

    #[test]
    fn a_process_is_seen_with_its_own_eyes() {
        let seen = of_process(std::process::id().cast_signed()).unwrap();
        let home = std::env::var("PATH").unwrap();
        assert!(seen.sources.environment.contains(&("PATH".into(), home)));
        let examined = Examined::read(seen, true);
        assert!(examined.runs);
        assert!(examined.place(Path::new("/etc/hostname")).unwrap().starts_with("/proc"));
    }

    #[test]
    fn what_is_named_wins() {
        let named = Sources { file: Some("/x.toml".into()), ..Sources::default() };
        let unit = Unit { active: "active".into(), ..Unit::default() };
        let seen = choose(named, Some(unit), None, &[]);
        assert_eq!(seen.starter, Starter::Hand);
        assert_eq!(seen.sources.file.as_deref(), Some(Path::new("/x.toml")));
    }
}
