//! Socket activation: sockets that systemd listens on, and goes on listening on while the daemon
//! is restarted (`sd_listen_fds(3)`).

use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// The sockets that were handed over; none without a socket unit. The second call finds none.
///
/// To be called before threads are started, for it takes the variables that name the sockets out
/// of the environment.
///
/// # Errors
/// One of them is not a TCP socket.
pub fn inherited() -> io::Result<Vec<TcpListener>> {
    let mut handed = ListenFd::from_env();
    (0..handed.len()).filter_map(|index| handed.take_tcp_listener(index).transpose()).collect()
}
