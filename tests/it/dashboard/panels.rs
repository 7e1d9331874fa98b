//! The dashboard as Grafana's schema has it, as far as its queries and its layout go.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::prometheus::{Prometheus, project};

/// The dashboard.
#[derive(Debug)]
pub(super) struct Dashboard {
    pub(super) panels: Vec<Panel>,
    /// Name, and the metric it takes its values from, if it does.
    pub(super) variables: Vec<(String, String)>,
    pub(super) annotations: Vec<String>,
}

/// A panel, or the heading of a row of them.
#[derive(Debug)]
pub(super) struct Panel {
    pub(super) id: u64,
    pub(super) kind: String,
    pub(super) title: String,
    pub(super) description: String,
    /// x, y, width and height on the grid.
    pub(super) place: [u64; 4],
    pub(super) unit: String,
    pub(super) targets: Vec<Target>,
    /// What is shown for a value in its place.
    pub(super) mappings: BTreeMap<String, String>,
    /// From where on which colour.
    pub(super) steps: Vec<(f64, String)>,
    /// The colours of series.
    pub(super) colours: BTreeMap<String, String>,
}

/// A query.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) letter: String,
    pub(super) expression: String,
    legend: String,
    instant: bool,
}

/// A series that a query gave.
#[derive(Debug, Clone)]
pub(super) struct Series {
    pub(super) name: String,
    /// Time in seconds, and value.
    pub(super) points: Vec<(f64, f64)>,
}

/// The last so many seconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    pub(super) seconds: u64,
    pub(super) step: u64,
}

impl Window {
    /// An expression with the variables that Grafana would fill in.
    pub(super) fn fill(&self, expression: &str) -> String {
        let rate = format!("{}s", (4 * self.step).max(10));
        let filled = expression
            .replace("$__rate_interval", &rate)
            .replace("$__range", &format!("{}s", self.seconds))
            .replace("$instance", ".*");
        assert!(!filled.contains('$'), "a variable nobody fills in: {filled}");
        filled
    }
}

impl Dashboard {
    pub(super) fn read() -> Self {
        let dashboard: Value =
            serde_json::from_str(&project("etc/grafana/dingbot.json")).expect("valid JSON");
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let variable = |variable: &Value| {
            let definition = variable["definition"].as_str().unwrap_or_default();
            let metric = definition.strip_prefix("label_values(").and_then(|d| d.split_once(','));
            let metric = metric.map(|(metric, _)| metric.to_owned()).unwrap_or_default();
            (text(&variable["name"]), metric)
        };
        let annotations = list(&dashboard["annotations"]["list"]);
        Self {
            panels: list(&dashboard["panels"]).iter().map(Panel::read).collect(),
            variables: list(&dashboard["templating"]["list"]).iter().map(variable).collect(),
            annotations: annotations.iter().map(|one| text(&one["expr"])).collect(),
        }
    }
}

impl Panel {
    fn read(panel: &Value) -> Self {
        let place =
            ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().expect("a place"));
        let targets = panel["targets"].as_array().into_iter().flatten();
        let defaults = &panel["fieldConfig"]["defaults"];
        let mappings = defaults["mappings"].as_array().into_iter().flatten();
        let mappings = mappings.filter_map(|mapping| mapping["options"].as_object()).flatten();
        let steps = defaults["thresholds"]["steps"].as_array().into_iter().flatten();
        let overrides = panel["fieldConfig"]["overrides"].as_array().into_iter().flatten();
        Self {
            id: panel["id"].as_u64().expect("an id"),
            kind: text(&panel["type"]),
            title: text(&panel["title"]),
            description: panel["description"].as_str().unwrap_or_default().to_owned(),
            place,
            unit: defaults["unit"].as_str().unwrap_or_default().to_owned(),
            targets: targets.map(Target::read).collect(),
            mappings: mappings
                .map(|(value, shown)| (value.clone(), text(&shown["text"])))
                .collect(),
            steps: steps
                .map(|step| (step["value"].as_f64().unwrap_or(f64::MIN), text(&step["color"])))
                .collect(),
            colours: overrides
                .map(|one| {
                    let colour = &one["properties"][0]["value"]["fixedColor"];
                    (text(&one["matcher"]["options"]), text(colour))
                })
                .collect(),
        }
    }
}

impl Target {
    fn read(target: &Value) -> Self {
        assert_eq!(target["datasource"]["uid"], "${datasource}", "{target}");
        Self {
            letter: text(&target["refId"]),
            expression: text(&target["expr"]),
            legend: text(&target["legendFormat"]),
            instant: target["instant"] == true,
        }
    }

    /// Asks for what the panel shows.
    pub(super) async fn ask(
        &self,
        prometheus: &Prometheus,
        window: Window,
    ) -> Result<Vec<Series>, String> {
        let expression = window.fill(&self.expression);
        let series = if self.instant {
            prometheus.query(&expression).await?
        } else {
            prometheus.range(&expression, window.seconds, window.step).await?
        };
        Ok(series.iter().map(|series| self.series(series)).collect())
    }

    fn series(&self, series: &Value) -> Series {
        let labels = series["metric"].as_object().into_iter().flatten();
        let name = labels.fold(self.legend.clone(), |name, (label, value)| {
            name.replace(&format!("{{{{{label}}}}}"), value.as_str().unwrap_or_default())
        });
        let points = match &series["values"] {
            Value::Array(values) => values.iter().map(point).collect(),
            _ => vec![point(&series["value"])],
        };
        Series { name, points }
    }
}

/// A time and a value; Prometheus writes values as text.
fn point(pair: &Value) -> (f64, f64) {
    let value = pair[1].as_str().unwrap_or_default();
    (pair[0].as_f64().expect("a time"), value.parse().expect("a number"))
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("no text: {value}")).to_owned()
}
