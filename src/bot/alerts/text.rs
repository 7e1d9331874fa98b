//! A group of alerts as people read it: Chinese first, what fires before what is over, the severe
//! before the harmless.
//!
//! Whatever the alerts hold comes from elsewhere and is shown as nothing but text; an address
//! becomes a link only when it is one of http or https.

use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use url::Url;

use super::notification::{Alert, Notification, Pairs};
use super::severity::Severity;
use crate::bot::outgoing::Tally;
use crate::dingtalk::markdown;

/// Most messages that one notification becomes; what does not fit is counted. A custom robot sends
/// twenty a minute.
const MAX_PARTS: usize = 3;
/// Room in each part for its heading, and for what is said at the end.
const FRAME_BYTES: usize = 3_000;
/// Largest text of one alert, in bytes of JSON.
const MAX_ALERT_BYTES: usize = 3_500;
/// Largest text of what all alerts of a group have.
const MAX_COMMON_BYTES: usize = 2_500;
/// Longest title, name, value and annotation, in characters.
const MAX_TITLE: usize = 40;
const MAX_NAME: usize = 100;
const MAX_VALUE: usize = 300;
const MAX_ANNOTATION: usize = 500;
/// Most lines of an annotation that are shown.
const MAX_LINES: usize = 12;
/// Longest address that becomes a link, in bytes.
const MAX_ADDRESS: usize = 1_000;

/// Labels that stand in the line of an alert's name.
const IN_THE_NAME: [&str; 2] = ["alertname", "severity"];
/// Annotations that are sentences, in the order in which they are read.
const SENTENCES: [&str; 3] = ["summary", "description", "message"];

/// One message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) title: String,
    pub(super) text: String,
    pub(super) tally: Tally,
}

/// What people read of a notification, in bounded length: at least one message, and how many alerts
/// are in none of them.
pub(super) fn render(notification: &Notification, zone: &TimeZone) -> (Vec<Part>, usize) {
    let mut alerts: Vec<&Alert> = notification.alerts.iter().collect();
    alerts.sort_by_key(|alert| (!alert.is_firing(), Severity::of(alert)));
    let scribe = Scribe { notification, zone, shared: alerts.len() > 1 };
    let mut pages = Pages::new(scribe.head());
    let mut left = Tally::default();
    for alert in alerts {
        let firing = alert.is_firing();
        if left != Tally::default() || !pages.add(firing, &scribe.alert(alert)) {
            count(&mut left, firing);
        }
    }
    let left_out = left.firing + left.resolved;
    let parts = pages.finish(&scribe.end(left), left);
    let (title, several) = (scribe.title(), parts.len());
    let parts = parts
        .into_iter()
        .enumerate()
        .map(|(index, (text, tally))| match several {
            1 => Part { title: title.clone(), text, tally },
            _ => {
                let number = format!("（{}/{several}）", index + 1);
                let short = cut(&title, MAX_TITLE - number.chars().count());
                Part { title: format!("{short}{number}"), text, tally }
            }
        })
        .collect();
    (parts, left_out)
}

fn count(tally: &mut Tally, firing: bool) {
    let which = if firing { &mut tally.firing } else { &mut tally.resolved };
    *which += 1;
}

/// Messages being filled, alert by alert.
struct Pages {
    done: Vec<(String, Tally)>,
    text: String,
    bytes: usize,
    tally: Tally,
    /// Whether the alerts being added fire; `None`: none was added to this page.
    section: Option<bool>,
}

impl Pages {
    fn new(head: String) -> Self {
        let bytes = markdown::json_bytes(&head);
        Self { done: Vec::new(), text: head, bytes, tally: Tally::default(), section: None }
    }

    /// Adds an alert, on a new page if there has to be one; `false`: there is no room.
    fn add(&mut self, firing: bool, text: &str) -> bool {
        let heading = if firing {
            "\n\n#### 🔥 未恢复 Firing\n\n"
        } else {
            "\n\n#### ✅ 已恢复 Resolved\n\n"
        };
        let wanted = markdown::json_bytes(text) + markdown::json_bytes(heading);
        if self.bytes + wanted > markdown::PART_BYTES - FRAME_BYTES && self.section.is_some() {
            if self.done.len() + 1 == MAX_PARTS {
                return false;
            }
            let page = (std::mem::take(&mut self.text), std::mem::take(&mut self.tally));
            self.done.push(page);
            (self.bytes, self.section) = (0, None);
        }
        let separator = if self.section == Some(firing) { "\n\n" } else { heading };
        self.section = Some(firing);
        self.bytes += markdown::json_bytes(separator) + markdown::json_bytes(text);
        self.text.push_str(separator);
        self.text.push_str(text);
        count(&mut self.tally, firing);
        true
    }

    /// The pages with what is said at the end, which is about those left out.
    fn finish(mut self, end: &str, left: Tally) -> Vec<(String, Tally)> {
        self.tally.firing += left.firing;
        self.tally.resolved += left.resolved;
        self.text.push_str(end);
        self.done.push((self.text, self.tally));
        for (text, _) in &mut self.done {
            *text = text.trim().to_owned();
        }
        self.done
    }
}

/// Lines, as many as fit.
struct Lines {
    text: String,
    room: usize,
}

impl Lines {
    fn new(room: usize) -> Self {
        Self { text: String::new(), room }
    }

    fn push(&mut self, line: &str) {
        let wanted = markdown::json_bytes(line);
        if wanted <= self.room {
            self.room -= wanted;
            self.text.push_str(line);
        } else {
            // What comes later does not fit either, were it shorter: it would stand out of its place.
            self.room = 0;
        }
    }

    /// Adds lines for which room was kept.
    fn insert(&mut self, lines: &str) {
        self.text.push_str(lines);
    }

    /// Has the next item of a list stand in a line of its own, after a blank one if it is the first.
    fn begin_item(&mut self) {
        if !self.text.ends_with('\n') {
            self.push("\n\n");
        }
    }

    fn finish(self) -> String {
        if self.room == 0 { self.text.trim_end().to_owned() + "\n\n…" } else { self.text }
    }
}

/// Writes about one notification.
struct Scribe<'a> {
    notification: &'a Notification,
    zone: &'a TimeZone,
    /// Whether what all alerts have in common is said once, for several.
    shared: bool,
}

impl Scribe<'_> {
    /// For the list of chats: no markdown.
    fn title(&self) -> String {
        let (firing, resolved) = self.notification.counts();
        let worst = self.notification.alerts.iter().filter(|alert| alert.is_firing());
        let mark = worst.map(Severity::of).min().map_or("✅", |severity| severity.mark());
        let counts = match (firing, resolved) {
            (0, resolved) => format!("恢复 {resolved}"),
            (firing, 0) => format!("告警 {firing}"),
            (firing, resolved) => format!("告警 {firing}，恢复 {resolved}"),
        };
        let subject = self.subject();
        let colon = if subject.is_empty() { "" } else { "：" };
        cut(&format!("{mark} {counts}{colon}{subject}"), MAX_TITLE)
    }

    /// What it is about: the name that all alerts have, or what groups them, or the first's name.
    fn subject(&self) -> String {
        let notification = self.notification;
        if let Some(name) = notification.common_labels.get("alertname") {
            return markdown::one_line(name);
        }
        let group: Vec<&str> = notification.group_labels.values().map(String::as_str).collect();
        let first = notification.alerts.first().and_then(|alert| alert.label("alertname"));
        let text =
            if group.is_empty() { first.unwrap_or_default().into() } else { group.join(" ") };
        markdown::one_line(&text)
    }

    fn head(&self) -> String {
        let (firing, resolved) = self.notification.counts();
        let counts = match (firing, resolved) {
            (0, resolved) => format!("✅ 恢复 {resolved} 条 ({resolved} resolved)"),
            (firing, 0) => format!("🔥 告警 {firing} 条 ({firing} firing)"),
            (firing, resolved) => format!(
                "🔥 告警 {firing} 条，✅ 恢复 {resolved} 条 ({firing} firing, {resolved} resolved)"
            ),
        };
        let mut lines = Lines::new(MAX_COMMON_BYTES);
        lines.push(&format!("### {counts}"));
        if self.shared {
            self.common(&mut lines);
        }
        lines.finish()
    }

    /// What groups the alerts, and what else they have in common.
    fn common(&self, lines: &mut Lines) {
        let Notification { group_labels, common_labels, common_annotations, .. } =
            self.notification;
        pairs("\n\n分组 Group：", group_labels.iter(), lines);
        let others = common_labels
            .iter()
            .filter(|(name, _)| !group_labels.contains_key(*name) && !is_in_the_name(name));
        pairs("\n\n共同 Common：", others, lines);
        let none = Pairs::new();
        sentences(common_annotations, &none, lines);
        other_annotations(common_annotations, &none, lines);
    }

    fn alert(&self, alert: &Alert) -> String {
        let times = format!("\n\n{}", self.times(alert));
        // However long the sentences are, there is room for them.
        let mut lines = Lines::new(MAX_ALERT_BYTES - markdown::json_bytes(&times));
        let severity = alert.label("severity").map(|text| escaped(text, MAX_NAME) + " · ");
        let mark = if alert.is_firing() { Severity::of(alert).mark() } else { "✅" };
        let name = escaped(alert.label("alertname").unwrap_or("未命名 unnamed"), MAX_NAME);
        let graph = link("图表 graph", &alert.generator_url).map(|link| " · ".to_owned() + &link);
        lines.push(&format!("**{mark} {}{name}**", severity.unwrap_or_default()));
        lines.push(&graph.unwrap_or_default());
        let none = Pairs::new();
        let (common_labels, common_annotations) = if self.shared {
            (&self.notification.common_labels, &self.notification.common_annotations)
        } else {
            (&none, &none)
        };
        sentences(&alert.annotations, common_annotations, &mut lines);
        lines.insert(&times);
        for (name, value) in &alert.labels {
            if !is_in_the_name(name) && common_labels.get(name) != Some(value) {
                let (name, value) = (escaped(name, MAX_NAME), escaped(value, MAX_VALUE));
                lines.push(&format!("- {name}：{value}\n"));
            }
        }
        other_annotations(&alert.annotations, common_annotations, &mut lines);
        lines.finish().trim_end().to_owned()
    }

    fn times(&self, alert: &Alert) -> String {
        let mut text = String::new();
        if let Some(start) = alert.starts_at {
            text += &format!("- 开始 Start：{}\n", self.time(start));
        }
        if let Some(end) = alert.ended_at() {
            text += &format!("- 恢复 End：{}", self.time(end));
            if let Some(start) = alert.starts_at {
                text += &format!("，历时 {}", span(end.duration_since(start)));
            }
            text.push('\n');
        }
        text
    }

    fn time(&self, time: Timestamp) -> String {
        time.to_zoned(self.zone.clone()).strftime("%Y-%m-%d %H:%M:%S %:z").to_string()
    }

    /// What was left out, and where all of it is.
    fn end(&self, left: Tally) -> String {
        let mut text = String::new();
        let number = left.firing + left.resolved;
        if number > 0 {
            text += &format!(
                "\n\n**另有 {number} 条未列出 ({number} more not shown)**：🔥 {}，✅ {}",
                left.firing, left.resolved
            );
        }
        let truncated = self.notification.truncated_alerts;
        if truncated > 0 {
            text += &format!(
                "\n\nAlertmanager 按 max\\_alerts 省略了 {truncated} 条 \
                 ({truncated} left out by Alertmanager)"
            );
        }
        let address = self.alertmanager();
        if let Some(link) = address.and_then(|url| link("在 Alertmanager 中查看 open", &url)) {
            text += &format!("\n\n{link}");
        }
        text
    }

    /// Where Alertmanager shows the alerts.
    fn alertmanager(&self) -> Option<String> {
        let mut url = Url::parse(&self.notification.external_url).ok()?;
        let receiver: String =
            url::form_urlencoded::byte_serialize(self.notification.receiver.as_bytes()).collect();
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        url.set_fragment(Some(&format!("/alerts?receiver={receiver}")));
        Some(url.into())
    }
}

fn is_in_the_name(label: &str) -> bool {
    IN_THE_NAME.contains(&label)
}

/// The annotations that are sentences, without those that are in `said`.
fn sentences(all: &Pairs, said: &Pairs, lines: &mut Lines) {
    for text in SENTENCES.iter().filter_map(|name| new(name, all, said)) {
        // Lines stay lines: a list of hosts in a description would be hard to read as one.
        let text = cut(text, MAX_ANNOTATION);
        let quoted = text.lines().map(markdown::escape).filter(|line| !line.is_empty());
        for (index, line) in quoted.take(MAX_LINES).enumerate() {
            lines.push(if index == 0 { "\n\n" } else { "  \n" });
            lines.push(&format!("> {line}"));
        }
    }
}

/// The other annotations, by name, as the items of a list that may have begun.
fn other_annotations(all: &Pairs, said: &Pairs, lines: &mut Lines) {
    let others = all.keys().filter(|name| !SENTENCES.contains(&name.as_str()));
    for (name, value) in others.filter_map(|name| Some((name, new(name, all, said)?))) {
        let name = escaped(name, MAX_NAME);
        let shown = link(&name, value)
            .unwrap_or_else(|| format!("{name}：{}", escaped(value, MAX_ANNOTATION)));
        lines.begin_item();
        lines.push(&format!("- {shown}\n"));
    }
}

/// The value of an annotation, unless it is in `said`.
fn new<'a>(name: &str, all: &'a Pairs, said: &Pairs) -> Option<&'a String> {
    all.get(name).filter(|value| said.get(name) != Some(value))
}

/// `name=value`, one behind the other, after a heading; nothing if there is none.
fn pairs<'a>(
    heading: &str,
    all: impl Iterator<Item = (&'a String, &'a String)>,
    lines: &mut Lines,
) {
    for (index, (name, value)) in all.enumerate() {
        lines.push(if index == 0 { heading } else { "，" });
        lines.push(&format!("{}={}", escaped(name, MAX_NAME), escaped(value, MAX_VALUE)));
    }
}

/// Text from elsewhere, on one line.
fn escaped(text: &str, most: usize) -> String {
    markdown::escape(&cut(text, most))
}

/// A link with the words `shown`, which are markdown, if `address` is one of http or https and hides
/// nothing.
fn link(shown: &str, address: &str) -> Option<String> {
    let url = Url::parse(address.trim()).ok()?;
    let is_web = matches!(url.scheme(), "http" | "https") && url.has_host();
    if !is_web || !url.username().is_empty() || url.password().is_some() {
        return None;
    }
    // What ends a link's address, or its line, has another form in every address.
    let encoded = |c: char| match c {
        '(' => "%28".into(),
        ')' => "%29".into(),
        '<' => "%3C".into(),
        '>' => "%3E".into(),
        '\\' => "%5C".into(),
        '`' => "%60".into(),
        '*' => "%2A".into(),
        ' ' => "%20".into(),
        c => c.to_string(),
    };
    let address: String = url.as_str().chars().map(encoded).collect();
    (address.len() <= MAX_ADDRESS).then(|| format!("[{shown}]({address})"))
}

/// At most `most` characters of `text`.
fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

/// A span of time in its two largest units.
fn span(duration: SignedDuration) -> String {
    let seconds = duration.as_secs().max(0);
    let units =
        [(86_400, "天"), (3_600, "小时"), (60, "分"), (1, "秒")].map(|(size, unit)| (size, unit));
    let mut rest = seconds;
    let mut parts = Vec::new();
    for (size, unit) in units {
        if rest >= size || (size == 1 && parts.is_empty()) {
            parts.push(format!("{} {unit}", rest / size));
            rest %= size;
        } else if !parts.is_empty() {
            break;
        }
        if parts.len() == 2 || (parts.len() == 1 && rest == 0) {
            break;
        }
    }
    parts.join(" ")
}

#[cfg(test)]
mod tests;
