//! Conditions on memories.

/// What a condition looks at.
#[derive(Debug, Clone, PartialEq)]
pub enum Field {
    /// The person's id.
    User,
    /// The agent's id.
    Agent,
    /// The application's id.
    App,
    /// The run's id.
    Run,
    /// Who said it.
    Actor,
    /// The role it was said in.
    Role,
    /// The UUID.
    Id,
    /// The statement.
    Text,
    /// When it was said, in milliseconds since the Unix epoch.
    CreatedAt,
    /// When it was changed, in milliseconds since the Unix epoch.
    UpdatedAt,
    /// The last day on which it holds, `YYYY-MM-DD`.
    ExpiresOn,
    /// What it is about; holds several.
    Categories,
    /// A key of the metadata.
    Metadata(String),
}

/// An order of two values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Greater.
    Greater,
    /// Greater, or equal.
    AtLeast,
    /// Less.
    Less,
    /// Less, or equal.
    AtMost,
}

/// What a condition asks of its field.
#[derive(Debug, Clone, PartialEq)]
pub enum Test {
    /// It equals one of these; of a field that holds several, any of them does.
    OneOf(Vec<serde_json::Value>),
    /// It compares so with a number or a text; values of other types do not compare.
    Compares(Order, serde_json::Value),
    /// It contains this text, or this element.
    Contains(String),
    /// The same whatever the case.
    ContainsFolded(String),
    /// There is a value.
    Present,
}

/// A condition on memories. One that cannot be told, because a memory lacks the field, is not met;
/// its negation is.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// All of these.
    All(Vec<Filter>),
    /// Any of these; none, if there is none.
    Any(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// A field is so.
    Is(Field, Test),
}
