//! Somebody else who listens on a port of the instance.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::namespace::Namespace;

/// What he does with a connection.
#[derive(Debug, Clone)]
pub(super) enum Manner {
    /// Resets it.
    Reset,
    /// Answers these bytes.
    Says(String),
}

/// The listener, a socket of this test; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct StandIn(JoinHandle<()>);

impl StandIn {
    /// Listens in that namespace.
    pub(super) fn at(namespace: &Namespace, address: &str, manner: Manner) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let listener = namespace.run(async move {
            let listener = std::net::TcpListener::bind(address).expect("nobody else listens there");
            listener.set_nonblocking(true).unwrap();
            listener
        });
        let listener = TcpListener::from_std(listener).unwrap();
        Self(tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, manner.clone()));
            }
        }))
    }

    /// An answer with this status line, these headers and this body.
    pub(super) fn answer(status: &str, headers: &str, body: &str) -> Manner {
        let length = body.len();
        Manner::Says(format!(
            "HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        ))
    }

    /// Gives the port back.
    pub(super) async fn stop(self) {
        self.0.abort();
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn serve(mut stream: TcpStream, manner: Manner) {
    let mut request = [0; 4096];
    match manner {
        Manner::Reset => {
            let _ = stream.read(&mut request).await;
            let _ = socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO));
        }
        Manner::Says(bytes) => {
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(bytes.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    }
}
