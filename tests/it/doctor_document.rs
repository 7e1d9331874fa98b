//! docs/doctor.md, the runbooks and the program have the same codes.

use std::collections::BTreeSet;
use std::path::Path;

use dingbot::doctor::codes::CODES;

fn document(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn every_code_is_explained_and_nothing_else() {
    let text = document("docs/doctor.md");
    let (_, table) = text.split_once("## 代码 / Codes").unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `"));
    let explained: Vec<&str> = rows.filter_map(|row| row.split('`').next()).collect();
    let known: Vec<&str> = explained.iter().copied().filter(|it| *it != "code").collect();
    assert_eq!(known, CODES);
    assert_eq!(
        known.iter().collect::<BTreeSet<_>>().len(),
        known.len(),
        "one is twice in the list"
    );
}

/// Whatever an operator is told to look for in doctor's report can be there.
#[test]
fn runbooks_name_codes_that_exist() {
    let text = document("etc/prometheus/dingbot.rules.yml");
    let told = text.split("dingbot doctor").skip(1).filter_map(|rest| {
        let (before, rest) = rest.split_once('(')?;
        let (codes, _) = rest.split_once(')')?;
        // That of another command, or of the next rule.
        (!before.contains([';', '\n'])).then_some(codes)
    });
    let named: Vec<&str> = told.flat_map(|codes| codes.split(", ")).collect();
    assert!(named.len() > 20, "{named:?}");
    for code in named {
        assert!(CODES.contains(&code), "{code}");
    }
}

/// No code is listed that no check has.
#[test]
fn every_code_is_found_by_a_check() {
    let mut sources = String::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/doctor")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if !path.ends_with("codes.rs") {
                let source = std::fs::read_to_string(&path).unwrap();
                sources.push_str(source.split("#[cfg(test)]\nmod tests {").next().unwrap());
            }
        }
    }
    for code in CODES {
        assert!(sources.contains(&format!("\"{code}\"")), "{code}");
    }
}
