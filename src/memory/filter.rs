//! The filter language of Mem0's clients: JSON, nested by `AND`, `OR` and `NOT`.
//!
//! ```json
//! {"AND": [{"user_id": "ann"}, {"OR": [{"priority": {"gte": 7}}, {"categories": {"in": ["work"]}}]}]}
//! ```
//!
//! Keys beside each other are a conjunction; a list means any of its elements, `"*"` any value at
//! all. Operators: `eq ne in nin gt gte lt lte contains icontains`. Times are RFC 3339, a date, or
//! seconds since the Unix epoch; a date means the whole day in `memory.time_zone`. Source:
//! docs.mem0.ai, "Memory filters" of the platform and "Metadata filtering" of the open-source
//! server; what the two disagree on is taken as both mean it.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use serde_json::{Map, Value};

use crate::store::{BadId, Entity, Field, Filter, Order, Scope, Test};

/// Deepest nesting of a filter.
const MAX_DEPTH: usize = 12;
/// Most conditions in a filter.
const MAX_CONDITIONS: usize = 256;
/// Most scopes that one filter can name.
const MAX_SCOPES: usize = 64;

/// Why a filter is none, in a sentence for who wrote it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadFilter(String);

impl From<BadId> for BadFilter {
    fn from(error: BadId) -> Self {
        Self(error.to_string())
    }
}

/// Whose vocabulary a filter is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The open-source server's: a key that is none of a memory's own is one of its metadata.
    Server,
    /// The platform's: such a key is an error, metadata stand under `metadata`.
    Platform,
}

/// A filter, understood.
#[derive(Debug, Clone, PartialEq)]
pub struct Parsed {
    /// Whose memories it can select at all: those of one of these scopes. `None`: anybody's.
    pub scopes: Option<Vec<Scope>>,
    /// The whole condition; `None`: the scopes say all of it.
    pub filter: Option<Filter>,
    /// Whether it selects by `*`: every user, agent, application or run.
    pub wildcard: bool,
}

/// Reads a filter.
pub fn parse(filter: &Value, dialect: Dialect, zone: &TimeZone) -> Result<Parsed, BadFilter> {
    let Value::Object(object) = filter else {
        return Err(bad("filters must be an object, such as {\"user_id\": \"ann\"}"));
    };
    let mut reader = Reader { dialect, zone, conditions: 0, wildcard: false };
    let filter = reader.object(object, 0)?;
    let scopes = scopes(&filter)?;
    let filter = (scopes.is_none() || !names_scopes_alone(&filter)).then_some(filter);
    Ok(Parsed { scopes, filter, wildcard: reader.wildcard })
}

/// Whether a condition is about nothing but whose memories are meant.
fn names_scopes_alone(filter: &Filter) -> bool {
    match filter {
        Filter::Is(Field::User | Field::Agent | Field::App | Field::Run, Test::OneOf(_)) => true,
        Filter::Is(..) | Filter::Not(_) => false,
        Filter::All(parts) | Filter::Any(parts) => parts.iter().all(names_scopes_alone),
    }
}

fn bad(text: impl Into<String>) -> BadFilter {
    BadFilter(text.into())
}

struct Reader<'a> {
    dialect: Dialect,
    zone: &'a TimeZone,
    conditions: usize,
    wildcard: bool,
}

/// How the values of a field are read.
enum Kind {
    Id,
    Text,
    Time,
    Day,
    Any,
}

impl Reader<'_> {
    fn object(&mut self, object: &Map<String, Value>, depth: usize) -> Result<Filter, BadFilter> {
        if depth > MAX_DEPTH {
            return Err(bad(format!("filters must be nested at most {MAX_DEPTH} deep")));
        }
        let parts = object.iter().map(|(key, value)| match key.as_str() {
            "AND" | "and" | "$and" => Ok(Filter::All(self.parts(key, value, depth)?)),
            "OR" | "or" | "$or" => Ok(Filter::Any(self.parts(key, value, depth)?)),
            // Of several: none of them, as the platform has it.
            "NOT" | "not" | "$not" => {
                Ok(Filter::Not(Box::new(Filter::Any(self.parts(key, value, depth)?))))
            }
            key => self.key(key, value),
        });
        let mut parts = parts.collect::<Result<Vec<Filter>, BadFilter>>()?;
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::All(parts) })
    }

    fn parts(&mut self, key: &str, value: &Value, depth: usize) -> Result<Vec<Filter>, BadFilter> {
        let parts = match value {
            Value::Array(parts) => parts.as_slice(),
            Value::Object(_) => std::slice::from_ref(value),
            _ => return Err(bad(format!("{key} must be a list of filters"))),
        };
        let parts = parts.iter().map(|part| match part {
            Value::Object(object) if object.is_empty() => {
                Err(bad(format!("{key} must not have an empty filter")))
            }
            Value::Object(object) => self.object(object, depth + 1),
            _ => Err(bad(format!("{key} must be a list of objects"))),
        });
        parts.collect()
    }

    fn key(&mut self, key: &str, value: &Value) -> Result<Filter, BadFilter> {
        let (field, kind) = match key {
            "user_id" | "userId" => (Field::User, Kind::Id),
            "agent_id" | "agentId" => (Field::Agent, Kind::Id),
            "app_id" | "appId" => (Field::App, Kind::Id),
            "run_id" | "runId" | "session_id" => (Field::Run, Kind::Id),
            "actor_id" | "actorId" => (Field::Actor, Kind::Text),
            "role" => (Field::Role, Kind::Text),
            "id" | "memory_id" | "memory_ids" | "memoryIds" => (Field::Id, Kind::Text),
            "text" | "memory" | "data" | "keywords" | "keywords_search" => {
                (Field::Text, Kind::Text)
            }
            "created_at" | "createdAt" | "timestamp" => (Field::CreatedAt, Kind::Time),
            "updated_at" | "updatedAt" => (Field::UpdatedAt, Kind::Time),
            "expiration_date" | "expirationDate" => (Field::ExpiresOn, Kind::Day),
            "categories" => (Field::Categories, Kind::Any),
            "metadata" => return self.metadata(value),
            _ if self.dialect == Dialect::Platform => {
                return Err(bad(format!(
                    "Unknown filter field {key:?}; put keys of your own under \"metadata\""
                )));
            }
            _ => (Field::Metadata(key.to_owned()), Kind::Any),
        };
        // Words are looked for in the text; it need not be them.
        if key.starts_with("keywords") {
            return self.keywords(value);
        }
        self.field(key, &field, &kind, value)
    }

    /// `{"metadata": {"key": value}}`.
    fn metadata(&mut self, value: &Value) -> Result<Filter, BadFilter> {
        let Value::Object(object) = value else {
            return Err(bad("metadata must be an object, such as {\"metadata\": {\"key\": 1}}"));
        };
        // Operators on the whole, as the platform's documents have them: any of the pairs, or not.
        let parts = object.iter().map(|(key, value)| match (key.as_str(), value) {
            ("contains" | "eq", Value::Object(_)) => self.metadata(value),
            ("ne", Value::Object(_)) => Ok(Filter::Not(Box::new(self.metadata(value)?))),
            _ => self.field(key, &Field::Metadata(key.clone()), &Kind::Any, value),
        });
        Ok(Filter::All(parts.collect::<Result<_, BadFilter>>()?))
    }

    fn keywords(&mut self, value: &Value) -> Result<Filter, BadFilter> {
        let looked_for = |value: &Value| match value {
            Value::String(word) => Ok(Filter::Is(Field::Text, Test::ContainsFolded(word.clone()))),
            _ => Err(bad("keywords must be text")),
        };
        self.count()?;
        match value {
            Value::Array(words) => {
                Ok(Filter::All(words.iter().map(looked_for).collect::<Result<_, _>>()?))
            }
            Value::Object(_) => self.field("keywords", &Field::Text, &Kind::Text, value),
            value => looked_for(value),
        }
    }

    fn count(&mut self) -> Result<(), BadFilter> {
        self.conditions += 1;
        if self.conditions > MAX_CONDITIONS {
            return Err(bad(format!("filters must have at most {MAX_CONDITIONS} conditions")));
        }
        Ok(())
    }

    fn field(
        &mut self,
        key: &str,
        field: &Field,
        kind: &Kind,
        value: &Value,
    ) -> Result<Filter, BadFilter> {
        self.count()?;
        match value {
            Value::Object(operators) if !operators.is_empty() => {
                let parts = operators
                    .iter()
                    .map(|(operator, value)| self.operator(key, field, kind, operator, value));
                let mut parts = parts.collect::<Result<Vec<Filter>, BadFilter>>()?;
                Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::All(parts) })
            }
            Value::Object(_) => Err(bad(format!("{key} has no operator"))),
            Value::Array(_) => self.operator(key, field, kind, "in", value),
            value => self.operator(key, field, kind, "eq", value),
        }
    }

    fn operator(
        &mut self,
        key: &str,
        field: &Field,
        kind: &Kind,
        operator: &str,
        value: &Value,
    ) -> Result<Filter, BadFilter> {
        self.count()?;
        let is = |test| Filter::Is(field.clone(), test);
        let not = |filter| Filter::Not(Box::new(filter));
        Ok(match operator {
            "eq" | "in" | "ne" | "nin" => {
                let values = match (operator, value) {
                    ("in" | "nin", Value::Array(values)) => values.as_slice(),
                    ("in" | "nin", _) => {
                        return Err(bad(format!("{key}: {operator} takes a list")));
                    }
                    _ => std::slice::from_ref(value),
                };
                // A caller's variable that is not set says "any"; a list of such says nothing.
                if matches!(kind, Kind::Id) && value.is_array() && values.contains(&Value::Null) {
                    return Err(bad(format!("{key} must be text")));
                }
                let equal = self.one_of(key, field, kind, values)?;
                if matches!(operator, "eq" | "in") { equal } else { not(equal) }
            }
            "gt" => self.compared(key, field, kind, Order::Greater, value)?,
            "gte" => self.compared(key, field, kind, Order::AtLeast, value)?,
            "lt" => self.compared(key, field, kind, Order::Less, value)?,
            "lte" => self.compared(key, field, kind, Order::AtMost, value)?,
            "contains" | "icontains" => {
                let words = match value {
                    Value::String(word) => vec![word.clone()],
                    Value::Number(number) => vec![number.to_string()],
                    Value::Array(words) => {
                        let text = |word: &Value| word.as_str().map(str::to_owned);
                        words
                            .iter()
                            .map(text)
                            .collect::<Option<_>>()
                            .ok_or_else(|| bad(format!("{key}: {operator} takes text")))?
                    }
                    _ => return Err(bad(format!("{key}: {operator} takes text"))),
                };
                let each = words.into_iter().map(|word| match (operator, field) {
                    ("contains", Field::Categories) => is(Test::OneOf(vec![word.into()])),
                    ("contains", _) => is(Test::Contains(word)),
                    _ => is(Test::ContainsFolded(word)),
                });
                Filter::All(each.collect())
            }
            unknown => {
                return Err(bad(format!(
                    "{key}: unknown operator {unknown:?}; there is eq, ne, in, nin, gt, gte, lt, \
                     lte, contains, icontains"
                )));
            }
        })
    }

    fn one_of(
        &mut self,
        key: &str,
        field: &Field,
        kind: &Kind,
        values: &[Value],
    ) -> Result<Filter, BadFilter> {
        let mut equal = Vec::new();
        let mut parts = Vec::new();
        for value in values {
            match (value, kind) {
                (Value::String(any), _) if any == "*" => {
                    self.wildcard |= matches!(kind, Kind::Id);
                    parts.push(Filter::Is(field.clone(), Test::Present));
                }
                // Without a value.
                (Value::Null, Kind::Id | Kind::Text | Kind::Day) => {
                    parts.push(Filter::Not(Box::new(Filter::Is(field.clone(), Test::Present))));
                }
                (value, Kind::Time) => parts.push(self.at(key, field, value)?),
                (value, Kind::Day) => equal.push(self.day(key, value)?.to_string().into()),
                (Value::String(_), _) | (_, Kind::Any) => equal.push(value.clone()),
                (Value::Number(number), _) => equal.push(number.to_string().into()),
                _ => return Err(bad(format!("{key} must be text"))),
            }
        }
        if !equal.is_empty() || parts.is_empty() {
            parts.push(Filter::Is(field.clone(), Test::OneOf(equal)));
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { Filter::Any(parts) })
    }

    fn compared(
        &self,
        key: &str,
        field: &Field,
        kind: &Kind,
        order: Order,
        value: &Value,
    ) -> Result<Filter, BadFilter> {
        let value = match kind {
            Kind::Time => {
                let (from, to) = self.span(key, value)?;
                // Before a day is before it begins, and after it is after it has ended.
                let edge = match order {
                    Order::AtLeast | Order::Less => from,
                    Order::Greater | Order::AtMost => to,
                };
                edge.into()
            }
            Kind::Day => self.day(key, value)?.to_string().into(),
            Kind::Any if matches!(value, Value::Number(_) | Value::String(_)) => value.clone(),
            Kind::Text if value.is_string() => value.clone(),
            _ => return Err(bad(format!("{key} cannot be compared with {value}"))),
        };
        Ok(Filter::Is(field.clone(), Test::Compares(order, value)))
    }

    /// At a time, or on a day.
    fn at(&self, key: &str, field: &Field, value: &Value) -> Result<Filter, BadFilter> {
        let (from, to) = self.span(key, value)?;
        let compares = |order, at: i64| Filter::Is(field.clone(), Test::Compares(order, at.into()));
        Ok(Filter::All(vec![compares(Order::AtLeast, from), compares(Order::AtMost, to)]))
    }

    /// The first and the last millisecond of a time.
    fn span(&self, key: &str, value: &Value) -> Result<(i64, i64), BadFilter> {
        let unreadable = || {
            bad(format!(
                "{key}: {value} is no time; write 2026-01-31, 2026-01-31T08:00:00+08:00, or \
                 seconds since 1970"
            ))
        };
        match value {
            Value::Number(seconds) => {
                let millis = seconds.as_f64().ok_or_else(unreadable)? * 1_000.0;
                if !millis.is_finite() || millis.abs() > 1e16 {
                    return Err(unreadable());
                }
                Ok((millis as i64, millis as i64))
            }
            Value::String(text) => {
                if let Some(day) = date(text) {
                    let begins = |day: Date| -> Result<i64, BadFilter> {
                        let begun = day.to_zoned(self.zone.clone()).map_err(|_| unreadable())?;
                        Ok(begun.timestamp().as_millisecond())
                    };
                    let next = day.checked_add(1.day()).map_err(|_| unreadable())?;
                    return Ok((begins(day)?, begins(next)? - 1));
                }
                let at = time(text, self.zone).ok_or_else(unreadable)?.as_millisecond();
                Ok((at, at))
            }
            _ => Err(unreadable()),
        }
    }

    fn day(&self, key: &str, value: &Value) -> Result<Date, BadFilter> {
        let text = value.as_str().unwrap_or_default();
        let day =
            date(text).or_else(|| Some(time(text, self.zone)?.to_zoned(self.zone.clone()).date()));
        day.ok_or_else(|| bad(format!("{key}: {value} is no date; write 2026-01-31")))
    }
}

/// A date and nothing else: the parser of dates would pass over a time behind it.
pub fn date(text: &str) -> Option<Date> {
    (text.len() == 10).then(|| text.parse().ok()).flatten()
}

/// A point in time; one without an offset is meant in `zone`.
pub fn time(text: &str, zone: &TimeZone) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(zone.clone()).ok().map(|zoned| zoned.timestamp())
    })
}

/// The scopes of which one must hold where the filter is met; `None`: it can be met anywhere.
fn scopes(filter: &Filter) -> Result<Option<Vec<Scope>>, BadFilter> {
    match filter {
        Filter::Not(_) => Ok(None),
        Filter::Is(field, Test::OneOf(values)) => {
            let entity = match field {
                Field::User => Entity::User,
                Field::Agent => Entity::Agent,
                Field::App => Entity::App,
                Field::Run => Entity::Run,
                _ => return Ok(None),
            };
            let scopes = values.iter().filter_map(Value::as_str);
            let scopes = scopes.map(|id| Scope::of(entity, id)).collect::<Result<Vec<_>, _>>()?;
            limited(scopes).map(Some)
        }
        Filter::Is(..) => Ok(None),
        Filter::All(parts) => {
            let mut narrowed: Option<Vec<Scope>> = None;
            for part in parts {
                let Some(found) = scopes(part)? else { continue };
                narrowed = Some(match narrowed {
                    None => found,
                    Some(known) => limited(both(&known, &found)?)?,
                });
            }
            Ok(narrowed)
        }
        Filter::Any(parts) => {
            let mut any = Vec::new();
            for part in parts {
                let Some(found) = scopes(part)? else { return Ok(None) };
                any.extend(found);
            }
            limited(any).map(Some)
        }
    }
}

fn limited(scopes: Vec<Scope>) -> Result<Vec<Scope>, BadFilter> {
    if scopes.len() > MAX_SCOPES {
        return Err(bad(format!("filters must name at most {MAX_SCOPES} users, agents and so on")));
    }
    Ok(scopes)
}

/// Every scope of one list narrowed by every one of the other; two that exclude each other select
/// nothing.
fn both(some: &[Scope], others: &[Scope]) -> Result<Vec<Scope>, BadFilter> {
    let mut narrowed = Vec::new();
    for one in some {
        'others: for other in others {
            let mut scope = one.clone();
            for entity in Entity::ALL {
                match (scope.id(entity), other.id(entity)) {
                    (Some(a), Some(b)) if a != b => continue 'others,
                    (None, Some(id)) => scope = scope.with(entity, id)?,
                    _ => {}
                }
            }
            narrowed.push(scope);
        }
    }
    Ok(narrowed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(filter: Value) -> Result<Parsed, BadFilter> {
        let zone = TimeZone::get("Asia/Shanghai").unwrap();
        parse(&filter, Dialect::Server, &zone)
    }

    fn named(filter: Value) -> Option<Vec<String>> {
        let scopes = parsed(filter).unwrap().scopes?;
        Some(scopes.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn whose_it_is_about_is_found_wherever_it_must_hold() {
        for (filter, scopes) in [
            (json!({"user_id": "ann"}), vec!["user_id=ann"]),
            (json!({"AND": [{"user_id": "ann"}]}), vec!["user_id=ann"]),
            (json!({"AND": [{"AND": [{"userId": "ann"}]}, {"x": 1}]}), vec!["user_id=ann"]),
            (json!({"user_id": "ann", "run_id": 7}), vec!["user_id=ann run_id=7"]),
            (json!({"user_id": ["ann", "bob"]}), vec!["user_id=ann", "user_id=bob"]),
            (
                json!({"OR": [{"user_id": "ann"}, {"agent_id": "chef"}]}),
                vec!["user_id=ann", "agent_id=chef"],
            ),
            (
                json!({"agent_id": "chef", "OR": [{"user_id": "ann"}, {"user_id": "bob"}]}),
                vec!["user_id=ann agent_id=chef", "user_id=bob agent_id=chef"],
            ),
            (json!({"AND": [{"user_id": "ann"}, {"user_id": "bob"}]}), vec![]),
        ] {
            let scopes = scopes.into_iter().map(str::to_owned).collect();
            assert_eq!(named(filter.clone()), Some(scopes), "{filter}");
        }
    }

    #[test]
    fn what_can_be_met_by_anybody_names_nobody() {
        for filter in [
            json!({}),
            json!({"NOT": {"user_id": "ann"}}),
            json!({"user_id": {"ne": "ann"}}),
            json!({"OR": [{"user_id": "ann"}, {"x": 1}]}),
            json!({"user_id": "*"}),
            json!({"user_id": ["ann", "*"]}),
            json!({"metadata": {"user_id": "ann"}}),
        ] {
            assert_eq!(named(filter.clone()), None, "{filter}");
        }
        assert!(parsed(json!({"user_id": "*"})).unwrap().wildcard);
        assert!(!parsed(json!({"x": "*"})).unwrap().wildcard);
    }

    #[test]
    fn who_is_meant_and_nothing_else_is_said_by_the_scopes() {
        for (filter, alone) in [
            (json!({"user_id": "ann"}), true),
            (json!({"AND": [{"user_id": "ann"}, {"OR": [{"run_id": 1}, {"run_id": 2}]}]}), true),
            (json!({"user_id": "ann", "x": 1}), false),
            (json!({"AND": [{"user_id": "ann"}, {"NOT": {"run_id": "1"}}]}), false),
            (json!({"user_id": "*"}), false),
        ] {
            assert_eq!(parsed(filter.clone()).unwrap().filter.is_none(), alone, "{filter}");
        }
    }

    #[test]
    fn a_day_is_meant_where_the_people_are() {
        let filter = parsed(json!({"created_at": {"gte": "2026-01-31", "lte": "2026-01-31"}}));
        let begins: Timestamp = "2026-01-31T00:00:00+08:00".parse().unwrap();
        let (begins, ends) = (begins.as_millisecond(), begins.as_millisecond() + 86_400_000 - 1);
        let is = |order, at: i64| Filter::Is(Field::CreatedAt, Test::Compares(order, at.into()));
        let expected = Filter::All(vec![is(Order::AtLeast, begins), is(Order::AtMost, ends)]);
        let expected = Some(expected);
        assert_eq!(filter.unwrap().filter, expected);
        // The day itself, and what is outside of it.
        assert_eq!(parsed(json!({"created_at": "2026-01-31"})).unwrap().filter, expected);
        let after = parsed(json!({"created_at": {"gt": "2026-01-31"}})).unwrap().filter.unwrap();
        assert_eq!(after, is(Order::Greater, ends));
        let seconds = parsed(json!({"timestamp": {"lt": begins / 1_000}})).unwrap().filter.unwrap();
        assert_eq!(seconds, is(Order::Less, begins));
    }

    #[test]
    fn what_is_no_filter_is_explained() {
        for (filter, part) in [
            (json!([]), "must be an object"),
            (json!({"AND": "x"}), "AND must be a list"),
            (json!({"OR": ["x"]}), "list of objects"),
            (json!({"priority": {"about": 7}}), "unknown operator \"about\""),
            (json!({"priority": {"in": 7}}), "in takes a list"),
            (json!({"created_at": {"gte": "soon"}}), "\"soon\" is no time"),
            (json!({"expiration_date": "never"}), "is no date"),
            (json!({"user_id": ""}), "user_id must not be empty"),
            (json!({"user_id": "a\u{1f}b"}), "control characters"),
            (json!({"user_id": {"a": {}}}), "unknown operator"),
            (json!({"x": {}}), "no operator"),
        ] {
            let error = parsed(filter.clone()).unwrap_err().to_string();
            assert!(error.contains(part), "{filter}: {error}");
        }
        let unknown = parse(&json!({"mood": "x"}), Dialect::Platform, &TimeZone::UTC);
        assert!(unknown.unwrap_err().to_string().contains("\"mood\""));
    }

    #[test]
    fn a_filter_is_bounded() {
        let mut deep = json!({"user_id": "ann"});
        for _ in 0..20 {
            deep = json!({"AND": [deep]});
        }
        assert!(parsed(deep).unwrap_err().to_string().contains("deep"));
        let many: Vec<Value> = (0..400).map(|n| json!({"x": n})).collect();
        assert!(parsed(json!({"OR": many})).unwrap_err().to_string().contains("conditions"));
        let users: Vec<String> = (0..65).map(|n| n.to_string()).collect();
        assert!(parsed(json!({"user_id": users})).unwrap_err().to_string().contains("at most 64"));
    }
}
