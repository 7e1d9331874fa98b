//! Reading a request's body, bounded in size and in time.

use std::pin::pin;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::time::timeout_at;
use warp::Filter;
use warp::http::header::{self, HeaderMap};
use warp::reject::Rejection;

use super::error::ApiError;

/// Extracts a body of at most so many bytes that arrives whole within so much time, as `limits`
/// says for each request.
///
/// A `Content-Length` past the limit is refused before anything is read; a chunked body as soon as
/// it passes the limit. Memory grows with what arrives, never with what a header claims.
///
/// Rejects with [`ApiError::too_large`], [`ApiError::timeout`], or [`ApiError::bad_request`] for a
/// body that breaks off.
pub fn limited(
    limits: impl Fn() -> (usize, Duration) + Clone + Send + Sync + 'static,
) -> impl Filter<Extract = (Bytes,), Error = Rejection> + Clone + Send + Sync + 'static {
    warp::header::optional::<u64>(header::CONTENT_LENGTH.as_str())
        .and(warp::body::stream())
        .and_then(move |claimed: Option<u64>, body| {
            let (max, limit) = limits();
            async move {
                if claimed.is_some_and(|length| length > max as u64) {
                    return Err(ApiError::too_large(max).reject());
                }
                read(body, max, limit).await.map_err(ApiError::reject)
            }
        })
}

/// Strict, because a page in the operator's browser could post anything else to a bot on loopback
/// without asking: JSON is what the browser asks permission for.
pub(super) fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = value.and_then(|v| v.split(';').next()).unwrap_or_default().trim();
    essence.eq_ignore_ascii_case("application/json")
}

async fn read<B: Buf>(
    body: impl Stream<Item = Result<B, warp::Error>>,
    max: usize,
    limit: Duration,
) -> Result<Bytes, ApiError> {
    let deadline = tokio::time::Instant::now() + limit;
    let mut body = pin!(body);
    // Nearly every body arrives as one piece, which is passed on as it is.
    let mut whole = Bytes::new();
    let mut joined = BytesMut::new();
    loop {
        let Ok(next) = timeout_at(deadline, body.next()).await else {
            let message = format!("The body did not arrive within {limit:?}; send it faster.");
            return Err(ApiError::timeout(message));
        };
        let mut piece = match next {
            None if joined.is_empty() => return Ok(whole),
            None => return Ok(joined.freeze()),
            Some(Ok(piece)) => piece,
            Some(Err(error)) => {
                tracing::debug!(%error, error_kind = "io", "a request's body broke off");
                return Err(ApiError::bad_request("The body broke off; send it again."));
            }
        };
        let piece = piece.copy_to_bytes(piece.remaining());
        if whole.len().max(joined.len()) + piece.len() > max {
            return Err(ApiError::too_large(max));
        }
        if whole.is_empty() && joined.is_empty() {
            whole = piece;
        } else {
            if joined.is_empty() {
                joined.extend_from_slice(&whole);
            }
            joined.extend_from_slice(&piece);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn pieces(pieces: &'static [&'static [u8]]) -> impl Stream<Item = Result<Bytes, warp::Error>> {
        stream::iter(pieces.iter().map(|piece| Ok(Bytes::from_static(piece))))
    }

    #[tokio::test]
    async fn pieces_are_joined_in_order() {
        let body = read(pieces(&[b"ab", b"", b"cd", b"e"]), 5, Duration::from_secs(5)).await;
        assert_eq!(body.unwrap(), "abcde");
    }

    #[tokio::test]
    async fn an_empty_body_is_no_error() {
        let body = read(pieces(&[]), 0, Duration::from_secs(5)).await;
        assert_eq!(body.unwrap(), "");
    }

    #[tokio::test]
    async fn one_byte_too_many_is_413() {
        let body = read(pieces(&[b"ab", b"cd"]), 3, Duration::from_secs(5)).await;
        assert_eq!(body.unwrap_err(), ApiError::too_large(3));
    }

    #[test]
    fn only_json_is_json() {
        let with = |value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, value.parse().unwrap());
            is_json(&headers)
        };
        assert!(with("application/json; charset=utf-8") && with("Application/JSON"));
        assert!(!with("text/plain") && !with("application/x-www-form-urlencoded"));
        assert!(!is_json(&HeaderMap::new()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_trickles_is_408_at_the_deadline() {
        let trickle = stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Some((Ok::<_, warp::Error>(Bytes::from_static(b"x")), ()))
        });
        let started = tokio::time::Instant::now();
        let error = read(trickle, 1_000, Duration::from_secs(10)).await.unwrap_err();
        assert_eq!(error.status, 408);
        assert_eq!(started.elapsed().as_secs(), 10);
    }
}
