//! What the API refuses with, told apart by what mends it.

use std::error::Error;

use super::wire::Problem;
use crate::printed::one_line;

/// Longest text of the API that is shown, in characters.
const SHOWN: usize = 160;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(in crate::doctor) enum ApiError {
    /// Nobody answers, or somebody else.
    #[error("{0}")]
    Unreachable(String),
    /// The access key is not accepted.
    #[error("{code}")]
    Refused {
        /// The API's name of the error.
        code: String,
    },
    /// The clock of this host is more than a quarter of an hour off.
    #[error("{code}")]
    Clock {
        /// The API's name of the error.
        code: String,
    },
    /// Who has the key may not make this call.
    #[error("{action} is not permitted")]
    NotPermitted {
        /// The call.
        action: &'static str,
    },
    /// The key is of an account that has no such instance.
    #[error("the account has no such instance")]
    NotOfThisAccount,
    /// Too many calls.
    #[error("{code}")]
    Throttled {
        /// The API's name of the error.
        code: String,
    },
    /// Anything else.
    #[error("{code}: {message} (RequestId {request})")]
    Other {
        /// The API's name of the error.
        code: String,
        /// Its text.
        message: String,
        /// What Alibaba Cloud's support asks for.
        request: String,
    },
}

impl ApiError {
    /// Nobody answers at `host`.
    pub(super) fn unreachable(host: &str, error: &reqwest::Error) -> Self {
        if error.is_timeout() {
            return Self::Unreachable(format!("{host} does not answer"));
        }
        let mut deepest: &dyn Error = error;
        while let Some(source) = deepest.source() {
            deepest = source;
        }
        Self::Unreachable(format!("{host}: {}", shown(&deepest.to_string())))
    }

    /// What an answer with an error means ("Common error codes").
    pub(super) fn of(action: &'static str, status: u16, problem: Problem) -> Self {
        let Problem { code, message, request_id } = problem;
        let code = shown(&code);
        let has = |prefixes: &[&str]| prefixes.iter().any(|prefix| code.starts_with(prefix));
        if has(&["InvalidTimeStamp", "InvalidTimestamp", "IllegalTimestamp"]) {
            return Self::Clock { code };
        }
        if has(&[
            "InvalidAccessKeyId",
            "InvalidAccessKeySecret",
            "SignatureDoesNotMatch",
            "IncompleteSignature",
            "InvalidSecurityToken",
            "MissingSecurityToken",
            "Forbidden.AccessKey",
        ]) {
            return Self::Refused { code };
        }
        if has(&["Throttling"]) || status == 429 {
            return Self::Throttled { code };
        }
        if has(&["Forbidden", "NoPermission", "Unauthorized"]) {
            return Self::NotPermitted { action };
        }
        Self::Other { code, message: shown(&message), request: shown(&request_id) }
    }
}

fn shown(text: &str) -> String {
    one_line(text).chars().take(SHOWN).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, code: &str) -> ApiError {
        let (message, request_id) = ("what\nit says".to_owned(), "1".to_owned());
        ApiError::of(
            "DescribeInstances",
            status,
            Problem { code: code.into(), message, request_id },
        )
    }

    #[test]
    fn errors_are_told_apart_by_what_mends_them() {
        for code in [
            "InvalidAccessKeyId.NotFound",
            "InvalidAccessKeyId.Inactive",
            "SignatureDoesNotMatch",
            "InvalidSecurityToken.Expired",
            "InvalidSecurityToken.MismatchWithAccessKey",
        ] {
            assert!(matches!(of(400, code), ApiError::Refused { .. }), "{code}");
        }
        for code in ["InvalidTimeStamp.Expired", "IllegalTimestamp"] {
            assert!(matches!(of(400, code), ApiError::Clock { .. }), "{code}");
        }
        for code in ["Throttling", "Throttling.User", "Throttling.Api"] {
            assert!(matches!(of(400, code), ApiError::Throttled { .. }), "{code}");
        }
        for code in ["Forbidden.RAM", "NoPermission", "Forbidden"] {
            assert!(matches!(of(403, code), ApiError::NotPermitted { .. }), "{code}");
        }
        let other = of(404, "InvalidSecurityGroupId.NotFound").to_string();
        assert_eq!(other, "InvalidSecurityGroupId.NotFound: what it says (RequestId 1)");
    }
}
