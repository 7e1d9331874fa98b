//! Build script: hands the source revision to the compiler as `DINGBOT_REVISION`.
//!
//! `DINGBOT_REVISION` in the environment wins (a package is built outside a checkout); then git;
//! else `unknown`.

use std::process::Command;

fn main() {
    println!("cargo::rerun-if-env-changed=DINGBOT_REVISION");
    println!("cargo::rerun-if-changed=.git/HEAD");
    println!("cargo::rerun-if-changed=.git/refs/heads");
    let revision = std::env::var("DINGBOT_REVISION").ok().or_else(git_revision);
    println!("cargo::rustc-env=DINGBOT_REVISION={}", revision.as_deref().unwrap_or("unknown"));
}

fn git_revision() -> Option<String> {
    let out = Command::new("git").args(["rev-parse", "--short=12", "HEAD"]).output().ok()?;
    let text = String::from_utf8(out.stdout).ok()?;
    (out.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}
