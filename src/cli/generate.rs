//! `dingbot generate`: manual pages and completions, from the definitions of the command line and
//! of the settings.

mod settings_page;

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Subcommand, ValueEnum};
use clap_complete::Shell;
use clap_mangen::roff::{Roff, bold, roman};

use super::Cli;

const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "Done; for the daemon: stopped cleanly."),
    ("1", "It failed; standard error says why. Of doctor: something fails."),
    ("2", "Of doctor: nothing fails, and there are warnings."),
    ("64", "The command line makes no sense."),
    ("78", "The configuration is not valid."),
];
const FILES: &[(&str, &str)] = &[
    ("/etc/dingbot/dingbot.toml", "The configuration, unless --config names another."),
    ("/etc/dingbot/conf.d/*.toml", "More of it, in the order of the names; later wins."),
    ("/etc/dingbot/credentials/", "Secrets for the systemd service, a file each."),
    (
        "dingbot.db",
        "The store, in $STATE_DIRECTORY, else in $XDG_STATE_HOME/dingbot, else in \
         ~/.local/state/dingbot, unless store.url names another file.",
    ),
    (
        "control.sock",
        "Where `dingbot reload` reaches the daemon, in $RUNTIME_DIRECTORY; else dingbot.db.sock \
         beside the store.",
    ),
];
const SIGNALS: &[(&str, &str)] = &[
    ("SIGTERM, SIGINT", "Finish what was accepted, then stop; the second one stops at once."),
    ("SIGHUP", "Read the configuration again, as `dingbot reload` does."),
];
const ENVIRONMENT: &[(&str, &str)] = &[
    ("DINGBOT_SECTION__KEY", "Any setting, such as DINGBOT_LLM__API_KEY."),
    ("PORT", "The port of server.listen."),
    (
        "OPENAI_API_KEY, OPENAI_API_BASE (or OPENAI_BASE_URL), OPENAI_MODEL, OPENAI_REQUEST_TIMEOUT",
        "llm.api_key, llm.base_url, llm.model, and llm.timeout in seconds.",
    ),
    ("FORCE_MOCK_OPENAI", "1: answer offline."),
    ("ACCESS_TOKEN, SECRET", "The group robot named default."),
    ("DATABASE_PATH", "The file of the store."),
    ("STATE_DIRECTORY, RUNTIME_DIRECTORY, CREDENTIALS_DIRECTORY", "Set by systemd."),
    (
        "NOTIFY_SOCKET, WATCHDOG_USEC, LISTEN_FDS, JOURNAL_STREAM",
        "Set by systemd: whom to tell, how often, sockets to listen on, where the log goes.",
    ),
];

#[derive(Debug, Args)]
pub(super) struct Generate {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// A manual page, in roff: dingbot(8), or dingbot.toml(5)
    Man {
        /// dingbot or dingbot.toml
        #[arg(value_enum, default_value_t = Page::Program)]
        page: Page,
    },
    /// Completions for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: Shell,
    },
}

/// A manual page, by its name.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Page {
    /// The program: dingbot(8)
    #[value(name = "dingbot")]
    Program,
    /// The configuration: dingbot.toml(5)
    #[value(name = "dingbot.toml")]
    Settings,
}

impl Generate {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let command = Cli::command();
        // Written at once: half a page in a closed pipe helps nobody.
        let mut text = Vec::new();
        match self.what {
            What::Man { page: Page::Program } => man(command, &mut text)?,
            What::Man { page: Page::Settings } => settings_page::write(&mut text)?,
            What::Completions { shell } => {
                let mut command = command;
                clap_complete::generate(shell, &mut command, "dingbot", &mut text);
            }
        }
        out.write_all(&text)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// One page for the program and all its commands.
fn man(mut command: clap::Command, out: &mut Vec<u8>) -> std::io::Result<()> {
    command.build();
    let page = clap_mangen::Man::new(command.clone()).section("8");
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    let mut commands = Roff::new();
    commands.control("SH", ["COMMANDS"]);
    for subcommand in command.get_subcommands() {
        for (name, command) in leaves("dingbot", subcommand) {
            describe(&name, command, &mut commands);
        }
    }
    section(&mut commands, "EXIT STATUS", EXIT_STATUS);
    section(&mut commands, "FILES", FILES);
    section(&mut commands, "SIGNALS", SIGNALS);
    section(&mut commands, "ENVIRONMENT", ENVIRONMENT);
    commands.control("SH", ["SEE ALSO"]);
    commands.text([bold("dingbot.toml"), roman("(5), "), bold("journalctl"), roman("(1)")]);
    commands.to_writer(out)
}

/// A command's heading, what it does, and its own arguments.
fn describe(name: &str, command: &clap::Command, page: &mut Roff) {
    let arguments =
        || command.get_arguments().filter(|a| !a.is_global_set() && a.get_id() != "help");
    let usage: Vec<String> = arguments().map(usage).collect();
    page.control("SS", [format!("{name} {}", usage.join(" ")).trim_end()]);
    page.text([roman(command.get_about().map(ToString::to_string).unwrap_or_default())]);
    for argument in arguments() {
        page.control("TP", []);
        page.text([bold(usage_of(argument))]);
        let help = argument.get_help().map(ToString::to_string).unwrap_or_default();
        let default = argument.get_default_values().first().map(|v| v.to_string_lossy());
        let default = default.map(|v| format!(" [default: {v}]")).unwrap_or_default();
        page.text([roman(format!("{help}{default}"))]);
    }
}

/// An argument as a synopsis has it.
fn usage(argument: &clap::Arg) -> String {
    let plain = usage_of(argument);
    if argument.is_required_set() { plain } else { format!("[{plain}]") }
}

fn usage_of(argument: &clap::Arg) -> String {
    let value = argument
        .get_value_names()
        .filter(|_| argument.get_action().takes_values())
        .and_then(|names| names.first())
        .map(ToString::to_string);
    match (argument.get_long(), value) {
        (Some(long), Some(value)) => format!("--{long} {value}"),
        (Some(long), None) => format!("--{long}"),
        (None, Some(value)) => value,
        (None, None) => argument.get_id().to_string().to_uppercase(),
    }
}

fn section(page: &mut Roff, title: &str, entries: &[(&str, &str)]) {
    page.control("SH", [title]);
    for (term, text) in entries {
        page.control("TP", []);
        page.text([bold(*term)]);
        page.text([roman(*text)]);
    }
}

/// A command, or those below it, with their whole names.
fn leaves<'a>(above: &str, command: &'a clap::Command) -> Vec<(String, &'a clap::Command)> {
    let name = format!("{above} {}", command.get_name());
    let mut below = command.get_subcommands().peekable();
    if below.peek().is_none() {
        return vec![(name, command)];
    }
    below.flat_map(|subcommand| leaves(&name, subcommand)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generated(what: What) -> String {
        let mut out = Vec::new();
        Generate { what }.run(&mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_manual_names_every_command() {
        let page = generated(What::Man { page: Page::Program });
        assert!(page.contains(".TH dingbot 8"), "{page}");
        for name in ["dingbot serve [", "dingbot memory search ", "dingbot outbox retry "] {
            let name = name.replace('-', "\\-");
            assert!(page.contains(&format!(".SS \"{name}")), "{name}: {page}");
        }
        let sections = page.lines().filter(|line| line.starts_with(".SH")).count();
        assert_eq!(sections, 10, "{page}");
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = generated(What::Completions { shell });
            assert!(script.contains("outbox") && script.contains("generate"), "{shell}");
        }
    }
}
