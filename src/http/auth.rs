//! Who may use the surfaces that are not for everybody: whoever has a key of `server.api_keys`, and
//! programs on this host.
//!
//! A key that is sent must be right, from wherever it comes: a wrong one that works on loopback
//! would be found out on the day the caller moves.

use std::net::IpAddr;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};
use warp::Filter;
use warp::http::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName};
use warp::reject::Rejection;

use super::client::ClientAddress;
use super::error::ApiError;
use super::keyring::{Found, Keyring};
use crate::config::Secret;
use crate::live::Live;

/// What a caller that asks too often is told to wait.
const A_MOMENT: Duration = Duration::from_secs(1);
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The keys, as their digests: comparing takes the same time whatever a caller sends, and whatever
/// the length of a key.
#[derive(Debug, Clone, Default)]
pub struct ApiKeys(Vec<[u8; 32]>);

/// Why a caller was refused.
#[derive(Debug, Clone)]
pub struct Denied {
    /// In one word, for log and metrics: `key_missing`, `key_wrong`, `credentials_unknown` or
    /// `too_many_requests`.
    pub reason: &'static str,
    /// What the caller is told.
    pub error: ApiError,
}

impl ApiKeys {
    /// The keys of the settings.
    pub fn new(keys: &[Secret]) -> Self {
        Self(keys.iter().map(|key| digest(key.expose().as_bytes())).collect())
    }

    /// Lets in whoever sends a key, and a program on this host that sends none.
    ///
    /// Taken are `Authorization: Bearer KEY`, `Authorization: Token KEY` and `X-API-Key: KEY`.
    pub fn admit(&self, client: Option<ClientAddress>, headers: &HeaderMap) -> Result<(), Denied> {
        let sent = sent_keys(headers)?;
        if sent.iter().any(|key| self.holds(key)) {
            return Ok(());
        }
        let is_local = client.is_some_and(|client| client.is_local());
        if is_local && (sent.is_empty() || self.0.is_empty()) {
            return Ok(());
        }
        Err(Denied::new(self.0.is_empty(), sent.is_empty(), "one of server.api_keys"))
    }

    /// Lets in a caller of the memory API, for whom there are the keys of `ring`, too.
    pub fn admit_to_memory(
        &self,
        ring: &Keyring,
        client: Option<ClientAddress>,
        headers: &HeaderMap,
    ) -> Result<Right, Denied> {
        let sent: Vec<[u8; 32]> = sent_keys(headers)?;
        let is_open = self.0.is_empty() && ring.is_empty();
        for key in &sent {
            if self.holds(key) {
                return Ok(Right::Admin);
            }
            match ring.find(key) {
                Found::Opens { admin: true } => return Ok(Right::Admin),
                Found::Opens { admin: false } => return Ok(Right::User),
                Found::TooOften => {
                    let error = ApiError::too_many(
                        A_MOMENT,
                        "This key is used more often than it may be; see `dingbot memory key list`.",
                    );
                    return Err(Denied { reason: "too_many_requests", error });
                }
                Found::Unknown => {}
            }
        }
        if client.is_some_and(|client| client.is_local()) && (sent.is_empty() || is_open) {
            return Ok(if is_open { Right::Admin } else { Right::User });
        }
        let is_wrong = !sent.is_empty() && !is_open;
        if is_wrong && client.is_some_and(|client| !ring.bears(client.client)) {
            let error = ApiError::too_many(A_MOMENT, "Too many wrong keys came from this address.");
            return Err(Denied { reason: "too_many_requests", error });
        }
        let keys = "one of server.api_keys, or a key of `dingbot memory key add`,";
        Err(Denied::new(is_open, sent.is_empty(), keys))
    }

    fn holds(&self, sent: &[u8; 32]) -> bool {
        let equal = self.0.iter().map(|known| known.ct_eq(sent));
        equal.fold(Choice::from(0), |any, equal| any | equal).into()
    }
}

/// What a caller of the memory API may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Right {
    /// Read and write what a request names the owner of.
    User,
    /// Everybody's at once, too. Without any key on this host everybody on it is one.
    Admin,
}

impl Denied {
    fn new(no_keys: bool, none_sent: bool, keys: &str) -> Self {
        if no_keys {
            let error = ApiError::forbidden(
                "This path is served on loopback only: set server.api_keys and send one of them \
                 as `Authorization: Bearer KEY`.",
            );
            Self { reason: "key_missing", error }
        } else if none_sent {
            let error = ApiError::unauthorized(format!(
                "Send {keys} as `Authorization: Bearer KEY` or `X-API-Key: KEY`."
            ));
            Self { reason: "key_missing", error: error.challenging() }
        } else {
            let error = ApiError::unauthorized(format!(
                "This key is not known: send {keys} as it was given."
            ));
            Self { reason: "key_wrong", error: error.challenging() }
        }
    }
}

/// The digests of the keys that a caller sends.
fn sent_keys(headers: &HeaderMap) -> Result<Vec<[u8; 32]>, Denied> {
    let mut sent = Vec::new();
    for value in headers.get_all(API_KEY) {
        sent.push(digest(value.as_bytes()));
    }
    for value in headers.get_all(AUTHORIZATION) {
        match token(value.as_bytes()) {
            Some(key) => sent.push(digest(key)),
            None => return Err(unknown_credentials()),
        }
    }
    Ok(sent)
}

/// Passes only those whom [`ApiKeys::admit`] lets in; tells `denied` of the others and rejects with
/// the error.
pub fn guard(
    keys: Live<ApiKeys>,
    denied: impl Fn(&Denied, Option<ClientAddress>) + Clone + Send + Sync + 'static,
) -> impl Filter<Extract = (), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::ext::optional::<ClientAddress>()
        .and(warp::header::headers_cloned())
        .and_then(move |client, headers: HeaderMap| {
            let admitted = keys.read(|keys| keys.admit(client, &headers));
            let admitted = admitted.map_err(|refusal| {
                denied(&refusal, client);
                refusal.error.reject()
            });
            std::future::ready(admitted)
        })
        .untuple_one()
}

/// Whether a caller sends a key, right or wrong: a page in a browser cannot have its reader's browser
/// do that for another server without being asked.
pub(super) fn sends_key(headers: &HeaderMap) -> bool {
    headers.contains_key(API_KEY) || headers.contains_key(AUTHORIZATION)
}

/// Whether a request was sent to this host by a name that nobody else can have: an address, or
/// `localhost`. A stranger's name can be made to lead here, and his page would then be at home.
pub(super) fn names_this_host(headers: &HeaderMap) -> bool {
    let Some(host) = headers.get(HOST).and_then(|host| host.to_str().ok()) else { return true };
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    };
    let bare = name.trim_start_matches('[').trim_end_matches(']');
    bare.eq_ignore_ascii_case("localhost") || bare.parse::<IpAddr>().is_ok()
}

fn unknown_credentials() -> Denied {
    let error = ApiError::unauthorized(
        "Only keys are taken, no user name and password: send one of server.api_keys as \
         `Authorization: Bearer KEY` (in Alertmanager `http_config: {authorization: \
         {credentials: KEY}}` in place of `basic_auth`).",
    );
    Denied { reason: "credentials_unknown", error: error.challenging() }
}

/// The key in an `Authorization` header; `None`: it holds something else.
fn token(value: &[u8]) -> Option<&[u8]> {
    let at = value.iter().position(u8::is_ascii_whitespace)?;
    let (scheme, key) = value.split_at(at);
    let known = scheme.eq_ignore_ascii_case(b"Bearer") || scheme.eq_ignore_ascii_case(b"Token");
    known.then(|| key.trim_ascii())
}

fn digest(key: &[u8]) -> [u8; 32] {
    Sha256::digest(key).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn admit(keys: &[&str], peer: &str, sent: &[(&'static str, &str)]) -> Result<(), Denied> {
        let keys: Vec<Secret> = keys.iter().map(|key| Secret::from(*key)).collect();
        let headers = headers(sent);
        let client = ClientAddress::of(peer.parse().unwrap(), &headers, &[]);
        ApiKeys::new(&keys).admit(Some(client), &headers)
    }

    const HERE: &str = "127.0.0.1:5";
    const ELSEWHERE: &str = "198.51.100.7:5";

    #[test]
    fn a_key_opens_from_anywhere() {
        for sent in [
            ("authorization", "Bearer two"),
            ("authorization", "bearer   two "),
            ("authorization", "Token two"),
            ("x-api-key", "two"),
        ] {
            for peer in [HERE, ELSEWHERE] {
                assert!(admit(&["one", "two"], peer, &[sent]).is_ok(), "{sent:?}");
            }
        }
    }

    #[test]
    fn without_a_key_only_this_host_is_served() {
        for keys in [&[][..], &["one"]] {
            assert!(admit(keys, HERE, &[]).is_ok());
            let denied = admit(keys, ELSEWHERE, &[]).unwrap_err();
            assert_eq!(denied.reason, "key_missing");
            assert!(denied.error.message.contains("server.api_keys"));
        }
        assert_eq!(admit(&[], ELSEWHERE, &[]).unwrap_err().error.status, 403);
        assert_eq!(admit(&["one"], ELSEWHERE, &[]).unwrap_err().error.status, 401);
        // Nobody is known to be on this host through a proxy.
        assert!(admit(&[], HERE, &[("x-forwarded-for", "127.0.0.1")]).is_err());
    }

    #[test]
    fn a_wrong_key_opens_nothing() {
        for sent in ["Bearer ", "Bearer on", "Bearer onee", "Bearer one two", "Token ONE"] {
            for peer in [HERE, ELSEWHERE] {
                let denied = admit(&["one"], peer, &[("authorization", sent)]).unwrap_err();
                assert_eq!((denied.reason, denied.error.status.as_u16()), ("key_wrong", 401));
            }
        }
        assert!(admit(&["one"], ELSEWHERE, &[("x-api-key", "")]).is_err());
        // There is nothing to compare it with.
        assert!(admit(&[], HERE, &[("authorization", "Bearer any")]).is_ok());
        assert!(admit(&[], ELSEWHERE, &[("authorization", "Bearer any")]).is_err());
    }

    #[test]
    fn passwords_are_refused_and_told_why() {
        for sent in ["Basic b25lOm9uZQ==", "one", "Digest x"] {
            for (keys, peer) in [(&["one"][..], HERE), (&[], HERE), (&["one"], ELSEWHERE)] {
                let denied = admit(keys, peer, &[("authorization", sent)]).unwrap_err();
                assert_eq!(denied.reason, "credentials_unknown");
                assert!(denied.error.message.contains("Bearer"));
                let response = denied.error.into_response();
                assert_eq!(response.headers()["www-authenticate"], "Bearer");
            }
        }
    }

    #[test]
    fn a_strangers_name_is_not_this_host() {
        let named = |host: &str| names_this_host(&headers(&[("host", host)]));
        for host in ["127.0.0.1:8080", "localhost", "LOCALHOST:1", "[::1]:8080", "[::1]"] {
            assert!(named(host), "{host}");
        }
        for host in ["evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example", ""] {
            assert!(!named(host), "{host}");
        }
    }

    #[test]
    fn keys_are_not_shown() {
        assert!(!format!("{:?}", ApiKeys::new(&[Secret::from("hunter2")])).contains("hunter2"));
    }
}
