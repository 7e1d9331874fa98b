//! Listening sockets.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Protocol, SockRef, Socket, Type};
use tokio::net::{TcpListener, TcpStream};

/// Connections the kernel completes ahead of our accepting them; it caps this by
/// `net.core.somaxconn`.
const BACKLOG: i32 = 1024;

/// Why an address cannot be listened on, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Nothing to listen on.
    #[error("server.listen is empty; name at least one address, such as \"[::]:8080\"")]
    NoAddress,
    /// Someone else has the port.
    #[error(
        "cannot listen on {0}: the port is already in use by another program; stop that program, \
         or choose another port with server.listen or PORT"
    )]
    InUse(SocketAddr),
    /// The port needs a privilege.
    #[error(
        "cannot listen on {0}: the system reserves this port for privileged programs; choose one \
         from 1024 up with server.listen or PORT"
    )]
    Privileged(SocketAddr),
    /// The address is another host's.
    #[error(
        "cannot listen on {0}: the address does not belong to this host; name one of its own, or \
         \"[::]\" for all of them, in server.listen"
    )]
    NotLocal(SocketAddr),
    /// Anything else.
    #[error("cannot listen on {address}: {source}; check server.listen")]
    Other {
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
}

impl BindError {
    fn new(address: SocketAddr, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::AddrInUse => Self::InUse(address),
            io::ErrorKind::PermissionDenied => Self::Privileged(address),
            io::ErrorKind::AddrNotAvailable => Self::NotLocal(address),
            _ => Self::Other { address, source },
        }
    }
}

/// A bound socket whose kernel already completes connections.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    inherited: bool,
}

impl Listener {
    /// The address it is bound to, with the true port where 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Whether somebody else holds the socket too, and goes on listening when this is closed.
    pub(super) fn is_inherited(&self) -> bool {
        self.inherited
    }

    /// The next connection; safe to drop and call again.
    pub(super) fn poll_accept(
        &self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<io::Result<(TcpStream, SocketAddr)>> {
        self.socket.poll_accept(cx)
    }

    /// Stops listening and returns the connections that were already complete.
    pub(super) fn close(self) -> Vec<(TcpStream, SocketAddr)> {
        let mut waiting = Vec::new();
        // Asked of the kernel itself: tokio may not have heard of the last ones yet.
        let Ok(socket) = self.socket.into_std() else { return waiting };
        while waiting.len() < BACKLOG as usize
            && let Ok((stream, peer)) = socket.accept()
        {
            if stream.set_nonblocking(true).is_ok()
                && let Ok(stream) = TcpStream::from_std(stream)
            {
                waiting.push((stream, peer));
            }
        }
        waiting
    }
}

/// Listens on every address, or on none.
///
/// `[::]` serves IPv4 too, unless `0.0.0.0` with the same port is named beside it, and falls back
/// to `0.0.0.0` on a host without IPv6. Must be called within a tokio runtime.
///
/// # Errors
/// The first address that cannot be had, as a sentence with its remedy.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<Listener>, BindError> {
    if addresses.is_empty() {
        return Err(BindError::NoAddress);
    }
    addresses.iter().map(|address| bind_one(*address, addresses)).collect()
}

/// Takes sockets over that somebody else listens on, such as systemd. Must be called within a tokio
/// runtime.
///
/// # Errors
/// What the system said about one of them.
pub fn adopt(sockets: Vec<std::net::TcpListener>) -> io::Result<Vec<Listener>> {
    let adopt = |socket: std::net::TcpListener| {
        if !SockRef::from(&socket).is_listener()? {
            let reason = "it does not listen: Accept=no belongs to the socket unit";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        socket.set_nonblocking(true)?;
        let socket = TcpListener::from_std(socket)?;
        Ok(Listener { address: socket.local_addr()?, socket, inherited: true })
    };
    sockets.into_iter().map(adopt).collect()
}

fn bind_one(address: SocketAddr, all: &[SocketAddr]) -> Result<Listener, BindError> {
    let everywhere_v4 = SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port()));
    let v6_only = address.port() != 0 && all.contains(&everywhere_v4);
    let bound = match listen(address, v6_only) {
        Err(error) if is_everywhere_v6(address) && !v6_only && lacks_ipv6(&error) => {
            tracing::warn!(
                %address,
                %error,
                error_kind = "no_ipv6",
                "this host has no IPv6, listening on IPv4 only"
            );
            listen(everywhere_v4, false)
        }
        bound => bound,
    };
    let listener = bound.and_then(|socket| {
        let socket = TcpListener::from_std(socket.into())?;
        Ok(Listener { address: socket.local_addr()?, socket, inherited: false })
    });
    listener.map_err(|error| BindError::new(address, error))
}

fn listen(address: SocketAddr, v6_only: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A restart must not wait for the last process's connections to leave TIME_WAIT.
    socket.set_reuse_address(true)?;
    if is_everywhere_v6(address) {
        socket.set_only_v6(v6_only)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket)
}

fn is_everywhere_v6(address: SocketAddr) -> bool {
    address.is_ipv6() && address.ip().is_unspecified()
}

/// Whether the host has no IPv6 at all, by what it said to `[::]`: the kernel knows no such
/// addresses (`EAFNOSUPPORT`), or they are switched off.
fn lacks_ipv6(error: &io::Error) -> bool {
    /// "Address family not supported by protocol" on Linux; std has no kind for it.
    const EAFNOSUPPORT: i32 = 97;
    error.raw_os_error() == Some(EAFNOSUPPORT)
        || error.kind() == io::ErrorKind::AddrNotAvailable
        || error.kind() == io::ErrorKind::Unsupported
}

/// Prepares an accepted connection: answers are short and written whole, so nothing is won by
/// waiting to fill a packet.
pub(super) fn prepare(stream: &TcpStream) {
    if let Err(error) = SockRef::from(stream).set_tcp_nodelay(true) {
        tracing::debug!(
            %error,
            error_kind = "io",
            "cannot set TCP_NODELAY, the connection is probably gone"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(text: &[&str]) -> Vec<SocketAddr> {
        text.iter().map(|address| address.parse().unwrap()).collect()
    }

    #[tokio::test]
    async fn a_taken_port_is_one_clear_sentence() {
        let first = bind(&addresses(&["127.0.0.1:0"])).unwrap();
        let taken = first[0].local_addr();
        let error = bind(&[taken]).unwrap_err();
        assert!(matches!(error, BindError::InUse(address) if address == taken));
        assert_eq!(
            error.to_string(),
            format!(
                "cannot listen on {taken}: the port is already in use by another program; stop \
                 that program, or choose another port with server.listen or PORT"
            )
        );
    }

    #[tokio::test]
    async fn an_address_of_another_host_is_told_apart() {
        // 192.0.2.0/24 is for documents (RFC 5737): no host has it.
        let error = bind(&addresses(&["192.0.2.1:0"])).unwrap_err();
        assert!(matches!(error, BindError::NotLocal(_)), "{error}");
        assert!(matches!(bind(&[]), Err(BindError::NoAddress)));
    }

    #[tokio::test]
    async fn everywhere_serves_ipv4_too() {
        let listeners = bind(&addresses(&["[::]:0"])).unwrap();
        let port = listeners[0].local_addr().port();
        assert_ne!(port, 0);
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
    }

    #[tokio::test]
    async fn both_families_may_be_named_with_one_port() {
        let probe = bind(&addresses(&["127.0.0.1:0"])).unwrap();
        let port = probe[0].local_addr().port();
        drop(probe);
        let both = [format!("[::]:{port}"), format!("0.0.0.0:{port}")];
        match bind(&both.each_ref().map(|address| address.parse().unwrap())) {
            Ok(listeners) => assert_eq!(listeners.len(), 2),
            // Only a host without IPv6 may refuse, and then not because of the other address.
            Err(error) => assert!(!matches!(error, BindError::InUse(_)), "{error}"),
        }
    }

    #[tokio::test]
    async fn closing_returns_what_the_kernel_had_accepted() {
        let mut listeners = bind(&addresses(&["127.0.0.1:0"])).unwrap();
        let address = listeners[0].local_addr();
        let clients: Vec<_> =
            (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let waiting = listeners.remove(0).close();
        assert_eq!(waiting.len(), clients.len());
        assert!(TcpStream::connect(address).await.is_err());
    }
}
