//! One event of the log, owned: what crosses from the thread that logs to the one that writes.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use tracing::field::{DisplayValue, Field, Visit, display};
use tracing::{Metadata, Value as TracingValue};

/// Longest value that is kept, in bytes. Ids come from outside, and what waits for a slow reader
/// is held in memory.
const MAX_VALUE_BYTES: usize = 16 * 1024;

/// The field that holds an event's text.
pub(super) const MESSAGE: &str = "message";

/// The field that says what went wrong.
const ERROR: &str = "error";

/// An event, and the spans it happened in.
#[derive(Debug, Clone)]
pub(super) struct Record {
    pub(super) at: Timestamp,
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) fields: Fields,
    /// From the outermost to the innermost.
    pub(super) spans: Vec<Arc<Span>>,
}

/// A span with what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) metadata: &'static Metadata<'static>,
    pub(super) fields: Fields,
}

/// Values of fields, in the order in which they were recorded.
#[derive(Debug, Clone, Default)]
pub(super) struct Fields(Vec<(Field, Value)>);

/// The value of a field.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    /// Text of the program's own, or from outside.
    Text(String),
    /// What `Display` or `Debug` made of something.
    Formatted(DisplayValue<String>),
}

impl Record {
    /// The event's text.
    pub(super) fn message(&self) -> Option<Cow<'_, str>> {
        self.fields.get(MESSAGE).map(Value::text)
    }

    /// The fields of the event and of its spans, each name once: the event's own value before a
    /// span's, an inner span's before an outer one's.
    pub(super) fn flattened(&self) -> impl Iterator<Item = (&'static str, &Value)> {
        let spans = self.spans.iter().enumerate();
        let inherited = spans.flat_map(move |(depth, span)| {
            let inherited = span.fields.0.iter();
            inherited.filter(move |(field, _)| !self.is_shadowed(depth, field.name()))
        });
        let own = self.fields.0.iter().filter(|(field, _)| field.name() != MESSAGE);
        inherited.chain(own).map(|(field, value)| (field.name(), value))
    }

    /// Whether a field of the span at `depth` is overridden further in.
    pub(super) fn is_shadowed(&self, depth: usize, name: &str) -> bool {
        self.fields.get(name).is_some()
            || self.spans[depth + 1..].iter().any(|inner| inner.fields.get(name).is_some())
    }

    /// The same with the error in the text too, for a reader who sees the text alone.
    pub(super) fn with_error_in_message(&self) -> Cow<'_, Self> {
        let (Some(message), Some(error)) = (self.message(), self.fields.get(ERROR)) else {
            return Cow::Borrowed(self);
        };
        let text = format!("{message}: {}", error.text());
        let mut record = self.clone();
        if let Some(field) = self.metadata.fields().field(MESSAGE) {
            record.fields.set(&field, Value::Formatted(display(text)));
        }
        Cow::Owned(record)
    }

    /// The same without a control character, so that no text begins a line of its own.
    pub(super) fn on_one_line(&self) -> Cow<'_, Self> {
        let is_clean = self.fields.is_on_one_line()
            && self.spans.iter().all(|span| span.fields.is_on_one_line());
        if is_clean {
            return Cow::Borrowed(self);
        }
        let mut record = self.clone();
        record.fields.put_on_one_line();
        for span in &mut record.spans {
            Arc::make_mut(span).fields.put_on_one_line();
        }
        Cow::Owned(record)
    }
}

impl Fields {
    /// The value of a field; `None`: it has none.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        self.0.iter().find(|(field, _)| field.name() == name).map(|(_, value)| value)
    }

    /// Takes later values over.
    pub(super) fn extend(&mut self, later: Self) {
        for (field, value) in later.0 {
            self.set(&field, value);
        }
    }

    fn set(&mut self, field: &Field, value: Value) {
        match self.0.iter_mut().find(|(known, _)| known == field) {
            Some((_, known)) => *known = value,
            None => self.0.push((field.clone(), value)),
        }
    }

    fn is_on_one_line(&self) -> bool {
        self.0.iter().all(|(_, value)| !value.text().contains(char::is_control))
    }

    fn put_on_one_line(&mut self) {
        for (_, value) in &mut self.0 {
            match value {
                Value::Text(text) => *text = escaped(text),
                Value::Formatted(text) => *text = display(escaped(&text.to_string())),
                Value::Bool(_) | Value::Signed(_) | Value::Unsigned(_) | Value::Float(_) => {}
            }
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.set(field, Value::Float(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::Signed(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::Unsigned(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::Bool(value));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::Text(bounded(value.to_owned())));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.set(field, Value::Formatted(display(bounded(format!("{value:?}")))));
    }
}

impl Value {
    /// The value as tracing takes it.
    pub(super) fn as_tracing(&self) -> &dyn TracingValue {
        match self {
            Self::Bool(value) => value,
            Self::Signed(value) => value,
            Self::Unsigned(value) => value,
            Self::Float(value) => value,
            Self::Text(value) => value,
            Self::Formatted(value) => value,
        }
    }

    fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Bool(value) => value.to_string().into(),
            Self::Signed(value) => value.to_string().into(),
            Self::Unsigned(value) => value.to_string().into(),
            Self::Float(value) => value.to_string().into(),
            Self::Text(value) => value.into(),
            Self::Formatted(value) => value.to_string().into(),
        }
    }
}

impl serde::Serialize for Value {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Signed(value) => serializer.serialize_i64(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Formatted(value) => serializer.collect_str(value),
        }
    }
}

fn bounded(mut text: String) -> String {
    if text.len() > MAX_VALUE_BYTES {
        let end = (0..=MAX_VALUE_BYTES).rev().find(|end| text.is_char_boundary(*end));
        text.truncate(end.unwrap_or_default());
        text.push('…');
    }
    text
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else {
            escaped.push(character);
        }
    }
    escaped
}
