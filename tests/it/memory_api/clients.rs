//! Mem0's own clients, and those of the Model Context Protocol, unmodified: every call they have, and what they make of the answer.
//!
//! `tests/clients/install` puts them under `target/clients`. None of them can speak with anybody but
//! the daemon: the way out leads to a port where nobody listens.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::Api;

/// Where the clients are.
fn place() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/clients")
}

/// Runs a script with a client; it checks what it gets by itself.
async fn satisfied(program: &str, script: &str, arguments: &[&str]) {
    let program = place().join(program);
    if !program.exists() {
        println!("skipped: {script}: {} is not there (tests/clients/install)", program.display());
        return;
    }
    // Of a package for Node the program is Node itself.
    let is_package = program.extension().is_some_and(|extension| extension == "json");
    let program = if is_package { "node".into() } else { program };
    let api = Api::start().await;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(script);
    let run = Command::new(program)
        .arg(script)
        .arg(api.daemon.url("").trim_end_matches('/'))
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("HOME", api.daemon.state_directory())
        .env("CLIENTS", place())
        .env("NODE_PATH", place().join("node_modules"))
        .env("MEM0_TELEMETRY", "false")
        .env("HTTPS_PROXY", "http://127.0.0.1:9")
        .env("NO_PROXY", "127.0.0.1,localhost")
        .kill_on_drop(true)
        .output();
    let run = tokio::time::timeout(std::time::Duration::from_secs(120), run).await;
    let output = run.expect("in time").unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
    println!("{said}");
}

#[tokio::test]
async fn python_2_2_1() {
    satisfied("mem0ai-2.2.1/bin/python", "client.py", &["2.2.1"]).await;
}

#[tokio::test]
async fn python_1_0_11() {
    satisfied("mem0ai-1.0.11/bin/python", "client.py", &["1.0.11"]).await;
}

#[tokio::test]
async fn python_0_1_118() {
    satisfied("mem0ai-0.1.118/bin/python", "client.py", &["0.1.118"]).await;
}

#[tokio::test]
async fn mcp_2_3_0() {
    satisfied("mcp-2.3.0/bin/python", "mcp_client.py", &["2.3.0"]).await;
}

#[tokio::test]
async fn mcp_1_30_0() {
    satisfied("mcp-1.30.0/bin/python", "mcp_client.py", &["1.30.0"]).await;
}

#[tokio::test]
async fn node_3_3_1() {
    satisfied("node_modules/mem0ai/package.json", "client.cjs", &["3.3.1"]).await;
}

#[tokio::test]
async fn cli_0_2_13() {
    satisfied("mem0-cli-0.2.13/bin/python", "cli.py", &["0.2.13"]).await;
}
