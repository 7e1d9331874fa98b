//! What a person's own message says that is worth keeping, by one model call.
//!
//! Promises that at most two requests go to the model (none for a message that holds no
//! statement), that its answer is read however it is dressed, that what is returned was said in
//! that message (see `check`), and that a message whose answer cannot be used ends in an
//! [`ExtractError`] and not in "nothing was said": the caller keeps it and asks again later.
//!
//! Knows no store and no scope: the caller brings the few known memories that a message may
//! repeat or outdate, and carries out what the statements say of them.

pub mod answer;
mod check;
mod dates;
pub mod form;
mod json;
pub mod profile;
pub mod prompt;
mod worth;

use jiff::tz::TimeZone;

use self::answer::Reading;
use self::check::{Check, Verdict};
use super::Utterance;
use crate::llm::{ChatModel, Finish, LlmError};

pub use answer::{NotUnderstood, Statement};
pub(super) use worth::is_asked_about;

/// A memory that the message may be about, by the number that statements name it by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Different from that of each other one.
    pub number: usize,
    /// What it says.
    pub text: String,
}

/// Why it is not known what a message says. Each is a reason to try again later.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ExtractError {
    /// The model gave no answer.
    #[error(transparent)]
    Model(#[from] LlmError),
    /// The model answered twice, and neither answer could be used.
    #[error("the model's answers cannot be used for memory ({0}): choose a larger llm.model")]
    NotUnderstood(NotUnderstood),
}

impl ExtractError {
    /// A name for `error_kind` in the log and for metrics.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Model(error) => error.outcome(),
            Self::NotUnderstood(_) => "not_understood",
        }
    }

    /// Whether it is this very message that the model has trouble with. Then a few more tries are
    /// enough; of an outage the message knows nothing, and it waits however long that takes.
    pub fn blames_message(&self) -> bool {
        match self {
            Self::NotUnderstood(_) => true,
            Self::Model(error) => matches!(
                error,
                LlmError::Refused
                    | LlmError::BadRequest(_)
                    | LlmError::ContextTooLong
                    | LlmError::OutOfTokens
            ),
        }
    }
}

/// The statements that a message makes, asked of the model; none if there is nothing to keep. Of
/// `known` the first [`prompt::MAX_KNOWN`] are shown. Dates are meant in `zone`.
///
/// # Errors
/// The model gave no answer, or none that can be used after it was told what is wrong.
pub async fn extract(
    model: &ChatModel,
    utterance: &Utterance<'_>,
    known: &[Known],
    zone: &TimeZone,
) -> Result<Vec<Statement>, ExtractError> {
    if !worth::is_asked_about(utterance.text) {
        return Ok(Vec::new());
    }
    let check = Check::new(prompt::shown(utterance.text), known, &prompt::said_at(utterance, zone));
    let request = prompt::request(utterance, known, zone);
    let first = match model.complete(&request).await {
        Ok(completion) => completion,
        Err(LlmError::OutOfTokens) => {
            let answer = model.complete(&prompt::roomier(request)).await?.text;
            let verdict = judge(&answer, &check, true);
            return combined(Ok(Verdict::default()), verdict).map_err(ExtractError::NotUnderstood);
        }
        Err(error) => return Err(error.into()),
    };
    let first_judged = judge(&first.text, &check, false);
    let wrong = match &first_judged {
        Ok(verdict) if verdict.wrong.is_empty() => return Ok(believed(first_judged)),
        Ok(verdict) => verdict.wrong.clone(),
        Err(error) => vec![error.to_string()],
    };
    tracing::debug!(complaints = wrong.len(), "the model is told what is wrong with its memories");
    let mut request = prompt::again(request, &first.text, &wrong);
    if first.finish == Finish::Length {
        request = prompt::roomier(request);
    }
    let second = model.complete(&request).await?.text;
    combined(first_judged, judge(&second, &check, true)).map_err(ExtractError::NotUnderstood)
}

fn judge(answer: &str, check: &Check<'_>, last: bool) -> Result<Verdict, NotUnderstood> {
    let Reading { statements, partial } = answer::read(answer)?;
    let mut verdict = check.judge(statements, last);
    let (kept, doubted, dropped) = (verdict.kept.len(), verdict.wrong.len(), verdict.dropped);
    tracing::debug!(kept, doubted, dropped, "the model's memories were held against the message");
    if partial {
        verdict.wrong.push("it broke off, or some statements have no \"text\"".into());
    }
    Ok(verdict)
}

/// What stands after the second answer. One that corrects only what was wrong leaves the rest to
/// the first. If nothing stands though there were statements, nothing is known.
fn combined(
    first: Result<Verdict, NotUnderstood>,
    second: Result<Verdict, NotUnderstood>,
) -> Result<Vec<Statement>, NotUnderstood> {
    let refused = |verdict: &Result<Verdict, NotUnderstood>| match verdict {
        Ok(verdict) => !verdict.wrong.is_empty(),
        Err(_) => true,
    };
    let still_wrong = refused(&second);
    let reason = second.as_ref().err().copied();
    let (mut kept, corrected) = (believed(first), believed(second));
    if corrected.len() >= kept.len() {
        kept = corrected;
    } else {
        let new = corrected.into_iter().filter(|c| !kept.iter().any(|k| k.text == c.text));
        let new: Vec<_> = new.collect();
        kept.extend(new);
        kept.truncate(answer::MAX_STATEMENTS);
    }
    if kept.is_empty() && still_wrong {
        let unfaithful = NotUnderstood("its statements are not what the message says");
        return Err(reason.unwrap_or(unfaithful));
    }
    Ok(kept)
}

fn believed(verdict: Result<Verdict, NotUnderstood>) -> Vec<Statement> {
    verdict.map(|verdict| verdict.kept).unwrap_or_default()
}
