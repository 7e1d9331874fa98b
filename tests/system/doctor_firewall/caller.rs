//! Who calls from outside, and a process that answers him.

use std::io::ErrorKind;
use std::net::Ipv4Addr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// The port of the guide.
pub(super) const PORT: u16 = 9090;

/// What he gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// An answer.
    Answered,
    /// Nothing at all.
    Silent,
    /// A refusal, at once.
    Refused,
    /// A connection, and then nothing, or its end.
    Hangs,
}

/// Connects to `host`, says something, and waits so long for an answer.
pub(super) async fn call(host: &str, patience: Duration) -> Answer {
    let connected = tokio::time::timeout(patience, TcpStream::connect((host, PORT))).await;
    let mut stream = match connected {
        Err(_) => return Answer::Silent,
        Ok(Err(error)) if error.kind() == ErrorKind::TimedOut => return Answer::Silent,
        Ok(Err(_)) => return Answer::Refused,
        Ok(Ok(stream)) => stream,
    };
    let talk = async {
        stream.write_all(b"GET /health HTTP/1.0\r\n\r\n").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await
    };
    match tokio::time::timeout(patience, talk).await {
        Ok(Ok(_)) => Answer::Answered,
        Ok(Err(_)) | Err(_) => Answer::Hangs,
    }
}

/// Listens, and answers everybody, until this is dropped.
#[derive(Debug)]
pub(super) struct Listener(JoinHandle<()>);

/// Listens in this namespace.
pub(super) fn listen() -> Listener {
    let listener = std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("it is free");
    listener.set_nonblocking(true).expect("a socket");
    let listener = TcpListener::from_std(listener).expect("a runtime");
    Listener(tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut heard = [0; 64];
                if stream.read(&mut heard).await.is_ok_and(|length| length > 0) {
                    let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\n").await;
                }
            });
        }
    }))
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.0.abort();
    }
}
