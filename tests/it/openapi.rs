//! The document of the memory API, and a tester that makes requests of it by the thousand.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use tokio::process::Command;

use crate::support::daemon::Daemon;
use crate::support::settings::Settings;

/// Longest that the tester may take.
const PATIENCE: Duration = Duration::from_secs(240);

#[tokio::test]
async fn the_document_is_there_for_everybody() {
    let daemon = Daemon::start(Settings::bare().set("server.api_keys", "[\"right\"]")).await;
    let answer = daemon.get("/openapi.json").await;
    assert_eq!(answer.status, 200);
    let document: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(document["openapi"], "3.1.0");
    assert!(document["paths"]["/v3/memories/search/"]["post"].is_object());
}

/// Left out: what needs a model, which answers 501 or as the model pleases; and the complaint that
/// more is taken than the document promises, for clients of several generations send more.
#[tokio::test]
async fn the_api_keeps_what_its_document_promises() {
    let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients/schemathesis-4.32.5");
    let tester = place.join("bin/schemathesis");
    if !tester.exists() {
        println!(
            "skipped: schemathesis: {} is not there (tests/clients/install)",
            tester.display()
        );
        return;
    }
    let daemon = Daemon::start(Settings::bare()).await;
    let run = Command::new(tester)
        .arg("run")
        .arg(daemon.url("/openapi.json"))
        .args(["--max-examples", "25", "--seed", "20261123"])
        .args(["--exclude-path", "/v1/summary/", "--exclude-path", "/v1/exports/"])
        .args(["--exclude-checks", "negative_data_rejection", "--warnings", "off"])
        .current_dir(daemon.state_directory())
        .env("NO_COLOR", "1")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .kill_on_drop(true)
        .output();
    let output = tokio::time::timeout(PATIENCE, run).await.expect("in time").unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    let counted = said.lines().find(|line| line.contains(" generated, ")).unwrap_or_default();
    println!("schemathesis:{counted}");
    assert!(counted.contains(" passed"), "{said}");
}
