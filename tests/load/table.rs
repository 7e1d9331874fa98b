//! The table of results.

use std::fmt::Write as _;

/// What a figure has to be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// Nothing is demanded of it.
    None,
    /// The figure itself, at most.
    AtMost(f64),
    /// The figure itself, at least.
    AtLeast(f64),
    /// dingbot's figure divided by the peer's, at least.
    RatioAtLeast(f64),
}

/// One figure of dingbot, beside the peer's.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) measurement: String,
    pub(crate) unit: &'static str,
    pub(crate) dingbot: f64,
    /// Whose figure it is compared with, and that figure.
    pub(crate) peer: Option<(String, f64)>,
    pub(crate) target: Target,
}

/// Every figure, and what has to be known to read them.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    notes: Vec<String>,
}

impl Table {
    pub(crate) fn add(&mut self, row: Row) {
        eprintln!("  {}: {} {}", row.measurement, short(row.dingbot), row.unit);
        self.rows.push(row);
    }

    /// A sentence below the table.
    pub(crate) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Prints Markdown to standard output.
    pub(crate) fn print(&self) {
        let heads = ["measurement", "dingbot", "peer", "ratio", "target", ""];
        let mut lines = vec![heads.map(str::to_owned)];
        lines.extend(self.rows.iter().map(Row::cells));
        let width = |column: usize| lines.iter().map(|l| l[column].chars().count()).max();
        let widths: Vec<usize> = (0..heads.len()).map(|c| width(c).unwrap_or(0)).collect();
        let mut text = String::new();
        for (number, line) in lines.iter().enumerate() {
            for (cell, width) in line.iter().zip(&widths) {
                write!(text, "| {cell:<width$} ").unwrap();
            }
            text.push_str("|\n");
            if number == 0 {
                widths.iter().for_each(|width| write!(text, "|{}", "-".repeat(width + 2)).unwrap());
                text.push_str("|\n");
            }
        }
        self.notes.iter().for_each(|note| write!(text, "\n- {note}").unwrap());
        println!("\n{text}\n");
    }
}

impl Row {
    fn cells(&self) -> [String; 6] {
        let ratio = self.peer.as_ref().map(|(_, peer)| self.dingbot / peer);
        let (target, met) = match self.target {
            Target::None => (String::new(), None),
            Target::AtMost(most) => {
                (format!("≤ {} {}", short(most), self.unit), Some(self.dingbot <= most))
            }
            Target::AtLeast(least) => {
                (format!("≥ {} {}", short(least), self.unit), Some(self.dingbot >= least))
            }
            Target::RatioAtLeast(least) => {
                (format!("ratio ≥ {least}"), ratio.map(|ratio| ratio >= least))
            }
        };
        [
            self.measurement.clone(),
            format!("{} {}", short(self.dingbot), self.unit),
            self.peer.as_ref().map_or(String::new(), |(name, figure)| {
                format!("{name}: {} {}", short(*figure), self.unit)
            }),
            ratio.map_or(String::new(), |ratio| format!("{ratio:.2}")),
            target,
            met.map_or("", |met| if met { "ok" } else { "short" }).to_owned(),
        ]
    }
}

/// Three digits, which is more than a shared machine can promise.
fn short(figure: f64) -> String {
    match figure.abs() {
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        _ => format!("{figure:.2}"),
    }
}
