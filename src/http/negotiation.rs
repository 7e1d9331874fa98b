//! Which of two representations a caller prefers, by its `Accept` header (RFC 9110, 12.5.1).

use warp::http::HeaderMap;
use warp::http::header::ACCEPT;

/// Whether the caller prefers `text/html` to `machine`, a media type such as `application/json`.
///
/// A browser names `text/html` and gives everything else less weight. Whoever gives both the same
/// weight (`*/*`, or no header) gets the machine's form.
pub(super) fn prefers_html(headers: &HeaderMap, machine: &str) -> bool {
    let mut html = Preference::default();
    let mut other = Preference::default();
    for value in headers.get_all(ACCEPT) {
        let Ok(value) = value.to_str() else { continue };
        for range in value.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let media = parts.next().unwrap_or_default();
            let Some(weight) = weight(parts) else { continue };
            html.consider(media, "text/html", weight);
            other.consider(media, machine, weight);
        }
    }
    html.weight > other.weight
}

/// The weight (thousandths) that the most specific matching range gave, and how specific it was.
#[derive(Default)]
struct Preference {
    specificity: u8,
    weight: u16,
}

impl Preference {
    fn consider(&mut self, range: &str, media: &str, weight: u16) {
        let specificity = if range.eq_ignore_ascii_case(media) {
            3
        } else if range == "*/*" {
            1
        } else if let (Some((range, "*")), Some((kind, _))) =
            (range.split_once('/'), media.split_once('/'))
            && range.eq_ignore_ascii_case(kind)
        {
            2
        } else {
            return;
        };
        if specificity > self.specificity {
            *self = Self { specificity, weight };
        } else if specificity == self.specificity {
            self.weight = self.weight.max(weight);
        }
    }
}

/// The `q` parameter in thousandths; 1000 if there is none, nothing if it is malformed.
fn weight<'a>(mut parameters: impl Iterator<Item = &'a str>) -> Option<u16> {
    let given = parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let Some(given) = given else { return Some(1_000) };
    let q: f32 = given.parse().ok()?;
    (0.0..=1.0).contains(&q).then(|| (q * 1_000.0).round() as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html_for(accept: &str) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, accept.parse().unwrap());
        prefers_html(&headers, "application/json")
    }

    #[test]
    fn browsers_get_html() {
        assert!(html_for("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"));
        assert!(html_for("text/html"));
        assert!(html_for("TEXT/HTML; charset=utf-8, */*; q=0.1"));
        assert!(html_for("text/*, application/json;q=0.5"));
    }

    #[test]
    fn machines_do_not() {
        assert!(!prefers_html(&HeaderMap::new(), "application/json"));
        assert!(!html_for("*/*"));
        assert!(!html_for("application/json"));
        assert!(!html_for("text/html, application/json"));
        assert!(!html_for("text/html;q=0.5, application/json;q=0.9"));
        assert!(!html_for("text/html;q=0, */*"));
    }

    #[test]
    fn a_specific_range_wins_over_a_wider_one() {
        assert!(!html_for("text/*, text/html;q=0.1, application/json;q=0.2"));
        assert!(html_for("*/*;q=0.1, text/html;q=0.2"));
    }

    #[test]
    fn malformed_weights_are_left_out() {
        assert!(!html_for("text/html;q=abc"));
        assert!(!html_for("text/html;q=7"));
    }

    #[test]
    fn several_header_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append(ACCEPT, "application/json;q=0.5".parse().unwrap());
        headers.append(ACCEPT, "text/html".parse().unwrap());
        assert!(prefers_html(&headers, "application/json"));
    }
}
