//! What a conversation needs of a store.

use async_trait::async_trait;

use super::Result;

/// Who said a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TurnRole {
    /// The person.
    User,
    /// The bot.
    Assistant,
}

/// Something said, to be kept.
#[derive(Debug, Clone)]
pub struct NewTurn {
    /// Who said it.
    pub role: TurnRole,
    /// What.
    pub text: String,
    /// When.
    pub at: i64,
}

/// Something said.
pub type Turn = NewTurn;

/// How a thread goes on.
#[derive(Debug, Clone, Default)]
pub struct Continuation {
    /// The thread.
    pub thread: String,
    /// The person whose thread it is.
    pub user_id: String,
    /// The message it goes on with: forgetting what was made from that takes the turns along.
    pub source: String,
    /// What was said.
    pub turns: Vec<NewTurn>,
    /// Forget what was said before.
    pub forget_before: bool,
    /// What the bot now waits to hear a yes to, and until when; `None` takes an older question
    /// back.
    pub question: Option<(String, i64)>,
    /// What the person was told that is told once.
    pub told: Option<&'static str>,
}

/// Recent turns, and what the bot waits to hear. A thread is one person in one conversation.
#[async_trait]
pub trait ConversationStore {
    /// The newest turns of a thread, oldest of them first.
    async fn recent_turns(&self, thread: &str, limit: usize) -> Result<Vec<Turn>>;

    /// What the bot waits to hear a yes to in a thread, if it is not too late.
    async fn open_question(&self, thread: &str, now: i64) -> Result<Option<String>>;

    /// Lets a thread go on, for an answer to no message of the inbox.
    async fn continue_thread(&self, continuation: Continuation) -> Result<()>;

    /// Whether a person was told something that is told once, see [`Continuation::told`].
    async fn was_told(&self, user_id: &str, what: &str) -> Result<bool>;

    /// Forgets turns older than `before`, at most `limit`; returns how many.
    async fn prune_turns(&self, before: i64, limit: usize) -> Result<usize>;
}
