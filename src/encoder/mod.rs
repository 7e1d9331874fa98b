//! The built-in sentence encoder: what a text means, as a vector, with no network.
//!
//! Google's Universal Sentence Encoder, multilingual, version 3 (Yang et al., 2019, ACL demos): a
//! vocabulary of 128,000 pieces, convolutions over n-grams of 2, 3 and 5 pieces, and a
//! feed-forward network; 512 numbers of unit length for Chinese, English and fourteen other
//! languages. Its weights are not part of the program: [`import`] takes them from the package that
//! carries them, and writes the one file that [`Encoder`] opens.
//!
//! Of that file the table of the pieces, five sixths of it, is read row by row as a text needs it:
//! the system's page cache holds it, not this process. The rest is loaded with the first text, and
//! given back by [`Encoder::release_if_idle`].
//!
//! Knows nothing of memories.

mod charsmap;
mod file;
mod import;
mod network;
mod pieces;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::file::Header;
pub use self::import::{ImportError, import};
use self::network::Network;
use self::pieces::Pieces;

/// The name of the model; vectors of another model do not compare with its own.
pub const NAME: &str = "use-m-v3";
/// Numbers in a vector.
pub const DIMENSIONS: usize = 512;
/// The name of the model's file.
pub const FILE: &str = "use-m-v3.dingbot-model";
/// The Debian package that has it.
pub const PACKAGE: &str = "dingbot-model-use-m-v3";
/// Pieces of a text that are read; what is behind them is left out. A statement has some 40, the
/// longest that memory keeps about 1,300.
pub const MAX_PIECES: usize = 1_536;

/// Why there is no vector.
#[derive(Debug, thiserror::Error)]
pub enum EncoderError {
    /// There is no such file, or it cannot be read.
    #[error("cannot read the model {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// It is no model, one of another version, or cut off.
    #[error(
        "{path} is no model of this program ({reason}): import it again with `dingbot memory model \
         import`"
    )]
    NotAModel {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// What is loaded with the first text.
#[derive(Debug)]
struct Loaded {
    pieces: Pieces,
    network: Network,
}

/// The encoder, on one model file.
#[derive(Debug)]
pub struct Encoder {
    path: PathBuf,
    file: File,
    header: Header,
    loaded: Mutex<Option<(Arc<Loaded>, Instant)>>,
}

impl Encoder {
    /// Opens a model file; reads no more of it than its header.
    pub fn open(path: &Path) -> Result<Self, EncoderError> {
        let unreadable = |source| EncoderError::Unreadable { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let header = Header::read(&file)
            .map_err(|reason| EncoderError::NotAModel { path: path.to_owned(), reason })?;
        Ok(Self { path: path.to_owned(), file, header, loaded: Mutex::new(None) })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads the whole file: is it as it was imported? Blocks for some tenths of a second.
    pub fn verify(&self) -> Result<(), EncoderError> {
        self.header
            .verify(&self.file)
            .map_err(|reason| EncoderError::NotAModel { path: self.path.clone(), reason })
    }

    /// The vector of a text. Blocks for some milliseconds; the first time, for what it takes to load
    /// the model.
    pub fn encode(&self, text: &str) -> Result<Vec<f32>, EncoderError> {
        let loaded = self.loaded()?;
        let mut ids = loaded.pieces.ids(text);
        ids.truncate(MAX_PIECES);
        let table = |id: u32, row: &mut [u8]| self.header.row(&self.file, id, row);
        loaded.network.forward(&ids, table).map_err(|source| self.unreadable(source))
    }

    /// The pieces of a text by their numbers in the vocabulary.
    pub fn pieces(&self, text: &str) -> Result<Vec<u32>, EncoderError> {
        Ok(self.loaded()?.pieces.ids(text))
    }

    fn unreadable(&self, source: std::io::Error) -> EncoderError {
        EncoderError::Unreadable { path: self.path.clone(), source }
    }

    fn loaded(&self) -> Result<Arc<Loaded>, EncoderError> {
        let mut place = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if let Some((loaded, used)) = place.as_mut() {
            *used = now;
            return Ok(Arc::clone(loaded));
        }
        let reason = |reason| EncoderError::NotAModel { path: self.path.clone(), reason };
        let pieces = Pieces::read(&self.file, &self.header).map_err(reason)?;
        let network = Network::read(&self.file, &self.header).map_err(reason)?;
        let loaded = Arc::new(Loaded { pieces, network });
        *place = Some((Arc::clone(&loaded), now));
        Ok(loaded)
    }

    /// Gives back what is loaded if no text came for `idle`; returns whether it did.
    pub fn release_if_idle(&self, idle: Duration) -> bool {
        let mut place = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let is_idle = place.as_ref().is_some_and(|(_, used)| used.elapsed() >= idle);
        if is_idle {
            *place = None;
        }
        is_idle
    }
}
