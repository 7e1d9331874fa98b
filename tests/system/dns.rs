//! A DNS server that knows a few names (RFC 1035), enough for a resolver to ask.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

/// Largest question read: what fits into a datagram without EDNS.
const DATAGRAM: usize = 512;
/// Length of the header, and of type and class behind a name.
const HEADER: usize = 12;
const TYPE_AND_CLASS: usize = 4;
/// The type of an IPv4 address.
const A: [u8; 2] = [0, 1];

/// The server; it ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Dns {
    answering: JoinHandle<()>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Dns {
    /// Answers on port 53 of `ip` for these names; every other name does not exist.
    pub(crate) async fn start(ip: IpAddr, names: &[(&str, Ipv4Addr)]) -> Self {
        let socket = UdpSocket::bind((ip, 53)).await.expect("nobody else serves names here");
        let names: HashMap<String, Ipv4Addr> =
            names.iter().map(|(name, address)| ((*name).to_owned(), *address)).collect();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let record = Arc::clone(&asked);
        let answering = tokio::spawn(async move {
            let mut datagram = [0; DATAGRAM];
            while let Ok((length, peer)) = socket.recv_from(&mut datagram).await {
                let Some((name, answer)) = answer(&datagram[..length], &names) else { continue };
                record.lock().unwrap_or_else(PoisonError::into_inner).push(name);
                let _ = socket.send_to(&answer, peer).await;
            }
        });
        Self { answering, asked }
    }

    /// Ends, and gives the port back.
    pub(crate) async fn stop(mut self) {
        self.answering.abort();
        // Over only when the socket is closed.
        let _ = (&mut self.answering).await;
    }

    /// The names that were asked for.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.answering.abort();
    }
}

/// The name a query asks for, and the answer to it.
fn answer(query: &[u8], names: &HashMap<String, Ipv4Addr>) -> Option<(String, Vec<u8>)> {
    let mut labels = Vec::new();
    let mut at = HEADER;
    loop {
        let length = usize::from(*query.get(at)?);
        at += 1;
        if length == 0 {
            break;
        }
        labels.push(String::from_utf8_lossy(query.get(at..at + length)?).to_ascii_lowercase());
        at += length;
    }
    let name = labels.join(".");
    let kind = query.get(at..at + 2)?;
    let question = query.get(HEADER..at + TYPE_AND_CLASS)?;
    let address = names.get(&name);
    let given = address.filter(|_| kind == A);
    let mut answer = query[..2].to_vec();
    // A response, with recursion; NXDOMAIN for a name that does not exist.
    answer.extend([0x81, if address.is_some() { 0x80 } else { 0x83 }]);
    answer.extend([0, 1, 0, u8::from(given.is_some()), 0, 0, 0, 0]);
    answer.extend(question);
    if let Some(address) = given {
        // The name is that of the question; class IN, a minute to live, four bytes.
        answer.extend([0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend(address.octets());
    }
    Some((name, answer))
}
