//! The normalization of `SentencePiece`: Unicode's NFKC with its own changes, as the model carries it.
//!
//! A map from byte strings to byte strings: a double-array trie of 32-bit units, then the
//! replacements, each ended by a zero. Source of the layout: darts-clone, `DoubleArrayUnit`, and
//! `SentencePiece`, `Normalizer::DecodePrecompiledCharsMap`.

/// What `SentencePiece` writes for a blank.
pub(super) const BLANK: char = '\u{2581}';

/// The map.
#[derive(Debug)]
pub(super) struct Charsmap {
    units: Vec<u32>,
    replacements: Vec<u8>,
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & 0x200) >> 6)) as usize
}

impl Charsmap {
    pub(super) fn new(bytes: &[u8]) -> Result<Self, String> {
        let cut = || "its charsmap is cut off".to_owned();
        let (size, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let (trie, replacements) =
            rest.split_at_checked(u32::from_le_bytes(*size) as usize).ok_or_else(cut)?;
        let unit = |bytes: &[u8]| u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        let units = trie.chunks_exact(4).map(unit).collect();
        Ok(Self { units, replacements: replacements.to_vec() })
    }

    /// The longest key that `text` begins with: its length, and what stands for it.
    fn longest(&self, text: &[u8]) -> Option<(usize, &[u8])> {
        let mut at = offset(*self.units.first()?);
        let mut best = None;
        for (index, byte) in text.iter().enumerate() {
            at ^= usize::from(*byte);
            let Some(unit) = self.units.get(at).copied() else { break };
            if unit & 0x8000_00ff != u32::from(*byte) {
                break;
            }
            at ^= offset(unit);
            // The key may end here.
            if unit & 0x100 != 0 {
                let value = self.units.get(at).copied().unwrap_or_default() & 0x7fff_ffff;
                best = Some((index + 1, value as usize));
            }
        }
        let (length, value) = best?;
        let replacement = self.replacements.get(value..)?;
        let end = replacement.iter().position(|byte| *byte == 0)?;
        Some((length, &replacement[..end]))
    }

    /// A text as the vocabulary has it: normalized, blanks made visible, one before it, none doubled
    /// and none behind it. Nothing, of nothing but blanks.
    pub(super) fn normalize(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len() + 8);
        let mut rest = text;
        // What is before the text counts as a blank: those that it begins with are left out.
        let mut after_blank = true;
        while let Some(first) = rest.chars().next() {
            let (length, replacement) = match self.longest(rest.as_bytes()) {
                // A key that ended within a character would be none of this map's.
                Some((length, bytes)) if rest.is_char_boundary(length) => {
                    (length, std::str::from_utf8(bytes).unwrap_or_default())
                }
                _ => (first.len_utf8(), &rest[..first.len_utf8()]),
            };
            let piece = if after_blank { replacement.trim_start_matches(' ') } else { replacement };
            if !piece.is_empty() {
                if out.is_empty() {
                    out.push(BLANK);
                }
                out.extend(piece.chars().map(|c| if c == ' ' { BLANK } else { c }));
                after_blank = piece.ends_with(' ');
            }
            rest = &rest[length..];
        }
        let kept = out.trim_end_matches(BLANK).len();
        out.truncate(kept);
        out
    }
}
