//! `dingbot generate`: manual page and completions, from the command line's own definition.

use std::io::Write;
use std::process::ExitCode;

use clap::{Args, CommandFactory, Subcommand};
use clap_complete::Shell;

use super::Cli;

#[derive(Debug, Args)]
pub(super) struct Generate {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The manual page dingbot(8), in roff
    Man,
    /// Completions for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        shell: Shell,
    },
}

impl Generate {
    pub(super) fn run(self, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let command = Cli::command();
        // Written at once: half a page in a closed pipe helps nobody.
        let mut text = Vec::new();
        match self.what {
            What::Man => man(command, &mut text)?,
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
fn man(command: clap::Command, out: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = command.disable_help_flag(false);
    command.build();
    let page = clap_mangen::Man::new(command.clone()).section("8");
    page.render_title(out)?;
    page.render_name_section(out)?;
    page.render_synopsis_section(out)?;
    page.render_description_section(out)?;
    page.render_options_section(out)?;
    writeln!(out, ".SH COMMANDS")?;
    for subcommand in command.get_subcommands() {
        for (name, command) in leaves("dingbot", subcommand) {
            let command = command.clone().name(name.clone());
            writeln!(out, ".SS {name}")?;
            let page = clap_mangen::Man::new(command.clone());
            page.render_synopsis_section(out)?;
            page.render_description_section(out)?;
            if command.get_arguments().next().is_some() {
                page.render_options_section(out)?;
            }
        }
    }
    Ok(())
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
        let page = generated(What::Man);
        assert!(page.starts_with(".ie \\n(.g") || page.contains(".TH dingbot 8"), "{page}");
        for name in ["dingbot serve", "dingbot memory search", "dingbot outbox retry"] {
            assert!(page.contains(&format!(".SS {name}")), "{name}");
        }
    }

    #[test]
    fn completions_know_the_commands() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = generated(What::Completions { shell });
            assert!(script.contains("outbox") && script.contains("generate"), "{shell}");
        }
    }
}
