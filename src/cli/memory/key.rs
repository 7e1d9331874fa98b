//! `dingbot memory key`: the keys of the memory API.

use std::io::Write;
use std::process::ExitCode;

use clap::{Subcommand, ValueEnum};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::cli::workplace::Workplace;
use crate::config::Sources;
use crate::store::{ApiKey, KeyStore};

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Make a key, and print it this once
    Add {
        /// What the key is for, such as the program that will send it
        #[arg(value_parser = name)]
        name: String,
        /// What it opens
        #[arg(long, value_enum, default_value_t = Opens::User)]
        scope: Opens,
        /// Most requests a second
        #[arg(long, default_value_t = 100, value_name = "N",
              value_parser = clap::value_parser!(u32).range(1..=100_000))]
        rate: u32,
    },
    /// The keys there are, and when each was last used
    List,
    /// Take a key back
    Remove {
        /// Its name
        name: String,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Opens {
    /// The memories of whom a request names
    User,
    /// Everybody's at once, too: `*`, lists of entities and events, reset
    Admin,
}

/// A name that stays on its line.
fn name(name: &str) -> Result<String, String> {
    let fits = !name.is_empty()
        && name.len() <= 64
        && name.chars().all(|c| c.is_alphanumeric() || "-_.@".contains(c));
    if fits { Ok(name.to_owned()) } else { Err("take 1 to 64 letters, digits and -_.@".into()) }
}

pub(super) fn run(
    action: Action,
    sources: &Sources,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    let create = matches!(action, Action::Add { .. });
    let place = match Workplace::open(sources, create)? {
        Ok(place) => place,
        Err(code) => return Ok(code),
    };
    let store = &place.store;
    place.runtime.block_on(async {
        match action {
            Action::Add { name, scope, rate } => {
                // 244 random bits.
                let key = format!("dbk_{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple());
                let made = ApiKey {
                    name: name.clone(),
                    hash: Sha256::digest(key.as_bytes()).into(),
                    admin: scope == Opens::Admin,
                    rate,
                    created_at: Timestamp::now().as_millisecond(),
                    last_used_at: None,
                };
                anyhow::ensure!(
                    store.add_key(made).await?,
                    "there is a key called {name}: take another name, or remove that one with \
                     `dingbot memory key remove {name}`"
                );
                writeln!(out, "{key}")?;
                eprintln!(
                    "只显示这一次，请收好；几秒后生效。此后本机不带密钥的调用只能读写写明是谁的记忆。\n\
                     Shown this once; it opens in a few seconds. From then on callers on this host \
                     that send no key reach only memories whose owner they name."
                );
            }
            Action::List => {
                for key in store.keys().await? {
                    let scope = if key.admin { "admin" } else { "user" };
                    let used = key.last_used_at.map_or("never".into(), time);
                    writeln!(
                        out,
                        "{}\t{scope}\t{}/s\tmade {}\tused {used}",
                        key.name,
                        key.rate,
                        time(key.created_at)
                    )?;
                }
            }
            Action::Remove { name } => {
                anyhow::ensure!(
                    store.remove_key(&name).await?,
                    "there is no key called {name}; see `dingbot memory key list`"
                );
                writeln!(out, "{name}: 几秒后失效 / it opens nothing in a few seconds")?;
            }
        }
        Ok(ExitCode::SUCCESS)
    })
}

fn time(millis: i64) -> String {
    let at = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
    at.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string()
}
