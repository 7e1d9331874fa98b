//! `dingbot memory export` and `import`.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;

use crate::cli::workplace::Workplace;
use crate::config::Sources;
use crate::memory::transfer::{self, AT_A_TIME, Form};
use crate::memory::{Memory, Scope};
use crate::store::{Arrival, Kept, Selection};

/// Bad places of a file that are told one by one.
const TOLD: usize = 20;

#[derive(Debug, Args)]
pub(super) struct Export {
    /// Only this person's: DingTalk's staff id [default: everybody's]
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// The file; `-` is the standard output
    #[arg(default_value = "-")]
    file: PathBuf,
}

#[derive(Debug, Args)]
pub(super) struct Import {
    /// The file: an export of dingbot or of Mem0, or the memory or facts file of DingHook
    file: PathBuf,
    /// Whose the memories are that do not say so: DingTalk's staff id
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// Read the file and tell what it holds, and keep nothing
    #[arg(long)]
    dry_run: bool,
}

impl Export {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let scope = match &self.user {
            Some(user) => Scope::user(user).context("--user must not be empty")?,
            None => Scope::default(),
        };
        let place = match Workplace::open(sources, false)? {
            Ok(place) => place,
            Err(code) => return Ok(code),
        };
        let selection = Selection::of(&scope);
        if self.file.as_os_str() == "-" {
            place.runtime.block_on(export(&place.memory, &selection, out))?;
            return Ok(ExitCode::SUCCESS);
        }
        let file = &self.file;
        let failed = || format!("cannot write {}", file.display());
        // It appears whole or not at all, and for its owner alone.
        let folder = file.parent().filter(|it| !it.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        let temporary = tempfile::Builder::new()
            .prefix(".dingbot-export")
            .permissions(std::fs::Permissions::from_mode(0o600))
            .tempfile_in(folder)
            .with_context(failed)?;
        let mut writer = BufWriter::new(temporary);
        let count = place
            .runtime
            .block_on(export(&place.memory, &selection, &mut writer))
            .with_context(failed)?;
        let temporary =
            writer.into_inner().map_err(|error| error.into_error()).with_context(failed)?;
        temporary.as_file().sync_all().with_context(failed)?;
        temporary.persist(file).with_context(failed)?;
        writeln!(out, "{}: {count}", file.display())?;
        Ok(ExitCode::SUCCESS)
    }
}

async fn export(
    memory: &Memory,
    selection: &Selection,
    out: &mut dyn Write,
) -> anyhow::Result<usize> {
    writeln!(out, "{}", transfer::header())?;
    let (mut after, mut count) = (0, 0);
    loop {
        let part = memory.export(selection, after).await?;
        let Some((last, _)) = part.last() else { break };
        after = *last;
        for (_, kept) in &part {
            writeln!(out, "{}", transfer::line(kept)?)?;
            count += 1;
        }
    }
    out.flush()?;
    Ok(count)
}

/// What became of a file.
#[derive(Default)]
struct Tally {
    new: usize,
    known: usize,
    left_out: usize,
    bad: usize,
}

impl Tally {
    fn bad(&mut self, place: usize, reason: &str) {
        self.bad += 1;
        if self.bad <= TOLD {
            eprintln!("{place}: {reason}");
        } else if self.bad == TOLD + 1 {
            eprintln!("…");
        }
    }
}

impl Import {
    pub(super) fn run(self, sources: &Sources, out: &mut dyn Write) -> anyhow::Result<ExitCode> {
        let shown = self.file.display().to_string();
        let file = File::open(&self.file).with_context(|| format!("cannot read {shown}"))?;
        let now = Timestamp::now().as_millisecond();
        let entries = transfer::read(BufReader::new(file), self.user.as_deref(), now);
        let entries = entries.with_context(|| format!("cannot import {shown}"))?;
        let form = entries.form;
        let place = match Workplace::open(sources, !self.dry_run)? {
            Ok(place) => place,
            Err(code) => return Ok(code),
        };
        let mut tally = Tally::default();
        let mut waiting: Vec<(usize, Kept)> = Vec::new();
        let keep = |waiting: &mut Vec<(usize, Kept)>, tally: &mut Tally| -> anyhow::Result<()> {
            let (places, kept): (Vec<usize>, Vec<Kept>) =
                std::mem::take(waiting).into_iter().unzip();
            if self.dry_run {
                tally.new += kept.len();
                return Ok(());
            }
            let arrivals = place.runtime.block_on(place.memory.import(kept))?;
            for (place, arrival) in places.into_iter().zip(arrivals) {
                match arrival {
                    Arrival::New => tally.new += 1,
                    Arrival::Known => tally.known += 1,
                    Arrival::SomebodyElses => {
                        tally.bad(place, "its id is that of a memory of somebody else");
                    }
                }
            }
            Ok(())
        };
        for entry in entries {
            let (place, entry) = entry.with_context(|| format!("cannot read {shown}"))?;
            match entry {
                Ok(Some(kept)) => waiting.push((place, kept)),
                Ok(None) => tally.left_out += 1,
                Err(reason) => tally.bad(place, &reason),
            }
            if waiting.len() >= AT_A_TIME {
                keep(&mut waiting, &mut tally)?;
            }
        }
        keep(&mut waiting, &mut tally)?;
        told(out, &shown, form, &tally, self.dry_run)?;
        Ok(if tally.bad > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn told(
    out: &mut dyn Write,
    file: &str,
    form: Form,
    tally: &Tally,
    dry_run: bool,
) -> std::io::Result<()> {
    let Tally { new, known, left_out, bad } = tally;
    writeln!(out, "{file}: {form}")?;
    let (kept_zh, kept_en) =
        if dry_run { ("可导入", "to be imported") } else { ("已导入", "imported") };
    writeln!(out, "{kept_zh} {new} · {kept_en}")?;
    for (count, chinese, english) in [
        (known, "已存在", "here already"),
        (left_out, "不是陈述，略过", "state nothing, left out"),
        (bad, "读不出，略过（见上）", "could not be read, left out; see above"),
    ] {
        if *count > 0 {
            writeln!(out, "{chinese} {count} · {english}")?;
        }
    }
    Ok(())
}
