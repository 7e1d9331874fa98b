//! DingTalk's side of one kept connection: posts callbacks one after another, with as little work
//! a request as can be, for it shares the processors with the daemon.

use std::net::SocketAddr;
use std::time::Duration;

use crate::support::dingtalk::SignedCallback;
use crate::support::http::Rude;

const PATIENCE: Duration = Duration::from_secs(60);
/// How long a caller that was told to come again later waits; DingTalk waits longer.
const AGAIN: Duration = Duration::from_millis(50);

/// A connection to the daemon.
#[derive(Debug)]
pub(crate) struct Caller {
    connection: Rude,
}

impl Caller {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self { connection: Rude::connect(address).await.unwrap() }
    }

    /// Sends a request and waits for the head and body of its answer; returns the status.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> u16 {
        self.connection.send(request).await.unwrap();
        self.connection.answer(PATIENCE).await.unwrap().expect("an answer").status
    }

    /// Posts until the daemon has room; returns how often it had none.
    pub(crate) async fn deliver(&mut self, request: &[u8]) -> usize {
        let mut refused = 0;
        loop {
            match self.exchange(request).await {
                200 => return refused,
                503 => refused += 1,
                status => panic!("the daemon answered {status}"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    }
}

/// A callback as it goes over the wire.
pub(crate) fn request(callback: &SignedCallback) -> Vec<u8> {
    let mut request = b"POST /webhook HTTP/1.1\r\nhost: bot\r\n".to_vec();
    for (name, value) in &callback.headers {
        request.extend_from_slice(format!("{name}: {value}\r\n").as_bytes());
    }
    request
        .extend_from_slice(format!("content-length: {}\r\n\r\n", callback.body.len()).as_bytes());
    request.extend_from_slice(&callback.body);
    request
}
