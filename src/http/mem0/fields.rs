//! What a request says: the fields of its body and the parameters of its address, read with the
//! name of what is wrong.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde_json::{Map, Value};

use super::error::Refusal;
use crate::memory::filter;
use crate::store::{Entity, Scope};

/// The fields of a request.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Fields(Map<String, Value>);

impl Fields {
    /// The fields of a JSON body; an empty body has none.
    pub(super) fn of_body(body: &[u8]) -> Result<Self, Refusal> {
        if body.trim_ascii().is_empty() {
            return Ok(Self::default());
        }
        match serde_json::from_slice(body) {
            Ok(Value::Object(fields)) => Ok(Self(fields)),
            Ok(_) => Err(Refusal::bad_request("The body must be a JSON object.")),
            Err(error) => {
                Err(Refusal::bad_request(format!("The body is not JSON ({error}); correct it.")))
            }
        }
    }

    /// The parameters of an address; of one given twice the last.
    pub(super) fn of_query(query: &str) -> Self {
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        Self(pairs.map(|(key, value)| (key.into_owned(), value.into_owned().into())).collect())
    }

    /// A field that is there and not null.
    pub(super) fn value(&self, name: &str) -> Option<&Value> {
        self.0.get(name).filter(|value| !value.is_null())
    }

    /// Whether there is such a field, null or not.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&str>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Refusal::unprocessable(name, "Input should be a valid string")),
        }
    }

    /// An id: a text, or a number that is meant as one.
    pub(super) fn id(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.trim().to_owned())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(Refusal::unprocessable(name, "Input should be a valid string")),
        }
    }

    /// Yes or no.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(Value::String(text)) => match text.to_ascii_lowercase().as_str() {
                "true" | "1" => Ok(Some(true)),
                "false" | "0" => Ok(Some(false)),
                _ => Err(Refusal::unprocessable(name, "Input should be a valid boolean")),
            },
            Some(_) => Err(Refusal::unprocessable(name, "Input should be a valid boolean")),
        }
    }

    /// A whole number from `least` to `most`.
    pub(super) fn count(
        &self,
        name: &str,
        least: usize,
        most: usize,
    ) -> Result<Option<usize>, Refusal> {
        let number = match self.value(name) {
            None => return Ok(None),
            // In JSON 3.0 is as whole a number as 3.
            Some(Value::Number(number)) => number.as_u64().or_else(|| {
                let number = number.as_f64().filter(|it| it.fract() == 0.0)?;
                (0.0..1e15).contains(&number).then_some(number as u64)
            }),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        let number = number.and_then(|number| usize::try_from(number).ok());
        match number.filter(|number| (least..=most).contains(number)) {
            Some(number) => Ok(Some(number)),
            None => Err(Refusal::unprocessable(
                name,
                &format!("Input should be a whole number from {least} to {most}"),
            )),
        }
    }

    /// A number from 0 to 1.
    pub(super) fn fraction(&self, name: &str) -> Result<Option<f64>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(value) => match value.as_f64().filter(|it| (0.0..=1.0).contains(it)) {
                Some(fraction) => Ok(Some(fraction)),
                None => Err(Refusal::bad_request(format!(
                    "Invalid {name}: must be a number between 0 and 1."
                ))),
            },
        }
    }

    /// An object.
    pub(super) fn object(&self, name: &str) -> Result<Option<&Map<String, Value>>, Refusal> {
        match self.value(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(object)),
            Some(_) => Err(Refusal::unprocessable(name, "Input should be a valid dictionary")),
        }
    }

    /// A date, or null to have none; `None`: the field is not there.
    pub(super) fn date(&self, name: &str) -> Result<Option<Option<Date>>, Refusal> {
        if !self.has(name) {
            return Ok(None);
        }
        let Some(text) = self.text(name)? else { return Ok(Some(None)) };
        match filter::date(text) {
            Some(day) => Ok(Some(Some(day))),
            None => Err(Refusal::bad_request(format!(
                "Invalid {name}: {text:?} is no date; write YYYY-MM-DD."
            ))),
        }
    }

    /// A time in milliseconds: seconds since the Unix epoch, or RFC 3339.
    pub(super) fn millis(&self, name: &str, zone: &TimeZone) -> Result<Option<i64>, Refusal> {
        let millis = match self.value(name) {
            None => return Ok(None),
            Some(Value::Number(seconds)) => {
                let seconds = seconds.as_f64().filter(|it| it.abs() < 1e11);
                seconds.map(|seconds| (seconds * 1_000.0) as i64)
            }
            Some(Value::String(text)) => filter::time(text, zone).map(|at| at.as_millisecond()),
            Some(_) => None,
        };
        match millis {
            Some(millis) => Ok(Some(millis)),
            None => Err(Refusal::bad_request(format!(
                "Invalid {name}: write seconds since 1970 or 2026-01-31T08:00:00+08:00."
            ))),
        }
    }

    /// The scope that the fields `user_id`, `agent_id`, `app_id` and `run_id` name; everything, if
    /// none does. `*` is left out, and told by the second.
    pub(super) fn scope(&self) -> Result<(Scope, Vec<Entity>), Refusal> {
        let mut scope = Scope::default();
        let mut any = Vec::new();
        for entity in Entity::ALL {
            let name = format!("{}_id", entity.name());
            match self.id(&name)? {
                None => {}
                Some(id) if id == "*" => any.push(entity),
                Some(id) => scope = scope.with(entity, &id)?,
            }
        }
        Ok((scope, any))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(value: Value) -> Fields {
        Fields::of_body(value.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn what_a_field_is_not_is_said_with_its_name() {
        let wrong = fields(json!({"a": [1], "b": -1, "c": 2, "d": "soon"}));
        for refusal in [
            wrong.text("a").unwrap_err(),
            wrong.id("a").unwrap_err(),
            wrong.flag("a").unwrap_err(),
            wrong.object("a").unwrap_err(),
        ] {
            assert_eq!(refusal.into_response().status(), 422);
        }
        assert!(wrong.count("b", 0, 9).is_err() && wrong.count("c", 0, 1).is_err());
        assert_eq!(fields(json!({"n": 3.0})).count("n", 0, 9), Ok(Some(3)));
        assert!(fields(json!({"n": 3.5})).count("n", 0, 9).is_err());
        assert!(wrong.fraction("c").is_err() && wrong.date("d").is_err());
        assert!(wrong.millis("d", &TimeZone::UTC).is_err());
    }

    #[test]
    fn numbers_and_flags_are_taken_as_clients_write_them() {
        let query = Fields::of_query("page=2&show_expired=True&user_id=a%20b&page=3");
        assert_eq!(query.count("page", 1, 9), Ok(Some(3)));
        assert_eq!(query.flag("show_expired"), Ok(Some(true)));
        let (scope, any) = query.scope().unwrap();
        assert_eq!((scope.to_string().as_str(), any), ("user_id=a b", vec![]));
        assert_eq!(fields(json!({"user_id": 7})).id("user_id"), Ok(Some("7".into())));
        let (scope, any) = fields(json!({"user_id": "*", "run_id": "r"})).scope().unwrap();
        assert_eq!((scope.to_string().as_str(), any), ("run_id=r", vec![Entity::User]));
    }

    #[test]
    fn null_is_no_value_but_clears_a_date() {
        let null = fields(json!({"text": null, "expiration_date": null}));
        assert_eq!(null.text("text"), Ok(None));
        assert_eq!(null.date("expiration_date"), Ok(Some(None)));
        assert_eq!(null.date("other"), Ok(None));
        assert_eq!(Fields::of_body(b" "), Ok(Fields::default()));
        assert!(Fields::of_body(b"[]").is_err() && Fields::of_body(b"{").is_err());
    }

    #[test]
    fn a_time_is_seconds_or_text() {
        let at = fields(json!({"a": 1.5, "b": "1970-01-01T08:00:01+08:00", "c": 1e300}));
        assert_eq!(at.millis("a", &TimeZone::UTC), Ok(Some(1_500)));
        assert_eq!(at.millis("b", &TimeZone::UTC), Ok(Some(1_000)));
        assert!(at.millis("c", &TimeZone::UTC).is_err());
    }
}
