//! A name server: every name has one address.
//!
//! Follows RFC 1035, section 4. It shows that a program in the image resolves names by DNS, which
//! no name in `/etc/hosts` does.

use std::net::Ipv4Addr;

use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use super::engine::GATEWAY;

const TYPE_A: u16 = 1;
/// A response to a recursive query, without an error.
const FLAGS: [u8; 2] = [0x81, 0x80];
/// Where the question's name begins, as a compressed name says it.
const NAME_OF_QUESTION: [u8; 2] = [0xc0, 12];

/// The server; it ends when this is dropped.
pub(super) struct Names(JoinHandle<()>);

impl Names {
    /// Answers at the address containers ask, with `address`.
    pub(super) async fn serve(address: Ipv4Addr) -> Self {
        let socket = UdpSocket::bind((GATEWAY, 53)).await.unwrap();
        Self(tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, caller)) = socket.recv_from(&mut query).await {
                if let Some(response) = respond(&query[..length], address) {
                    let _ = socket.send_to(&response, caller).await;
                }
            }
        }))
    }
}

impl Drop for Names {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn respond(query: &[u8], address: Ipv4Addr) -> Option<Vec<u8>> {
    let name = query.get(12..)?.iter().position(|byte| *byte == 0)?;
    // The end of the name, its type and its class.
    let question = query.get(12..12 + name + 5)?;
    let kind = u16::from_be_bytes([question[name + 1], question[name + 2]]);
    let answers = u8::from(kind == TYPE_A);
    let mut response = [&query[..2], &FLAGS, &[0, 1, 0, answers, 0, 0, 0, 0], question].concat();
    if kind == TYPE_A {
        response.extend(NAME_OF_QUESTION);
        // Type, class IN, a minute to live, and the length of an address.
        response.extend([0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        response.extend(address.octets());
    }
    Some(response)
}
