//! An HTTP/1.1 server for the simulators.

use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio_rustls::TlsAcceptor;

/// Body of an answer; an error in it breaks the connection off.
pub type Body = UnsyncBoxBody<Bytes, io::Error>;
/// An answer, or none: the connection is closed without one.
pub type Answer = Option<Response<Body>>;

/// A request, read to its end.
#[derive(Debug, Clone)]
pub struct Received {
    pub method: Method,
    pub path: String,
    pub query: String,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Received {
    /// The parameter `name` of the query, decoded as a form: a `+` that was not encoded is a space.
    pub fn parameter(&self, name: &str) -> Option<String> {
        url::form_urlencoded::parse(self.query.as_bytes())
            .find_map(|(key, value)| (key == name).then(|| value.into_owned()))
    }

    /// The header `name`; empty when it is missing or not ASCII.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// Whether the body is declared to be JSON.
    pub fn declares_json(&self) -> bool {
        let declared = self.header("content-type");
        let essence = declared.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("application/json")
    }

    /// The body as JSON.
    pub fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }
}

/// A running server; it and its connections end when this is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Server {
    /// Listens on a free port of `ip` and answers every request by `handler`.
    pub async fn start<H, F>(ip: IpAddr, handler: H) -> Self
    where
        H: Fn(Received) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        Self::start_at((ip, 0).into(), None, handler).await
    }

    /// Listens at `address`, by TLS if there is what it takes.
    pub async fn start_at<H, F>(address: SocketAddr, tls: Option<TlsAcceptor>, handler: H) -> Self
    where
        H: Fn(Received) -> F + Clone + Send + Sync + 'static,
        F: Future<Output = Answer> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.expect("the address has a free port");
        let address = listener.local_addr().expect("a bound listener has an address");
        let accepting = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                while connections.try_join_next().is_some() {}
                stream.set_nodelay(true).ok();
                let (handler, tls) = (handler.clone(), tls.clone());
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, handler).await,
                        // A client that does not trust the certificate goes away.
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, handler).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, accepting }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its origin, without a slash at the end.
    pub fn origin(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve<H, F>(stream: impl AsyncRead + AsyncWrite + Unpin, handler: H)
where
    H: Fn(Received) -> F + Clone,
    F: Future<Output = Answer>,
{
    let service = service_fn(move |request| exchange(handler.clone(), request));
    // A client that goes away and a connection closed on purpose both end here.
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

async fn exchange<H, F>(handler: H, request: Request<Incoming>) -> io::Result<Response<Body>>
where
    H: Fn(Received) -> F,
    F: Future<Output = Answer>,
{
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let received = Received {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    };
    // hyper closes the connection without an answer when the service fails.
    handler(received).await.ok_or_else(|| io::Error::other("closed on purpose"))
}

/// An answer with a whole body.
pub fn whole(status: u16, content_type: &str, body: impl Into<Bytes>) -> Response<Body> {
    Response::builder()
        .status(status)
        .header("content-type", content_type)
        .body(Full::new(body.into()).map_err(never).boxed_unsync())
        .expect("a valid status and header")
}

/// An answer with a JSON body.
pub fn json(status: u16, body: &Value) -> Response<Body> {
    whole(status, "application/json", body.to_string())
}

fn never(error: Infallible) -> io::Error {
    match error {}
}
