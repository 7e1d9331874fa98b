//! HTTP clients: a polite one, and one that writes exactly the bytes it is told to.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// The polite client: no proxy, no redirects, a limit on everything.
pub fn client() -> reqwest::Client {
    reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(60))
        .build()
        .expect("the client's settings are constants")
}

/// An answer, read to its end.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// Reads `response` to its end.
    pub async fn of(response: reqwest::Response) -> Self {
        Self::read(response).await.expect("the whole body arrives")
    }

    /// As [`Answer::of`], from a daemon that may die before the end.
    pub async fn read(response: reqwest::Response) -> reqwest::Result<Self> {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        Ok(Self { status, headers, body: response.text().await? })
    }

    /// The header `name`; empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body)
            .unwrap_or_else(|error| panic!("{error} in the body {:?}", self.body))
    }

    /// Checks that this is an error of the contract's shape and returns its message.
    #[track_caller]
    pub fn error(&self, status: u16) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.header("content-type").starts_with("application/json"), "{self:?}");
        let body = self.json();
        assert!(body["error"].as_str().is_some_and(|code| !code.is_empty()), "{body}");
        let message = body["message"].as_str().unwrap_or_default();
        assert!(!message.is_empty(), "{body}");
        message.to_owned()
    }
}

/// A connection that is written to byte by byte, for clients that are slow, wrong or hostile.
#[derive(Debug)]
pub struct Rude {
    stream: TcpStream,
    read: Vec<u8>,
}

/// What came back on a [`Rude`] connection.
#[derive(Debug, Clone)]
pub struct RudeAnswer {
    pub status: u16,
    /// Name (lower case) and value of each header.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl RudeAnswer {
    /// The header `name` (lower case); empty when it is missing.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(found, _)| found == name).map_or("", |(_, value)| value)
    }
}

impl Rude {
    /// Connects and sends nothing.
    pub async fn connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, read: Vec::new() })
    }

    /// Sends `bytes` at once.
    pub async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }

    /// Sends `bytes` one at a time with a pause after each, until the other side closes.
    pub async fn drip(&mut self, bytes: &[u8], pause: Duration) -> io::Result<()> {
        for byte in bytes {
            self.stream.write_all(&[*byte]).await?;
            tokio::time::sleep(pause).await;
        }
        Ok(())
    }

    /// Says that nothing more will be sent, and goes on reading.
    pub async fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// The next answer; none when the other side closed without one.
    ///
    /// The body ends by `content-length` or with the connection; chunks are not understood.
    pub async fn answer(&mut self, within: Duration) -> io::Result<Option<RudeAnswer>> {
        tokio::time::timeout(within, self.read_answer()).await.map_err(io::Error::from)?
    }

    /// Whether the other side closes within `within`; what it sends before is thrown away.
    pub async fn closes(&mut self, within: Duration) -> bool {
        let drained = async { while self.fill().await.is_ok_and(|more| more) {} };
        tokio::time::timeout(within, drained).await.is_ok()
    }

    async fn read_answer(&mut self) -> io::Result<Option<RudeAnswer>> {
        let end = loop {
            if let Some(at) = self.read.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await? {
                return Ok(None);
            }
        };
        let head = String::from_utf8_lossy(&self.read[..end]).into_owned();
        let mut lines = head.lines();
        let status = lines
            .next()
            .and_then(|line| line.split(' ').nth(1)?.parse().ok())
            .ok_or_else(|| io::Error::other(format!("no status in {head:?}")))?;
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let mut answer = RudeAnswer { status, headers, body: Vec::new() };
        let length = answer.header("content-length").parse::<usize>().ok();
        let stop = length.map(|length| end + length);
        while stop.is_none_or(|stop| self.read.len() < stop) && self.fill().await? {}
        let stop = stop.unwrap_or(self.read.len()).min(self.read.len());
        answer.body = self.read[end..stop].to_vec();
        self.read.drain(..stop);
        Ok(Some(answer))
    }

    /// Reads what there is; false at the end. A reset is an end too: the other side threw away
    /// bytes it had not read.
    async fn fill(&mut self) -> io::Result<bool> {
        match self.stream.read_buf(&mut self.read).await {
            Ok(count) => Ok(count > 0),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(false),
            Err(error) => Err(error),
        }
    }
}
