//! A scripted endpoint on loopback: it answers each request with the next reply of its script,
//! byte for byte, and keeps what it was asked. Replies follow OpenAI's API reference ("Chat
//! Completions", "Streaming") and the WHATWG's event stream format.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

/// What is done with one request.
#[derive(Debug, Clone)]
pub(super) enum Reply {
    /// These bytes, and the connection is closed.
    Bytes(Vec<u8>),
    /// These bytes, and then nothing, the connection open.
    Stall(Vec<u8>),
    /// The first bytes once, then the second ones again and again until the other side goes.
    Drip(Vec<u8>, Vec<u8>, Duration),
}

/// One request as it arrived.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// Request line and header lines, in lower case.
    pub(super) head: String,
    pub(super) body: Value,
}

#[derive(Debug)]
pub(super) struct ScriptedEndpoint {
    pub(super) url: Url,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl ScriptedEndpoint {
    /// Listens; the last reply of the script is given again when the script is over.
    pub(super) async fn start(script: Vec<Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/v1?api-version=1", listener.local_addr().unwrap());
        let asked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&asked);
        tokio::spawn(async move {
            for number in 0.. {
                let (socket, _) = listener.accept().await.unwrap();
                let reply = script[number.min(script.len() - 1)].clone();
                tokio::spawn(serve(socket, reply, Arc::clone(&seen)));
            }
        });
        Self { url: url.parse().unwrap(), asked }
    }

    /// Every request so far.
    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(socket: TcpStream, reply: Reply, seen: Arc<Mutex<Vec<Asked>>>) {
    let mut socket = BufReader::new(socket);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if socket.read_line(&mut head).await.unwrap() == 0 {
            return;
        }
    }
    let head = head.to_lowercase();
    let (_, length) = head.split_once("content-length: ").unwrap();
    let mut body = vec![0; length.lines().next().unwrap().parse().unwrap()];
    socket.read_exact(&mut body).await.unwrap();
    let body = serde_json::from_slice(&body).unwrap();
    seen.lock().unwrap().push(Asked { head, body });
    // The other side may leave in the middle: that is its good right.
    match reply {
        Reply::Bytes(bytes) => {
            let _ = socket.write_all(&bytes).await;
            let _ = socket.shutdown().await;
        }
        Reply::Stall(bytes) => {
            let _ = socket.write_all(&bytes).await;
            let _ = socket.read(&mut [0]).await;
        }
        Reply::Drip(first, again, pause) => {
            let _ = socket.write_all(&first).await;
            while socket.write_all(&again).await.is_ok() {
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// A whole answer with a body.
pub(super) fn whole(status: &str, headers: &str, body: &str) -> Reply {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n");
    Reply::Bytes(format!("{head}{headers}\r\n{body}").into_bytes())
}

/// An error with a JSON body.
pub(super) fn refusal(status: &str, body: Value) -> Reply {
    whole(status, "Content-Type: application/json\r\n", &body.to_string())
}

/// The head of an event stream and what is in it so far.
pub(super) fn events(text: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\n\
         Connection: close\r\n\r\n{text}"
    )
    .into_bytes()
}

/// One event that adds `text`.
pub(super) fn delta(text: &str) -> String {
    let part =
        json!({"choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}]});
    format!("data: {part}\n\n")
}

/// The event that ends an answer.
pub(super) fn finish(reason: &str) -> String {
    let part = json!({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]});
    format!("data: {part}\n\n")
}

/// A good streamed answer.
pub(super) fn answer(text: &str) -> Reply {
    Reply::Bytes(events(&format!("{}{}data: [DONE]\n\n", delta(text), finish("stop"))))
}
