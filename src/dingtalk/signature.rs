//! DingTalk's signature: of a callback that comes in, and of a group robot's request that goes out.
//!
//! Both are `base64(HMAC-SHA256(key = secret, message = timestamp + "\n" + secret))`, the
//! timestamp in milliseconds ("receive messages" and "custom robot security settings" in the open
//! platform's documentation). It covers no body: within the hour a captured pair of timestamp and
//! signature signs anything, so the receiver must also refuse a message it has seen.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use crate::config::Secret;

/// Farthest a timestamp may be from the present, in milliseconds.
const MAX_SKEW_MILLIS: u64 = 3_600_000;
/// Length of an HMAC-SHA256, in bytes.
const MAC_BYTES: usize = 32;

/// Why a callback is not believed to be DingTalk's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// A header is not there.
    #[error("the header `{0}` is missing: DingTalk signs every callback; is a proxy removing it?")]
    Missing(&'static str),
    /// A header is not what DingTalk sends.
    #[error("the header `{0}` is not valid: expected {1}")]
    Malformed(&'static str, &'static str),
    /// The timestamp is more than an hour off.
    #[error(
        "the header `timestamp` is {seconds} s off this host's clock, more than an hour: check the clock of this host, or it is an old request sent again"
    )]
    Skew {
        /// Timestamp minus present time, in seconds.
        seconds: i64,
    },
    /// Signed with another secret, or not by DingTalk.
    #[error(
        "the header `sign` does not match `dingtalk.client_secret`: compare it with the AppSecret of the application in DingTalk's console"
    )]
    Mismatch,
}

impl SignatureError {
    /// The value of a metric label.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Missing(_) => "signature_missing",
            Self::Malformed(..) => "signature_malformed",
            Self::Skew { .. } => "signature_skew",
            Self::Mismatch => "signature_mismatch",
        }
    }
}

/// The signature of `timestamp` (milliseconds since the Unix epoch) in base64, not URL-encoded.
pub fn sign(timestamp: &str, secret: &str) -> String {
    STANDARD.encode(mac(timestamp, secret).finalize().into_bytes())
}

/// Checks the headers `timestamp` and `sign` of a callback, in constant time.
///
/// `now_millis` is the present in milliseconds since the Unix epoch. Without a secret nothing
/// verifies.
pub fn verify(
    timestamp: Option<&str>,
    sign: Option<&str>,
    secret: &Secret,
    now_millis: i64,
) -> Result<(), SignatureError> {
    let timestamp =
        timestamp.filter(|t| !t.is_empty()).ok_or(SignatureError::Missing("timestamp"))?;
    let sign = sign.filter(|s| !s.is_empty()).ok_or(SignatureError::Missing("sign"))?;
    let millis: i64 = timestamp.parse().map_err(|_| {
        SignatureError::Malformed("timestamp", "milliseconds since 1970-01-01 UTC as a number")
    })?;
    let given = STANDARD
        .decode(sign)
        .ok()
        .filter(|bytes| bytes.len() == MAC_BYTES)
        .ok_or(SignatureError::Malformed("sign", "32 bytes in base64"))?;
    if now_millis.abs_diff(millis) > MAX_SKEW_MILLIS {
        let seconds = millis.saturating_sub(now_millis) / 1_000;
        return Err(SignatureError::Skew { seconds });
    }
    // An empty key is everybody's key.
    if secret.is_empty() {
        return Err(SignatureError::Mismatch);
    }
    mac(timestamp, secret.expose()).verify_slice(&given).map_err(|_| SignatureError::Mismatch)
}

fn mac(timestamp: &str, secret: &str) -> Hmac<Sha256> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(timestamp.as_bytes());
    mac.update(b"\n");
    mac.update(secret.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIGN: &str = "N5P09a4+p1AMJIJWnIvQd2Yxw9+fu/oEBnPrjCcsLXk=";
    const MILLIS: i64 = 1_700_000_000_000;

    fn check(timestamp: &str, sign: &str, now: i64) -> Result<(), SignatureError> {
        verify(Some(timestamp), Some(sign), &Secret::from("SECabc123"), now)
    }

    #[test]
    fn the_known_signatures_come_out() {
        assert_eq!(
            sign("1577262236757", "this is a secret"),
            "DJrE6qdyVGCQz9z5r2MDuNcNAhwYnuAkyj13cx169CA="
        );
        assert_eq!(sign("1700000000000", "SECabc123"), SIGN);
    }

    #[test]
    fn an_hour_either_way_is_accepted_and_no_more() {
        assert_eq!(check("1700000000000", SIGN, MILLIS + 3_600_000), Ok(()));
        assert_eq!(check("1700000000000", SIGN, MILLIS - 3_600_000), Ok(()));
        assert_eq!(
            check("1700000000000", SIGN, MILLIS + 3_600_001),
            Err(SignatureError::Skew { seconds: -3_600 })
        );
        assert_eq!(check("1700000000000", SIGN, i64::MIN).unwrap_err().reason(), "signature_skew");
    }

    #[test]
    fn a_wrong_signature_secret_or_timestamp_is_a_mismatch() {
        let other = sign("1700000000000", "SECother");
        assert_eq!(check("1700000000000", &other, MILLIS), Err(SignatureError::Mismatch));
        assert_eq!(check("1700000000001", SIGN, MILLIS), Err(SignatureError::Mismatch));
        let empty = sign("1700000000000", "");
        let verdict = verify(Some("1700000000000"), Some(&empty), &Secret::default(), MILLIS);
        assert_eq!(verdict, Err(SignatureError::Mismatch));
    }

    #[test]
    fn missing_and_malformed_headers_are_told_apart() {
        let secret = Secret::from("SECabc123");
        assert_eq!(
            verify(None, Some(SIGN), &secret, MILLIS),
            Err(SignatureError::Missing("timestamp"))
        );
        assert_eq!(
            verify(Some("1700000000000"), Some(""), &secret, MILLIS),
            Err(SignatureError::Missing("sign"))
        );
        for (timestamp, sign) in
            [("soon", SIGN), ("1700000000000", "AAAA"), ("1700000000000", "no base64!")]
        {
            assert_eq!(
                check(timestamp, sign, MILLIS).unwrap_err().reason(),
                "signature_malformed",
                "{timestamp} {sign}"
            );
        }
    }
}
