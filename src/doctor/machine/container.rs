//! Whether doctor runs in a container, and what of the host it cannot see from there.

use std::fs;
use std::path::Path;

use crate::doctor::finding::{Finding, Remedy, Text};

/// What container engines leave inside.
const MARKS: [&str; 3] = [".dockerenv", "run/.containerenv", "run/secrets/kubernetes.io"];
/// The way to ask Docker.
const SOCKETS: [&str; 2] = ["run/docker.sock", "var/run/docker.sock"];
/// Runs doctor where nothing is hidden from it.
const ON_THE_HOST: &str = "docker run --rm --user 0 --network host --pid host \
    -v /var/run/docker.sock:/var/run/docker.sock dingbot doctor";

/// What is hidden.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Hidden {
    network: bool,
    processes: bool,
    docker: bool,
}

/// A finding when this is a container.
pub(super) fn look() -> Option<Finding> {
    hidden(Path::new("/")).map(finding)
}

/// What is hidden in the container whose file system this is; nothing when it is none.
fn hidden(root: &Path) -> Option<Hidden> {
    if !MARKS.iter().any(|mark| root.join(mark).exists()) {
        return None;
    }
    // Kernel threads are seen in the host's own process namespace alone, and there the second
    // process is the father of all of them.
    let second = fs::read_to_string(root.join("proc/2/comm")).unwrap_or_default();
    Some(Hidden {
        network: !has_device(&root.join("sys/class/net")),
        processes: second.trim() != "kthreadd",
        docker: !SOCKETS.iter().any(|socket| root.join(socket).exists()),
    })
}

/// Whether there is a device that is not one end of a cable whose other end is elsewhere.
fn has_device(folder: &Path) -> bool {
    let Ok(devices) = fs::read_dir(folder) else { return false };
    let number = |path: &Path| fs::read_to_string(path).ok();
    devices.flatten().filter(|device| device.file_name() != "lo").any(|device| {
        let folder = device.path();
        let (own, other) = (number(&folder.join("ifindex")), number(&folder.join("iflink")));
        own.is_some() && own == other
    })
}

fn finding(hidden: Hidden) -> Finding {
    let parts = [
        (hidden.network, "主机的网卡、监听端口和防火墙", "its interfaces, ports and firewall"),
        (hidden.processes, "主机的进程和 systemd 服务", "its processes and systemd units"),
        (
            hidden.docker,
            "其他容器（没有挂载 Docker 套接字）",
            "other containers (no Docker socket)",
        ),
    ];
    let parts: Vec<_> = parts.iter().filter(|(hidden, ..)| *hidden).collect();
    if parts.is_empty() {
        return Finding::fine(
            "in_container",
            Text::new(
                "doctor 在容器中运行，能看到主机",
                "doctor runs in a container that sees the host",
            ),
        );
    }
    let chinese: Vec<&str> = parts.iter().map(|(_, chinese, _)| *chinese).collect();
    let english: Vec<&str> = parts.iter().map(|(.., english)| *english).collect();
    Finding::unseen(
        "in_container",
        Text::new(
            format!("doctor 在容器中运行，看不到{}", chinese.join("、")),
            format!(
                "doctor runs in a container, and does not see of the host: {}",
                english.join("; ")
            ),
        ),
        Remedy::new(Text::new(
            "在主机上运行（镜像名按实际填写）",
            "Run it on the host (with the name of your image)",
        ))
        .command(ON_THE_HOST),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file system with these files.
    fn root(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn a_host_is_no_container() {
        assert_eq!(hidden(root(&[("proc/2/comm", "kthreadd\n")]).path()), None);
    }

    #[test]
    fn a_container_of_its_own_hides_the_host() {
        let root = root(&[
            (".dockerenv", ""),
            ("sys/class/net/lo/ifindex", "1\n"),
            ("sys/class/net/lo/iflink", "1\n"),
            ("sys/class/net/eth0/ifindex", "7\n"),
            ("sys/class/net/eth0/iflink", "8\n"),
        ]);
        let hidden = hidden(root.path()).unwrap();
        assert_eq!(hidden, Hidden { network: true, processes: true, docker: true });
        let finding = finding(hidden);
        assert!(finding.remedy.unwrap().commands[0].contains("--network host --pid host"));
    }

    #[test]
    fn a_container_that_shares_all_with_the_host_hides_nothing() {
        let root = root(&[
            (".dockerenv", ""),
            ("proc/2/comm", "kthreadd\n"),
            ("run/docker.sock", ""),
            ("sys/class/net/eth0/ifindex", "2\n"),
            ("sys/class/net/eth0/iflink", "2\n"),
        ]);
        let hidden = hidden(root.path()).unwrap();
        assert_eq!(hidden, Hidden { network: false, processes: false, docker: false });
        assert_eq!(finding(hidden).remedy, None);
    }
}
