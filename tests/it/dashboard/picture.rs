//! The panels as a picture: an SVG with the places, titles, units and colours of the dashboard.

use minijinja::{AutoEscape, Environment, Value, context};

use super::panels::{Dashboard, Panel, Series, Window};

/// Pixels of a cell of the grid.
const CELL: [f64; 2] = [52.0, 25.0];
/// Space around what is in a panel: left, top, right, bottom.
const INSET: [f64; 4] = [52.0, 30.0, 12.0, 40.0];
/// Space between panels.
const GAP: f64 = 6.0;
/// Colours of series that the dashboard gives none, in turns.
const COLOURS: [&str; 8] =
    ["#3274d9", "#e0752d", "#8f3bb8", "#1f8a5b", "#c4162a", "#b58800", "#2f9ea3", "#705da0"];

/// Draws what the panels show; `answered` has the series of each panel by its id.
pub(super) fn draw(
    dashboard: &Dashboard,
    answered: &[(u64, Vec<Series>)],
    window: Window,
) -> String {
    // One axis for all: a series may end before the others.
    let points = answered.iter().flat_map(|(_, series)| series).flat_map(|series| &series.points);
    let end = points.map(|point| point.0).fold(f64::MIN, f64::max);
    let panels: Vec<Value> = dashboard
        .panels
        .iter()
        .map(|panel| {
            let of_panel = answered.iter().filter(|(id, _)| *id == panel.id);
            let series: Vec<&Series> = of_panel.flat_map(|(_, series)| series).collect();
            let [x, y, width, height] = rectangle(panel);
            let content = match panel.kind.as_str() {
                "row" => context! {},
                "stat" => stat(panel, &series),
                _ => chart(panel, &series, (window, end), [width, height]),
            };
            context! { kind => &panel.kind, title => &panel.title, x, y, width, height, ..content }
        })
        .collect();
    let bottom = dashboard.panels.iter().map(|panel| panel.place[1] + panel.place[3]).max();
    let height = bottom.unwrap_or(0) as f64 * CELL[1] + GAP;
    let mut templates = Environment::new();
    templates.set_auto_escape_callback(|_| AutoEscape::Html);
    let width = 24.0 * CELL[0] + GAP;
    templates
        .render_named_str(
            "picture.svg",
            include_str!("picture.svg"),
            context! { panels, width, height },
        )
        .expect("the template names only what is given")
}

fn rectangle(panel: &Panel) -> [f64; 4] {
    let [x, y, width, height] = panel.place.map(|cells| cells as f64);
    let (x, y) = (x * CELL[0] + GAP, y * CELL[1] + GAP);
    [x, y, width * CELL[0] - GAP, height * CELL[1] - GAP]
}

fn stat(panel: &Panel, series: &[&Series]) -> Value {
    let value = series.first().and_then(|series| series.points.last()).map_or(f64::NAN, |p| p.1);
    let mapped = panel.mappings.get(&format!("{value}"));
    let shown = mapped.cloned().unwrap_or_else(|| written(value, &panel.unit));
    let step = panel.steps.iter().rev().find(|(from, _)| value >= *from);
    context! { shown, colour => colour(step.map_or("text", |(_, colour)| colour), 0) }
}

fn chart(
    panel: &Panel,
    series: &[&Series],
    (window, end): (Window, f64),
    [width, height]: [f64; 2],
) -> Value {
    let [left, top, right, bottom] = INSET;
    let (inner, tall) = (width - left - right, height - top - bottom);
    let begin = end - window.seconds as f64;
    let values = series.iter().flat_map(|series| series.points.iter().map(|point| point.1));
    let most = round_up(values.filter(|value| value.is_finite()).fold(0.0, f64::max));
    let place = |(time, value): (f64, f64)| {
        let x = left + inner * (time - begin) / (end - begin).max(1.0);
        (x, top + tall * (1.0 - value / most))
    };
    let lines: Vec<Value> = series
        .iter()
        .enumerate()
        .map(|(number, series)| {
            let mut path = String::new();
            let mut last: Option<f64> = None;
            for point in series.points.iter().filter(|point| point.1.is_finite()) {
                // A gap stays a gap.
                let gap = last.is_none_or(|last| point.0 - last > 1.5 * window.step as f64);
                let (x, y) = place(*point);
                path += &format!("{}{x:.0} {y:.1}", if gap { "M" } else { "L" });
                last = Some(point.0);
            }
            let given = panel.colours.get(&series.name).map_or("", |colour| colour);
            context! { name => &series.name, path, colour => colour(given, number) }
        })
        .collect();
    let grid: Vec<Value> = [0.0, 0.5, 1.0]
        .map(|part| context! { y => top + tall * (1.0 - part), label => written(most * part, &panel.unit) })
        .to_vec();
    let wide = |c: char| if c.is_ascii() { 5.5 } else { 10.0 };
    let names: f64 = series.iter().map(|one| 22.0 + one.name.chars().map(wide).sum::<f64>()).sum();
    let minutes = window.seconds as f64 / 60.0;
    context! {
        lines, grid, left,
        right => width - right,
        ground => top + tall,
        since => format!("-{minutes:.0} min"),
        legend => height - 8.0,
        legend_size => if names > width { 8 } else { 10 },
    }
}

/// The next of 1, 2 or 5 times a power of ten.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    [1.0, 2.0, 5.0, 10.0]
        .map(|step| step * power)
        .into_iter()
        .find(|v| *v >= value)
        .unwrap_or(value)
}

/// A value in its unit, as short as it can be read.
fn written(value: f64, unit: &str) -> String {
    let digits = |value: f64| match value.abs() {
        v if v >= 100.0 || v == v.trunc() => format!("{value:.0}"),
        v if v >= 1.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    };
    match unit {
        "s" if value == 0.0 => "0".into(),
        "s" if value < 1.0 => format!("{} ms", digits(value * 1e3)),
        "s" if value >= 120.0 => format!("{} min", digits(value / 60.0)),
        "s" => format!("{} s", digits(value)),
        "d" => format!("{value:.0} d"),
        "bytes" if value >= 1e9 => format!("{} GB", digits(value / 1e9)),
        "bytes" if value >= 1e6 => format!("{} MB", digits(value / 1e6)),
        "bytes" => format!("{} kB", digits(value / 1e3)),
        _ => digits(value),
    }
}

/// One of Grafana's names for colours, or else one by the series' number.
fn colour(name: &str, number: usize) -> &'static str {
    match name {
        "green" => "#1f8a5b",
        "red" => "#c4162a",
        "yellow" => "#b58800",
        "blue" => "#3274d9",
        "purple" => "#8f3bb8",
        _ => COLOURS[number % COLOURS.len()],
    }
}

#[test]
fn figures_are_written_short() {
    assert_eq!(written(0.25, "s"), "250 ms");
    assert_eq!(written(2.0, "s"), "2 s");
    assert_eq!(written(3.12, "none"), "3.1");
    assert_eq!(written(2.5e7, "bytes"), "25 MB");
    assert_eq!(round_up(3.2), 5.0);
    assert_eq!(round_up(0.011), 0.02);
}
