//! A selection of memories as SQL: what narrows a read is asked of the database, never applied to
//! what it has cut.

use std::fmt::Write as _;

use rusqlite::types::Value as Sql;
use serde_json::Value;

use crate::store::{Entity, Field, Filter, Order, Scope, Selection, Test};

/// The tables that a [`Condition`] speaks of.
pub(super) const FROM: &str = "memories m JOIN owners o ON o.id = m.owner";

/// The person whose a memory is; null, if it is nobody's.
const PERSON: &str = "CASE WHEN substr(o.user_id, 1, 1) = char(31) THEN NULL ELSE o.user_id END";

/// A condition on a row of [`FROM`], with the values of its parameters in their order.
#[derive(Debug, Default)]
pub(super) struct Condition {
    pub(super) text: String,
    pub(super) values: Vec<Sql>,
}

impl Condition {
    /// What is selected.
    pub(super) fn of(selection: &Selection) -> Self {
        let mut condition = Self::default();
        condition.scopes(&selection.scopes);
        condition.rest(selection);
        condition
    }

    /// What of an owner's memories is selected; `scopes` are those by which the owner came in.
    pub(super) fn within(owner: i64, scopes: &[Scope], selection: &Selection) -> Self {
        let mut condition = Self::default();
        condition.text.push_str("m.owner = ?");
        condition.values.push(Sql::Integer(owner));
        condition.text.push_str(" AND ");
        condition.scopes(scopes);
        condition.rest(selection);
        condition
    }

    fn rest(&mut self, selection: &Selection) {
        if let Some(day) = selection.alive_on {
            self.text.push_str(" AND (m.expires_on IS NULL OR m.expires_on >= ?)");
            self.values.push(Sql::Text(day.to_string()));
        }
        if selection.current_only {
            self.text.push_str(" AND m.superseded_at IS NULL");
        }
        if let Some(filter) = &selection.filter {
            self.text.push_str(" AND ");
            self.filter(filter);
        }
    }

    fn scopes(&mut self, scopes: &[Scope]) {
        self.list(scopes, " OR ", "FALSE", |condition, scope| {
            condition.list(&Entity::ALL, " AND ", "TRUE", |condition, entity| {
                let Some(id) = scope.id(*entity) else {
                    condition.text.push_str("TRUE");
                    return;
                };
                condition.text.push_str(match entity {
                    Entity::User => "m.owner = (SELECT id FROM owners WHERE user_id = ?)",
                    Entity::Agent => "m.agent_id = ?",
                    Entity::App => "m.app_id = ?",
                    Entity::Run => "m.run_id = ?",
                });
                condition.values.push(Sql::Text(id.to_owned()));
            });
        });
    }

    fn list<T>(&mut self, parts: &[T], between: &str, empty: &str, each: impl Fn(&mut Self, &T)) {
        if parts.is_empty() {
            self.text.push_str(empty);
            return;
        }
        self.text.push('(');
        for (index, part) in parts.iter().enumerate() {
            if index > 0 {
                self.text.push_str(between);
            }
            each(self, part);
        }
        self.text.push(')');
    }

    fn filter(&mut self, filter: &Filter) {
        match filter {
            Filter::All(parts) => self.list(parts, " AND ", "TRUE", Self::filter),
            Filter::Any(parts) => self.list(parts, " OR ", "FALSE", Self::filter),
            Filter::Not(part) => {
                self.text.push_str("NOT ");
                self.filter(part);
            }
            Filter::Is(field, test) => {
                // What cannot be told is not met, so that its negation is.
                self.text.push_str("coalesce(");
                match field {
                    Field::Metadata(key) => self.json("m.metadata", Some(key), test),
                    Field::Categories => self.json("m.categories", None, test),
                    field => self.column(column(field), test),
                }
                self.text.push_str(", FALSE)");
            }
        }
    }

    /// A test of a column that holds one value.
    fn column(&mut self, column: &str, test: &Test) {
        match test {
            Test::OneOf(values) => {
                let _ = write!(self.text, "{column} IN (");
                for (index, value) in values.iter().enumerate() {
                    self.text.push_str(if index > 0 { ", ?" } else { "?" });
                    self.values.push(plain(value));
                }
                self.text.push(')');
            }
            Test::Compares(order, value) => {
                let _ = write!(self.text, "{column} {} ?", sign(*order));
                self.values.push(plain(value));
            }
            Test::Contains(part) => self.value(&format!("instr({column}, ?) > 0"), part),
            Test::ContainsFolded(part) => {
                self.value(&format!("instr(fold({column}), fold(?)) > 0"), part);
            }
            Test::Present => {
                let _ = write!(self.text, "{column} IS NOT NULL");
            }
        }
    }

    /// A test of what a JSON object holds under `key`, or of the elements of a JSON array.
    fn json(&mut self, column: &str, key: Option<&str>, test: &Test) {
        let _ = write!(self.text, "EXISTS (SELECT 1 FROM json_each({column}) j WHERE ");
        if let Some(key) = key {
            self.value("j.key = ? AND ", key);
        }
        match test {
            Test::OneOf(values) => self.list(values, " OR ", "FALSE", Self::equals),
            Test::Compares(order, Value::Number(number)) => {
                let _ = write!(
                    self.text,
                    "j.type IN ('integer', 'real') AND j.value {} ?",
                    sign(*order)
                );
                self.values.push(plain(&Value::Number(number.clone())));
            }
            Test::Compares(order, Value::String(text)) => {
                self.value(&format!("j.type = 'text' AND j.value {} ?", sign(*order)), text);
            }
            Test::Compares(..) => self.text.push_str("FALSE"),
            Test::Contains(part) => {
                self.value("(j.type = 'text' AND instr(j.value, ?) > 0", part);
                self.value(
                    " OR j.type = 'array' AND EXISTS (
                       SELECT 1 FROM json_each(j.value) e WHERE e.value = ?))",
                    part,
                );
            }
            Test::ContainsFolded(part) => {
                self.value("(j.type = 'text' AND instr(fold(j.value), fold(?)) > 0", part);
                self.value(
                    " OR j.type = 'array' AND EXISTS (
                       SELECT 1 FROM json_each(j.value) e
                       WHERE e.type = 'text' AND fold(e.value) = fold(?)))",
                    part,
                );
            }
            Test::Present => self.text.push_str("j.type <> 'null'"),
        }
        self.text.push(')');
    }

    /// Whether the row `j` of `json_each` has this value.
    fn equals(&mut self, value: &Value) {
        match value {
            Value::Null => self.text.push_str("j.type = 'null'"),
            Value::Bool(true) => self.text.push_str("j.type = 'true'"),
            Value::Bool(false) => self.text.push_str("j.type = 'false'"),
            Value::Number(_) => {
                self.text.push_str("(j.type IN ('integer', 'real') AND j.value = ?)");
                self.values.push(plain(value));
            }
            Value::String(text) => self.value("(j.type = 'text' AND j.value = ?)", text),
            Value::Array(_) | Value::Object(_) => {
                let text = value.to_string();
                self.value("(j.type IN ('array', 'object') AND j.value = json(?))", &text);
            }
        }
    }

    fn value(&mut self, text: &str, value: &str) {
        self.text.push_str(text);
        self.values.push(Sql::Text(value.to_owned()));
    }
}

fn column(field: &Field) -> &'static str {
    match field {
        Field::User => PERSON,
        Field::Agent => "m.agent_id",
        Field::App => "m.app_id",
        Field::Run => "m.run_id",
        Field::Actor => "m.actor_id",
        Field::Role => "m.role",
        Field::Id => "m.id",
        Field::Text => "m.text",
        Field::CreatedAt => "m.created_at",
        Field::UpdatedAt => "coalesce(m.updated_at, m.created_at)",
        Field::ExpiresOn => "m.expires_on",
        Field::Categories => "m.categories",
        Field::Metadata(_) => "m.metadata",
    }
}

fn sign(order: Order) -> &'static str {
    match order {
        Order::Greater => ">",
        Order::AtLeast => ">=",
        Order::Less => "<",
        Order::AtMost => "<=",
    }
}

/// A value as SQLite compares it.
fn plain(value: &Value) -> Sql {
    match value {
        Value::Null => Sql::Null,
        Value::Bool(it) => Sql::Integer(i64::from(*it)),
        Value::Number(number) => match number.as_i64() {
            Some(integer) => Sql::Integer(integer),
            None => Sql::Real(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => Sql::Text(text.clone()),
        Value::Array(_) | Value::Object(_) => Sql::Text(value.to_string()),
    }
}
