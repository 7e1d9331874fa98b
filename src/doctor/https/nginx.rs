//! The nginx of this host: its process, its configuration, and how it is told to read it anew.

use std::path::PathBuf;
use std::time::Duration;

use procfs::process::Process;
use tokio::time::timeout;

use super::configuration::Configuration;
use crate::doctor::command::{self, CommandError};
use crate::doctor::sockets;

/// The longest it may take to print its configuration.
const LIMIT: Duration = Duration::from_millis(1_500);
/// How it calls its first process.
const TITLE: &str = "nginx: master process ";
/// Where the distributions' packages put the program; others say its whole path.
const USUAL: [&str; 4] =
    ["/usr/sbin/nginx", "/usr/bin/nginx", "/usr/local/sbin/nginx", "/usr/local/bin/nginx"];

/// Parts of the names of its units, and of those of what was made of it.
const FORKS: [&str; 3] = ["nginx", "openresty", "tengine"];

/// There where systemd runs the host (`sd_booted(3)`).
const SYSTEMD: &str = "/run/systemd/system";

/// An nginx that runs here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Nginx {
    program: String,
    /// What names its files: `-c FILE`, `-p PREFIX`.
    options: Vec<String>,
    /// The unit that started it.
    unit: Option<String>,
    /// Whether it is root's. What another user's process names is not run.
    roots: bool,
}

/// Why its configuration is not known.
#[derive(Debug)]
pub(super) enum Unread {
    /// This user may not.
    Closed,
    /// Its program is not here: doctor is in a container, and nginx is not.
    Outside,
    /// nginx does not accept what is in its files now.
    Invalid(String),
    /// Something else.
    Failed(String),
}

/// The nginx that runs in this network.
pub(super) async fn find() -> Option<Nginx> {
    let look = || {
        let is = |name: &str, command: &[String]| {
            name == "nginx" && command.first().is_some_and(|it| it.starts_with(TITLE))
        };
        let master = sockets::running(is).into_iter().next()?;
        let command = master.cmdline().ok()?.join(" ");
        let roots = master.uid().is_ok_and(|uid| uid == 0);
        let nginx = Nginx::new(&command, master.exe().ok(), unit(&master));
        Some(Nginx { roots, ..nginx })
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

/// The systemd unit of a process, if it is one of nginx and not a session in which it was started.
fn unit(process: &Process) -> Option<String> {
    let groups = process.cgroups().ok()?;
    groups.0.iter().find_map(|group| unit_of(&group.pathname)).map(str::to_owned)
}

fn unit_of(group: &str) -> Option<&str> {
    let unit = group.rsplit('/').next()?.strip_suffix(".service")?;
    FORKS.iter().any(|name| unit.contains(name)).then_some(unit)
}

impl Nginx {
    /// The one that is installed and does not run.
    pub(super) fn installed() -> Self {
        let Self { program, options, unit, .. } = Self::new("nginx", None, None);
        Self { program, options, unit, roots: true }
    }

    /// The command that starts it.
    pub(super) fn start(&self) -> String {
        let by_manager = std::path::Path::new(SYSTEMD).exists();
        if by_manager { "sudo systemctl enable --now nginx".into() } else { self.command("") }
    }

    fn new(command: &str, program: Option<PathBuf>, unit: Option<String>) -> Self {
        let words: Vec<&str> = command.strip_prefix(TITLE).unwrap_or(command).split(' ').collect();
        let option = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            Some([name.to_owned(), (*words.get(at + 1)?).to_owned()])
        };
        let program = program.and_then(|it| it.to_str().map(str::to_owned));
        let program = match program {
            // One that was replaced by a newer version is still called by its name.
            Some(program) => program.trim_end_matches(" (deleted)").to_owned(),
            None => "nginx".to_owned(),
        };
        let program = if USUAL.contains(&program.as_str()) { "nginx".into() } else { program };
        let options = ["-p", "-c"].into_iter().filter_map(option).flatten().collect();
        Self { program, options, unit, roots: false }
    }

    /// Its configuration as it is on the disk now.
    pub(super) async fn configuration(&self) -> Result<Configuration, Unread> {
        if !rustix::process::geteuid().is_root() {
            return Err(Unread::Closed);
        }
        if !self.roots {
            return Err(Unread::Failed("it is another user's process".into()));
        }
        let mut arguments: Vec<&str> = self.options.iter().map(String::as_str).collect();
        arguments.extend(["-T", "-q"]);
        match timeout(LIMIT, command::output(&self.program, &arguments)).await {
            Ok(Ok(dump)) => Ok(Configuration::of_dump(&dump)),
            Ok(Err(CommandError::Failed(_, why))) if why.contains("[emerg]") => {
                Err(Unread::Invalid(why))
            }
            Ok(Err(CommandError::Missing(_))) => Err(Unread::Outside),
            Ok(Err(error)) => Err(Unread::Failed(error.to_string())),
            Err(_) => Err(Unread::Failed(format!("no answer within {LIMIT:?}"))),
        }
    }

    /// The command that reads the files anew, if they are right.
    pub(super) fn reload(&self) -> String {
        let reload = match &self.unit {
            Some(unit) => format!("sudo systemctl reload {unit}"),
            None => self.command("-s reload"),
        };
        format!("{} && {reload}", self.command("-t"))
    }

    /// The command that prints the configuration.
    pub(super) fn dump(&self) -> String {
        self.command("-T")
    }

    fn command(&self, what: &str) -> String {
        let words = std::iter::once(&self.program).chain(&self.options).map(String::as_str);
        let words = shlex::try_join(words).unwrap_or_else(|_| "nginx".into());
        format!("sudo {words} {what}").trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn its_unit_is_told_from_a_session_it_was_started_in() {
        assert_eq!(unit_of("/system.slice/nginx.service"), Some("nginx"));
        assert_eq!(unit_of("/system.slice/openresty.service"), Some("openresty"));
        assert_eq!(unit_of("/user.slice/user-0.slice/session-3.scope"), None);
        assert_eq!(unit_of("/system.slice/ssh.service"), None);
    }

    #[test]
    fn it_is_called_as_it_was_started() {
        let usual = Nginx::new(
            "nginx: master process /usr/sbin/nginx -g daemon on; master_process on;",
            Some("/usr/sbin/nginx".into()),
            Some("nginx".into()),
        );
        assert_eq!(usual.reload(), "sudo nginx -t && sudo systemctl reload nginx");
        let other = Nginx::new(
            "nginx: master process /www/server/nginx/sbin/nginx -c /www/my conf/nginx.conf",
            Some("/www/server/nginx/sbin/nginx (deleted)".into()),
            None,
        );
        // What a title does not tell apart is not told apart here either.
        assert_eq!(other.options, ["-c", "/www/my"]);
        assert_eq!(other.dump(), "sudo /www/server/nginx/sbin/nginx -c /www/my -T");
        let by_hand = Nginx::new("nginx: master process nginx -c /srv/$(id).conf", None, None);
        assert_eq!(
            by_hand.reload(),
            "sudo nginx -c '/srv/$(id).conf' -t && sudo nginx -c '/srv/$(id).conf' -s reload"
        );
    }
}
