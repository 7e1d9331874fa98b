//! Reads the Prometheus text format 0.0.4, as far as the daemon's metrics use it.

use std::collections::BTreeMap;

/// The samples of one scrape.
#[derive(Debug, Clone, Default)]
pub struct Exposition {
    samples: Vec<Sample>,
}

#[derive(Debug, Clone)]
struct Sample {
    name: String,
    labels: BTreeMap<String, String>,
    value: f64,
}

impl Exposition {
    /// Reads `text`.
    ///
    /// # Panics
    /// When a line is neither a comment nor a sample: the daemon's text is then wrong.
    pub fn read(text: &str) -> Self {
        let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
        Self { samples: lines.map(Sample::read).collect() }
    }

    /// The sum of the samples called `name` that carry all of `labels`; 0 when there is none, as
    /// a labelled counter appears with its first increment.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.matching(name)
            .filter(|sample| {
                labels.iter().all(|(label, value)| {
                    sample.labels.get(*label).is_some_and(|found| found == value)
                })
            })
            .map(|sample| sample.value)
            .fold(0.0, |sum, value| sum + value)
    }

    /// Every sample: its name, its labels and its value.
    pub fn series(&self) -> impl Iterator<Item = (&str, &BTreeMap<String, String>, f64)> {
        self.samples.iter().map(|sample| (&*sample.name, &sample.labels, sample.value))
    }

    /// Whether there is a sample called `name`.
    pub fn has(&self, name: &str) -> bool {
        self.matching(name).next().is_some()
    }

    /// The values of `label` among the samples called `name` that are above 0.
    pub fn values_of(&self, name: &str, label: &str) -> Vec<String> {
        self.matching(name)
            .filter(|sample| sample.value > 0.0)
            .filter_map(|sample| sample.labels.get(label).cloned())
            .collect()
    }

    fn matching(&self, name: &str) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(move |sample| sample.name == name)
    }
}

impl Sample {
    fn read(line: &str) -> Self {
        let (series, value) =
            line.rsplit_once(' ').unwrap_or_else(|| panic!("no value in the sample {line:?}"));
        let value = value.parse().unwrap_or_else(|_| panic!("no number in the sample {line:?}"));
        let (name, labels) = match series.split_once('{') {
            Some((name, labels)) => (name, labels.trim_end_matches('}')),
            None => (series, ""),
        };
        Self { name: name.to_owned(), labels: read_labels(labels), value }
    }
}

/// Reads `a="1",b="2"`; the daemon's label values hold neither quotes nor commas.
fn read_labels(text: &str) -> BTreeMap<String, String> {
    text.split(',')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let (name, value) =
                pair.split_once('=').unwrap_or_else(|| panic!("no label in {pair:?}"));
            (name.to_owned(), value.trim_matches('"').to_owned())
        })
        .collect()
}
