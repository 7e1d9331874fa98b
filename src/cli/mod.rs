//! The command line: one file a command, and the exit codes.
//!
//! | code | means |
//! |---|---|
//! | 0 | done |
//! | 1 | it failed; standard error says why (of `doctor`: something fails) |
//! | 2 | `doctor`: nothing fails, and there are warnings |
//! | 64 | the command line makes no sense (`EX_USAGE`) |
//! | 78 | the configuration is not valid (`EX_CONFIG`) |

mod chat;
mod check;
mod complaints;
mod config;
mod doctor;
mod generate;
mod health;
mod memory;
mod outbox;
mod reload;
mod serve;
mod workplace;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};

use crate::config::Sources;

/// `EX_USAGE` of sysexits(3).
const USAGE: u8 = 64;

/// DingTalk bot daemon: answers through an OpenAI-compatible model and remembers what each person
/// told it.
///
/// 钉钉机器人守护进程：通过 OpenAI 兼容的模型回答问题，并记住每个人说过的话。
#[derive(Debug, Parser)]
#[command(name = "dingbot", version = version(), disable_help_subcommand = true)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct Cli {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Command,
}

/// Options of every command.
#[derive(Debug, Args)]
struct Global {
    /// Configuration file [default: /etc/dingbot/dingbot.toml, if there is one]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the daemon (运行服务)
    Serve(serve::Serve),
    /// Check the configuration and print every problem (检查配置)
    Check,
    /// Print the settings in force, each with its origin (显示生效的配置)
    Config,
    /// Have the running daemon read its configuration again (重新加载配置)
    Reload,
    /// Talk with the bot on the terminal (在终端里对话)
    Chat(chat::Chat),
    /// Ask the local daemon whether it is healthy (检查本机服务是否健康)
    Health(health::Health),
    /// Find out why the bot cannot be reached or cannot answer (诊断为何访问不到)
    Doctor(doctor::Doctor),
    /// List, search, add or delete memories (管理记忆)
    Memory(memory::Memory),
    /// Handle answers and pushes that could not be delivered (处理未送达的消息)
    Outbox(outbox::Outbox),
    /// Print the manual page or shell completions (生成手册和补全)
    Generate(generate::Generate),
}

/// Reads the command line of this process and does what it says.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // To standard output for --help and --version, else to standard error.
            let _ = error.print();
            return if error.use_stderr() { ExitCode::from(USAGE) } else { ExitCode::SUCCESS };
        }
    };
    let mut sources = Sources::from_process(cli.global.config);
    let mut out = io::stdout().lock();
    let done = match cli.command {
        Command::Serve(serve) => {
            drop(out);
            serve.run(&mut sources)
        }
        Command::Check => check::run(&sources, &mut out).map_err(Into::into),
        Command::Config => config::run(&sources, &mut out).map_err(Into::into),
        Command::Reload => reload::run(&sources, &mut out),
        Command::Chat(chat) => chat.run(&sources, &mut out),
        Command::Health(health) => health.run(&sources, &mut out),
        Command::Doctor(doctor) => doctor.run(&sources, &mut out),
        Command::Memory(memory) => memory.run(&sources, &mut out),
        Command::Outbox(outbox) => outbox.run(&sources, &mut out),
        Command::Generate(generate) => generate.run(&mut out),
    };
    done.unwrap_or_else(|error| {
        // `dingbot memory list | head` is no failure worth a word.
        if is_broken_pipe(&error) {
            return ExitCode::SUCCESS;
        }
        let _ = writeln!(complaints::errors(), "dingbot: {error:#}");
        ExitCode::FAILURE
    })
}

fn version() -> &'static str {
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("DINGBOT_REVISION"), ")")
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|e| e.kind() == io::ErrorKind::BrokenPipe)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_configuration_file_may_be_named_after_the_command() {
        let cli = Cli::try_parse_from(["dingbot", "check", "--config", "x.toml"]).unwrap();
        assert_eq!(cli.global.config, Some("x.toml".into()));
    }
}
