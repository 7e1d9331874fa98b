//! The example file says what the program does.

use super::{EXAMPLE, Settings, Sources, keys, load};

/// The example with every setting put in force. A comment has a space after its `#`.
fn uncommented() -> String {
    let in_force = |line: &'static str| match line.strip_prefix('#') {
        Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting,
        _ => line,
    };
    EXAMPLE.lines().map(in_force).collect::<Vec<_>>().join("\n")
}

fn loaded(text: &str) -> super::Loaded {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = directory.path().join("dingbot.toml");
    std::fs::write(&file, text).expect("written");
    load(&Sources { file: Some(file), ..Sources::default() }).expect("valid")
}

fn as_json(settings: &Settings) -> serde_json::Value {
    serde_json::to_value(settings).expect("plain data")
}

#[test]
fn the_example_changes_nothing() {
    let defaults = as_json(&Settings::default());
    let as_shipped = loaded(EXAMPLE);
    assert_eq!(as_json(&as_shipped.settings), defaults);
    assert!(as_shipped.effective.iter().all(|row| row.origin == "default"));
    assert_eq!(as_json(&loaded(&uncommented()).settings), defaults);
}

#[test]
fn the_example_has_every_setting() {
    let in_force = loaded(&uncommented());
    for key in keys::all() {
        let row = in_force.effective.iter().find(|row| row.key == key).expect("every key");
        assert_ne!(row.origin, "default", "{key} is missing in the example");
    }
    let robots = EXAMPLE.lines().filter_map(|line| line.strip_prefix("#   "));
    let robots: Vec<&str> = robots.collect();
    let text = robots.join("\n").replace("access_token = \"\"", "access_token = \"t\"");
    assert_eq!(loaded(&text).settings.dingtalk.group_robots.len(), 1);
}

#[test]
fn the_settings_in_the_page_about_alerts_are_valid() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alerts.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let (_, rest) = page.split_once("```toml\n").expect("settings");
    let (text, _) = rest.split_once("```").expect("their end");
    let text: Vec<&str> = text.lines().map(str::trim_start).collect();
    let robots = loaded(&text.join("\n")).settings.dingtalk.group_robots;
    assert_eq!((robots.len(), robots[0].mention_mobiles.len()), (1, 2));
}
