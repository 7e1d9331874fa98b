//! Who listens on which port of this host, and which processes are the bot's.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use procfs::net::{TcpNetEntry, TcpState};
use procfs::process::{FDTarget, Process};

/// A process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) pid: i32,
    /// The name of its program, at most 15 bytes.
    pub(super) name: String,
}

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Listener {
    pub(super) address: SocketAddr,
    /// The processes that have it; none: they are another user's.
    pub(super) owners: Vec<Owner>,
}

/// What is to be known of the sockets of this host's network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Sockets {
    pub(super) listeners: Vec<Listener>,
    /// Processes that run `dingbot serve` in this network, and not in a container.
    pub(super) bots: Vec<Owner>,
}

impl Sockets {
    /// Who listens on `port`.
    pub(super) fn on(&self, port: u16) -> impl Iterator<Item = &Listener> {
        self.listeners.iter().filter(move |listener| listener.address.port() == port)
    }

    /// Where the bot's own processes listen.
    pub(super) fn of_bots(&self) -> impl Iterator<Item = &Listener> {
        let is_bot = |owner: &Owner| self.bots.iter().any(|bot| bot.pid == owner.pid);
        self.listeners.iter().filter(move |listener| listener.owners.iter().any(is_bot))
    }

    /// A server that takes callers from outside on a port of the web, and may pass them on.
    pub(super) fn web_server(&self) -> Option<&Listener> {
        self.listeners
            .iter()
            .find(|it| matches!(it.address.port(), 80 | 443) && !it.address.ip().is_loopback())
    }
}

impl Listener {
    /// Whether nobody outside can reach it.
    pub(super) fn is_local(&self) -> bool {
        self.address.ip().is_loopback()
    }
}

/// Reads `/proc`, which blocks: many processes have many files.
pub(super) async fn find() -> Sockets {
    tokio::task::spawn_blocking(read).await.unwrap_or_default()
}

fn read() -> Sockets {
    let mut sockets = listening(procfs::net::tcp());
    sockets.extend(listening(procfs::net::tcp6()));
    let mut owners: HashMap<u64, Vec<Owner>> = HashMap::new();
    let (mut bots, mut perhaps) = (Vec::new(), Vec::new());
    let here = Process::myself().ok().and_then(|myself| network(&myself));
    for process in procfs::process::all_processes().into_iter().flatten().flatten() {
        let Some(owner) = owner(&process) else { continue };
        if is_bot(&process) && !is_contained(&process) {
            match is_here(&process, here) {
                Some(true) => bots.push(owner.clone()),
                Some(false) => {}
                None => perhaps.push(owner.clone()),
            }
        }
        for descriptor in process.fd().into_iter().flatten().flatten() {
            if let FDTarget::Socket(inode) = descriptor.target {
                let all = owners.entry(inode).or_default();
                if !all.contains(&owner) {
                    all.push(owner.clone());
                }
            }
        }
    }
    // Of those that may be in another network no more than one is counted.
    if bots.is_empty() {
        bots.extend(perhaps.into_iter().next());
    }
    let listeners = sockets
        .into_iter()
        .map(|(address, inode)| Listener {
            address,
            owners: owners.get(&inode).cloned().unwrap_or_default(),
        })
        .collect();
    Sockets { listeners, bots }
}

/// Whether something listens on `port` in the network of the process `pid`; nothing, when that
/// process cannot be looked into.
pub(super) async fn listens_inside(pid: i32, container: &str, port: u16) -> Option<bool> {
    let container = container.to_owned();
    let look = move || {
        let process = Process::new(pid).ok()?;
        // The engine may count processes otherwise than we do.
        let groups = process.cgroups().ok()?;
        let cgroup = groups.0.iter().any(|group| group.pathname.contains(&container));
        if !cgroup {
            return None;
        }
        let mut sockets = listening(process.tcp());
        sockets.extend(listening(process.tcp6()));
        Some(sockets.iter().any(|(address, _)| address.port() == port))
    };
    tokio::task::spawn_blocking(look).await.ok().flatten()
}

fn listening(entries: procfs::ProcResult<Vec<TcpNetEntry>>) -> Vec<(SocketAddr, u64)> {
    let entries = entries.into_iter().flatten().filter(|it| it.state == TcpState::Listen);
    entries
        .map(|it| {
            let ip: IpAddr = it.local_address.ip().to_canonical();
            (SocketAddr::new(ip, it.local_address.port()), it.inode)
        })
        .collect()
}

fn owner(process: &Process) -> Option<Owner> {
    Some(Owner { pid: process.pid, name: process.stat().ok()?.comm })
}

/// Whether its command line is `…/dingbot … serve …`.
fn is_bot(process: &Process) -> bool {
    let Ok(command) = process.cmdline() else { return false };
    let program = command.first().map(|it| it.rsplit('/').next().unwrap_or(it));
    program == Some("dingbot") && command.iter().skip(1).any(|it| it == "serve")
}

/// Whether a process is in the network of this one; nothing, when that cannot be seen: it is
/// another user's.
fn is_here(process: &Process, here: Option<u64>) -> Option<bool> {
    network(process).map(|network| Some(network) == here)
}

/// Whether an engine started the process, and in another container than this process is in: what
/// an engine started has its name in its control group.
fn is_contained(process: &Process) -> bool {
    let engines = ["docker", "containerd", "libpod", "kubepods"];
    let group = |process: &Process| {
        let groups = process.cgroups().ok()?;
        let mut paths = groups.0.into_iter().map(|it| it.pathname);
        paths.find(|path| engines.iter().any(|engine| path.contains(engine)))
    };
    let theirs = group(process);
    theirs.is_some() && theirs != Process::myself().ok().as_ref().and_then(group)
}

/// The processes that `is` picks by name and command line, as far as they are in this network and
/// in no other container.
pub(super) fn running(is: impl Fn(&str, &[String]) -> bool) -> Vec<Process> {
    let here = Process::myself().ok().and_then(|myself| network(&myself));
    let all = procfs::process::all_processes().into_iter().flatten().flatten();
    all.filter(|process| {
        let Some(owner) = owner(process) else { return false };
        is(&owner.name, &process.cmdline().unwrap_or_default())
            && !is_contained(process)
            && is_here(process, here) != Some(false)
    })
    .collect()
}

/// The network namespace of a process.
fn network(process: &Process) -> Option<u64> {
    let namespaces = process.namespaces().ok()?;
    Some(namespaces.0.get(std::ffi::OsStr::new("net"))?.identifier)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn a_listener_is_found_with_its_process() {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let sockets = find().await;
        let found: Vec<&Listener> = sockets.on(address.port()).collect();
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!((found[0].address, found[0].is_local()), (address, true));
        assert!(found[0].owners.iter().any(|it| it.pid == std::process::id() as i32));
    }

    #[tokio::test]
    async fn nothing_is_said_of_a_process_that_is_not_the_container() {
        let myself = std::process::id() as i32;
        assert_eq!(listens_inside(myself, "0123456789abcdef", 80).await, None);
    }
}
