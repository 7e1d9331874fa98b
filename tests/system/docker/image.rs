//! The image itself.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::engine::IMAGE;
use super::on_the_host;

#[test]
fn the_image_says_what_it_is_and_is_small() {
    on_the_host(|docker| async move {
        let text = docker.docker(&["image", "inspect", IMAGE]).await;
        let image = serde_json::from_str::<Value>(&text).unwrap()[0].take();
        let config = &image["Config"];
        assert_eq!(config["User"], "65532:65532", "a number, for runAsNonRoot");
        assert_eq!(config["Entrypoint"], json!(["/usr/bin/dingbot"]));
        assert_eq!(config["Cmd"], json!(["serve"]));
        assert_eq!(config["ExposedPorts"], json!({ "8080/tcp": {} }));
        assert_eq!(config["Volumes"], json!({ "/data": {} }));
        assert_eq!(config["StopSignal"], "SIGTERM");
        assert_eq!(config["Healthcheck"]["Test"], json!(["CMD", "/usr/bin/dingbot", "health"]));
        let label = |name: &str| &config["Labels"][format!("org.opencontainers.image.{name}")];
        assert_eq!(label("title"), "dingbot");
        assert_eq!(label("description"), env!("CARGO_PKG_DESCRIPTION"));
        assert_eq!(label("version"), env!("CARGO_PKG_VERSION"));
        assert_eq!(label("licenses"), env!("CARGO_PKG_LICENSE"));
        assert_eq!(label("revision"), "0123456789ab");

        let all = image["Size"].as_u64().unwrap();
        let program =
            std::fs::metadata(format!("{}/target/docker/dingbot", env!("CARGO_MANIFEST_DIR")));
        let program = program.unwrap().len();
        let rest = all - program;
        println!("image: {all} bytes, {rest} of them beside the program");
        assert!(rest < 8_000_000, "{rest} bytes beside the program");
    });
}

#[test]
fn every_command_runs_in_it() {
    on_the_host(|docker| async move {
        let version = docker.docker(&["run", "--rm", IMAGE, "-V"]).await;
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
        let config = docker.docker(&["run", "--rm", IMAGE, "config"]).await;
        assert!(config.contains("drain_timeout"), "{config}");
        let wrong = docker.try_docker(&["run", "--rm", "-e", "PORT=web", IMAGE]).await;
        assert_eq!(wrong.status.code(), Some(78), "{wrong:?}");
        // Certificates, for HTTPS to the model and to DingTalk.
        let certificates = ["--entrypoint", "grep", IMAGE, "-c", "BEGIN CERTIFICATE"];
        let certificates =
            [&["run", "--rm"], &certificates[..], &["/etc/ssl/certs/ca-certificates.crt"]].concat();
        let count: u32 = docker.docker(&certificates).await.parse().unwrap();
        assert!(count > 100, "{count}");
    });
}

#[test]
fn secrets_come_from_mounted_files() {
    on_the_host(|docker| async move {
        let folder = tempfile::tempdir().unwrap();
        let readable = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(folder.path(), readable).unwrap();
        std::fs::write(folder.path().join("llm-api_key"), "sk-from-a-file\n").unwrap();
        let mount = format!("{}:/run/secrets:ro", folder.path().display());
        let options = ["-v", &mount, "-e", "CREDENTIALS_DIRECTORY=/run/secrets", IMAGE, "config"];
        let config = docker.docker(&[&["run", "--rm"], &options[..]].concat()).await;
        let key = config.lines().find(|line| line.starts_with("llm.api_key")).unwrap();
        assert!(key.contains("***") && key.contains("credential llm-api_key"), "{key}");
    });
}

/// The files of a folder and of those in it.
fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files(&path) } else { vec![path] }).collect()
}

/// No image can be compiled here, where none can be pulled; so at least nothing may be missing.
#[test]
fn what_is_compiled_in_is_copied_into_the_stage_that_compiles() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dockerfile = fs::read_to_string(root.join("packaging/docker/Dockerfile")).unwrap();
    let (_, build) = dockerfile.split_once(" AS build\n").unwrap();
    let (build, _) = build.split_once("\nFROM ").unwrap();
    let copied: Vec<PathBuf> = build
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .flat_map(|line| {
            let (sources, _) = line.rsplit_once(' ').unwrap();
            sources.split(' ').map(|source| root.join(source)).collect::<Vec<_>>()
        })
        .collect();
    let ignore = fs::read_to_string(root.join(".dockerignore")).unwrap();
    for path in &copied {
        let top = path.strip_prefix(root).unwrap().components().next().unwrap();
        let exception = format!("!{}", top.as_os_str().to_str().unwrap());
        assert!(ignore.lines().any(|line| line == exception), "{exception} in .dockerignore");
    }
    let mut seen = 0;
    for file in files(&root.join("src")) {
        let source = fs::read_to_string(&file).unwrap();
        let program = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for call in program.split("include_str!(\"").skip(1) {
            let included = file.parent().unwrap().join(call.split('"').next().unwrap());
            let included = included.canonicalize().unwrap();
            let is_copied = copied.iter().any(|path| included.starts_with(path));
            assert!(is_copied, "{} needs {}", file.display(), included.display());
            seen += 1;
        }
    }
    assert!(seen > 4, "{seen}");
}
