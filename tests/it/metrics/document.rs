//! The tables of metrics in docs/monitoring.md: the closed set of series.

use std::collections::{BTreeMap, BTreeSet};

use crate::support::prometheus::project;

/// What the document says of a family.
#[derive(Debug)]
pub(super) struct Family {
    pub(super) name: String,
    pub(super) kind: String,
    /// The values of each label; none: any value.
    pub(super) labels: BTreeMap<String, BTreeSet<String>>,
}

impl Family {
    /// Whether a sample of this name is one of the family.
    pub(super) fn owns(&self, sample: &str) -> bool {
        let Some(rest) = sample.strip_prefix(&self.name) else { return false };
        match self.kind.as_str() {
            "histogram" => ["_bucket", "_sum", "_count"].contains(&rest),
            _ => rest.is_empty(),
        }
    }

    /// Whether a sample of the family may have this label with this value.
    pub(super) fn allows(&self, sample: &str, label: &str, value: &str) -> bool {
        // Bounds of buckets are constants of the program.
        if label == "le" && sample.ends_with("_bucket") {
            return true;
        }
        self.labels.get(label).is_some_and(|values| values.is_empty() || values.contains(value))
    }
}

/// Every family of the document, by its name.
pub(super) fn families() -> BTreeMap<String, Family> {
    let document = project("docs/monitoring.md");
    let (_, tables) = document.split_once("\n## 指标 · Metrics\n").expect("the section");
    let rows = tables.lines().filter_map(|line| line.strip_prefix("| `"));
    let families: BTreeMap<String, Family> = rows
        .map(|row| {
            let cells: Vec<&str> = row.split(" | ").collect();
            let [name, kind, labels, _] = cells[..] else { panic!("{row}") };
            let name = name.trim_end_matches('`').to_owned();
            let labels = labels.split("; ").filter(|label| !label.trim().is_empty()).map(read);
            (name.clone(), Family { name, kind: kind.to_owned(), labels: labels.collect() })
        })
        .collect();
    assert!(families.len() > 40, "{}", families.len());
    families
}

/// Reads `` `label`: `a`, `b` `` or `` `label`: any ``.
fn read(text: &str) -> (String, BTreeSet<String>) {
    let (label, values) = text.split_once(": ").unwrap_or_else(|| panic!("no label in {text:?}"));
    let quoted = |text: &str| text.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    let values: BTreeSet<String> = quoted(values);
    assert!(!values.is_empty() || text.ends_with(": any"), "{text:?}");
    (label.trim().trim_matches('`').to_owned(), values)
}
