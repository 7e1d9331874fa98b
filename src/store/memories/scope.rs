//! Whose a memory is.

use std::borrow::Cow;
use std::fmt;

/// What a memory can belong to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// An AI agent.
    Agent,
    /// An application.
    App,
    /// A run, or session.
    Run,
    /// A person.
    User,
}

impl Entity {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::User, Self::Agent, Self::App, Self::Run];

    /// Its name: `user`, `agent`, `app` or `run`.
    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Agent => "agent",
            Self::App => "app",
            Self::Run => "run",
        }
    }

    /// The entity of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|entity| entity.name() == name)
    }
}

/// Begins the name of an owner that is no person; no id may hold it.
const NO_PERSON: char = '\u{1f}';
/// Longest id, in characters.
const MAX_ID: usize = 256;

/// Why an id is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadId {
    /// It has nothing but blanks.
    #[error("{}_id must not be empty", .0.name())]
    Empty(Entity),
    /// It has a control character.
    #[error("{}_id must not contain control characters", .0.name())]
    Control(Entity),
    /// It is longer than 256 characters.
    #[error("{}_id must have at most 256 characters", .0.name())]
    TooLong(Entity),
}

/// Whose memories: every read and write names one, and metadata can never change it.
///
/// Without a user it means, for a write, what belongs to no person; for a read, whatever bears the
/// other ids.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Scope {
    user: Option<String>,
    agent: Option<String>,
    app: Option<String>,
    run: Option<String>,
}

impl Scope {
    /// All that belongs to a person; `None` for an empty id, which would be everybody.
    pub fn user(user_id: &str) -> Option<Self> {
        Self::default().with(Entity::User, user_id).ok()
    }

    /// All that belongs to an entity.
    pub fn of(entity: Entity, id: &str) -> Result<Self, BadId> {
        Self::default().with(entity, id)
    }

    /// The same, narrowed to an entity.
    pub fn with(mut self, entity: Entity, id: &str) -> Result<Self, BadId> {
        if id.trim().is_empty() {
            return Err(BadId::Empty(entity));
        }
        if id.chars().any(char::is_control) {
            return Err(BadId::Control(entity));
        }
        if id.chars().count() > MAX_ID {
            return Err(BadId::TooLong(entity));
        }
        *self.place(entity) = Some(id.to_owned());
        Ok(self)
    }

    fn place(&mut self, entity: Entity) -> &mut Option<String> {
        match entity {
            Entity::User => &mut self.user,
            Entity::Agent => &mut self.agent,
            Entity::App => &mut self.app,
            Entity::Run => &mut self.run,
        }
    }

    /// The id of an entity, if the scope is narrowed to one.
    pub fn id(&self, entity: Entity) -> Option<&str> {
        match entity {
            Entity::User => self.user.as_deref(),
            Entity::Agent => self.agent.as_deref(),
            Entity::App => self.app.as_deref(),
            Entity::Run => self.run.as_deref(),
        }
    }

    /// Whether nothing narrows it: everybody's memories.
    pub fn is_everything(&self) -> bool {
        Entity::ALL.iter().all(|entity| self.id(*entity).is_none())
    }

    /// Whether it is all that a person has.
    pub fn is_whole_person(&self) -> bool {
        let others = [Entity::Agent, Entity::App, Entity::Run];
        self.user.is_some() && others.iter().all(|entity| self.id(*entity).is_none())
    }

    /// Who has the series of numbers, and the statistics, of what is written in this scope: the
    /// person, else the first of agent, application and run.
    pub fn owner(&self) -> Cow<'_, str> {
        if let Some(user) = &self.user {
            return Cow::Borrowed(user);
        }
        let first = [Entity::Agent, Entity::App, Entity::Run].into_iter();
        let owner = first.filter_map(|entity| Some((entity.name(), self.id(entity)?))).next();
        let (kind, id) = owner.unwrap_or_default();
        Cow::Owned(format!("{NO_PERSON}{kind}{NO_PERSON}{id}"))
    }
}

/// The person behind the name of an owner, unless it is none.
pub(in crate::store) fn person(owner: &str) -> Option<&str> {
    (!owner.starts_with(NO_PERSON)).then_some(owner)
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for entity in Entity::ALL {
            if let Some(id) = self.id(entity) {
                write!(f, "{between}{}_id={id}", entity.name())?;
                between = " ";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_that_is_no_person_is_taken_for_none() {
        let agent = Scope::of(Entity::Agent, "chef").unwrap();
        assert_eq!(person(&agent.owner()), None);
        assert_eq!(person(&Scope::user("chef").unwrap().owner()), Some("chef"));
        assert_ne!(agent.owner(), Scope::of(Entity::Run, "chef").unwrap().owner());
        // Nobody can take its name.
        assert_eq!(Scope::of(Entity::User, &agent.owner()), Err(BadId::Control(Entity::User)));
    }

    #[test]
    fn a_person_comes_before_what_narrows() {
        let scope = Scope::of(Entity::Run, "r").unwrap().with(Entity::User, "ann").unwrap();
        assert_eq!(scope.owner(), "ann");
        assert_eq!(scope.to_string(), "user_id=ann run_id=r");
        assert!(!scope.is_whole_person());
        assert!(Scope::user("ann").unwrap().is_whole_person());
        assert!(Scope::default().is_everything());
    }

    #[test]
    fn what_is_no_id_is_refused() {
        assert_eq!(Scope::of(Entity::App, " "), Err(BadId::Empty(Entity::App)));
        assert_eq!(Scope::of(Entity::User, &"安".repeat(257)), Err(BadId::TooLong(Entity::User)));
        assert_eq!(Scope::user(""), None);
    }
}
