//! The model file: a line of JSON that says where what is, then the sections.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

use super::DIMENSIONS;

/// What the line begins with.
const FORMAT: &str = "dingbot-model-1";
/// Longest header, in bytes.
const MAX_HEADER: u64 = 64 * 1024;
/// Sections begin at multiples of this, the size of a page.
const ALIGNMENT: u64 = 4_096;

/// The section of the table of pieces.
const TABLE: &str = "table";

/// A section of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Section {
    /// Behind the header's page, in bytes.
    at: u64,
    length: u64,
}

/// Where what is.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Header {
    format: String,
    model: String,
    /// The SHA-256 of what it was made from.
    pub(super) origin: String,
    sections: BTreeMap<String, Section>,
    /// Where the sections begin.
    #[serde(skip)]
    begin: u64,
}

impl Header {
    pub(super) fn read(file: &File) -> Result<Self, String> {
        let mut line = String::new();
        let mut start = BufReader::new(io::Read::take(file, MAX_HEADER));
        start.read_line(&mut line).map_err(|_| "it has no header".to_owned())?;
        let mut header: Self =
            serde_json::from_str(&line).map_err(|_| "it has no header".to_owned())?;
        if header.format != FORMAT || header.model != super::NAME {
            return Err(format!("it is {} {}", header.format, header.model));
        }
        header.begin = (line.len() as u64).next_multiple_of(ALIGNMENT);
        let end = header.sections.values().map(|it| it.at + it.length).max().unwrap_or(0);
        let length = file.metadata().map_err(|error| error.to_string())?.len();
        if length < header.begin + end {
            return Err(format!("it has {length} bytes, not {}", header.begin + end));
        }
        Ok(header)
    }

    /// Writes a file of these sections.
    pub(super) fn write(
        out: &mut impl Write,
        origin: &str,
        sections: &[(&str, Vec<u8>)],
    ) -> io::Result<()> {
        let mut at = 0;
        let mut places = BTreeMap::new();
        for (name, bytes) in sections {
            let length = bytes.len() as u64;
            places.insert((*name).to_owned(), Section { at, length });
            at = (at + length).next_multiple_of(ALIGNMENT);
        }
        let header = Self {
            format: FORMAT.into(),
            model: super::NAME.into(),
            origin: origin.into(),
            sections: places,
            begin: 0,
        };
        let mut line = serde_json::to_string(&header)?;
        line.push('\n');
        out.write_all(line.as_bytes())?;
        pad(out, line.len())?;
        for (_, bytes) in sections {
            out.write_all(bytes)?;
            pad(out, bytes.len())?;
        }
        Ok(())
    }

    fn section(&self, name: &str) -> Result<Section, String> {
        self.sections.get(name).copied().ok_or_else(|| format!("it has no {name}"))
    }

    /// The bytes of a section.
    pub(super) fn bytes(&self, file: &File, name: &str) -> Result<Vec<u8>, String> {
        let section = self.section(name)?;
        let mut bytes = vec![0; usize::try_from(section.length).map_err(|_| "it is too long")?];
        file.read_exact_at(&mut bytes, self.begin + section.at)
            .map_err(|error| format!("{name}: {error}"))?;
        Ok(bytes)
    }

    /// The numbers of a section, of which there must be so many.
    pub(super) fn numbers(
        &self,
        file: &File,
        name: &str,
        count: usize,
    ) -> Result<Vec<f32>, String> {
        let bytes = self.bytes(file, name)?;
        if bytes.len() != 4 * count {
            return Err(format!("{name} has {} bytes, not {}", bytes.len(), 4 * count));
        }
        let number = |bytes: &[u8]| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        Ok(bytes.chunks_exact(4).map(number).collect())
    }

    /// Reads the row of a piece from the table.
    pub(super) fn row(&self, file: &File, id: u32, row: &mut [u8]) -> io::Result<()> {
        let table = self.section(TABLE).map_err(io::Error::other)?;
        let at = u64::from(id) * DIMENSIONS as u64;
        if at + DIMENSIONS as u64 > table.length {
            return Err(io::Error::other(format!("there is no piece {id}")));
        }
        file.read_exact_at(row, self.begin + table.at + at)
    }
}

fn pad(out: &mut impl Write, length: usize) -> io::Result<()> {
    let length = length as u64;
    let missing = length.next_multiple_of(ALIGNMENT) - length;
    out.write_all(&vec![0; missing as usize])
}
