//! `dingbot doctor` as a shell and a script see it: options, exit codes, output, and what is never
//! printed.

mod host;
mod secrets;
mod silence;

use serde_json::Value;

use self::host::{Host, Run, findings, on_a_host};
use crate::support::settings::Settings;

/// As the report orders them, whatever is left out.
const AREAS: [&str; 9] = [
    "machine",
    "service",
    "listening",
    "firewall",
    "reach",
    "security_group",
    "https",
    "upstreams",
    "bot",
];

#[test]
fn a_call_that_makes_no_sense_is_refused_with_the_option_named() {
    on_a_host(async |host| {
        let open = ["--open-port", "--source", "192.0.2.0/24"];
        let port = |number| [&open[..], &["--port", number]].concat();
        for (arguments, named) in [
            (vec!["--lang", "de"], "--lang"),
            (vec!["--target", ""], "--target"),
            (vec!["--target", "ftp://192.0.2.1"], "--target"),
            (vec!["--target", "http://"], "--target"),
            (vec!["--source", "everybody"], "--source"),
            (vec!["--source", "192.0.2.0/33"], "--source"),
            (vec!["--open-port"], "--source"),
            (vec!["--yes"], "--open-port"),
            (vec!["--port", "80"], "--open-port"),
            (port("0"), "--port"),
            (port("65536"), "--port"),
            ([&open[..], &["--json"]].concat(), "--json"),
            ([&open[..], &["--target", "http://192.0.2.1"]].concat(), "--target"),
            (vec!["--target", "http://192.0.2.1", "--source", "192.0.2.0/24"], "--target"),
            (vec!["--jason"], "--jason"),
            (vec!["everything"], "everything"),
        ] {
            let run = host.doctor(&[], &arguments).await;
            assert_eq!((run.code, run.out.as_str()), (64, ""), "{arguments:?}: {run:?}");
            assert!(run.errors.contains(named), "{arguments:?}: {run:?}");
        }
        let help = host.doctor(&[], &["--help"]).await;
        assert_eq!((help.code, help.errors.as_str()), (0, ""));
        for option in ["--target", "--lang", "--json", "--open-port", "--source", "--config"] {
            assert!(help.out.contains(option), "{option}: {}", help.out);
        }
    });
}

#[test]
fn the_exit_code_says_what_the_report_says() {
    on_a_host(async |host| {
        // Nothing runs here.
        agree(host, &[], 1).await;
        // All is well, named by its file and found by itself.
        let mut bot = host.bot(Settings::bare()).await;
        let file = bot.configuration();
        let file = ["--config", file.to_str().unwrap()];
        agree(host, &file, 0).await;
        agree(host, &[], 0).await;
        // Users are answered, until the next start.
        bot.rewrite(|settings| settings.set("llm.tempo", "1"));
        agree(host, &file, 2).await;
        agree(host, &[], 2).await;
        bot.rewrite(|settings| settings.unset("llm.tempo"));
        agree(host, &file, 0).await;
    });
}

/// Runs doctor for people and for machines, and compares what it says and how it ends.
async fn agree(host: &Host, arguments: &[&str], code: i32) {
    let machine = host.doctor(&[], &[arguments, &["--json"]].concat()).await;
    let report = machine.json();
    assert_eq!(machine.code, code, "{report:#}");
    is_of_the_documented_shape(&report);
    let (verdict, sign) = [("fine", "✅"), ("failed", "❌"), ("warning", "⚠️")][code as usize];
    assert_eq!(report["verdict"], verdict);

    for (lang, language) in [("zh", "zh"), ("en", "en")] {
        let people = host.doctor(&[], &[arguments, &["--lang", lang]].concat()).await;
        assert_eq!((people.code, people.errors.as_str()), (code, ""), "{people:?}");
        assert!(people.out.starts_with(sign), "{}", people.out);
        // Each of its findings stands there, the first of them at the top.
        for finding in findings(&report) {
            let (code, seen) = (&finding["code"], finding["seen"][language].as_str().unwrap());
            let line = seen.lines().next().unwrap();
            // What is measured is another figure in another run.
            let same = line.split(|c: char| c.is_ascii_digit()).next().unwrap();
            assert!(people.out.contains(same), "{code}: {line:?} is not in {}", people.out);
        }
        if let Some(first) = report["first"]["seen"][language].as_str() {
            let top: String = people.out.lines().take(2).collect();
            assert!(top.contains(first.lines().next().unwrap()), "{first}: {}", people.out);
        }
        has_no_control_characters(&people);
    }
}

/// What docs/doctor.md promises of `--json`.
fn is_of_the_documented_shape(report: &Value) {
    let keys = |value: &Value| {
        let mut keys: Vec<_> = value.as_object().unwrap().keys().cloned().collect();
        keys.sort();
        keys
    };
    assert_eq!(keys(report), ["first", "sections", "verdict"]);
    let sections = report["sections"].as_array().unwrap();
    let areas: Vec<_> = sections.iter().map(|it| it["area"].as_str().unwrap()).collect();
    let expected: Vec<_> = AREAS.into_iter().filter(|area| areas.contains(area)).collect();
    assert_eq!(areas, expected);
    assert!(sections.iter().all(|section| keys(section) == ["area", "findings"]));
    let all = findings(report);
    for finding in &all {
        let (code, state) = (finding["code"].as_str().unwrap(), finding["state"].as_str().unwrap());
        assert!(code.bytes().all(|b| b.is_ascii_lowercase() || b"_0123456789".contains(&b)));
        assert!(["fine", "unseen", "warning", "failed"].contains(&state), "{finding:#}");
        if state == "fine" {
            assert_eq!(keys(finding), ["code", "seen", "state"], "{finding:#}");
        } else {
            assert_eq!(keys(finding), ["code", "remedy", "seen", "state"], "{finding:#}");
            is_said_in_both(&finding["remedy"]["text"]);
            let commands = &finding["remedy"]["commands"];
            let some = |all: &Vec<Value>| !all.is_empty() && all.iter().all(Value::is_string);
            assert!(commands.is_null() || commands.as_array().is_some_and(some), "{finding:#}");
        }
        is_said_in_both(&finding["seen"]);
    }
    match &report["first"] {
        Value::Null => assert_eq!(report["verdict"], "fine"),
        first => {
            assert_eq!(first["state"], report["verdict"]);
            assert!(all.contains(&first), "{first:#} is not in the list");
        }
    }
    let rank =
        |state: &str| ["unseen", "fine", "warning", "failed"].iter().position(|it| *it == state);
    let worst = all.iter().max_by_key(|it| rank(it["state"].as_str().unwrap()).max(Some(1)));
    let worst = worst.unwrap()["state"].as_str().unwrap().replace("unseen", "fine");
    assert_eq!(report["verdict"], worst.as_str());
}

/// Two sentences, the first of them in Chinese.
fn is_said_in_both(text: &Value) {
    let (chinese, english) = (text["zh"].as_str().unwrap(), text["en"].as_str().unwrap());
    let is_chinese = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
    assert!(chinese.contains(is_chinese), "{chinese:?} is not Chinese");
    let words = english.chars().filter(|c| !is_chinese(*c)).count();
    assert!(words > 0 && !english.contains("。"), "{english:?} is not English");
}

fn has_no_control_characters(run: &Run) {
    let bad = |c: char| c.is_control() && c != '\n';
    assert!(!run.out.contains(bad), "{run:?}");
}

#[test]
fn the_language_is_that_of_the_locale_unless_it_is_named() {
    on_a_host(async |host| {
        let (chinese, english) = ("\n主机\n", "\nMachine\n");
        for (variables, arguments, heading) in [
            (vec![("LANG", "zh_CN.UTF-8")], vec![], chinese),
            (vec![("LANG", "en_GB.UTF-8")], vec![], english),
            (vec![("LANG", "")], vec![], chinese),
            (vec![("LANG", "en_US.UTF-8"), ("LC_ALL", "zh_CN.UTF-8")], vec![], chinese),
            (vec![("LANG", "zh_CN.UTF-8"), ("LC_MESSAGES", "en_US.UTF-8")], vec![], english),
            // Set to nothing is not set.
            (vec![("LANG", "en_US.UTF-8"), ("LC_ALL", "")], vec![], english),
            (vec![("LANG", "zh_CN.UTF-8")], vec!["--lang", "en"], english),
            (vec![("LC_ALL", "en_US.UTF-8")], vec!["--lang", "zh"], chinese),
        ] {
            let run = host.doctor(&variables, &arguments).await;
            assert!(run.out.contains(heading), "{variables:?} {arguments:?}: {}", run.out);
        }
    });
}

/// `dingbot doctor | head -1` and `if dingbot doctor | grep -q …; then`.
#[test]
fn a_reader_who_goes_away_does_not_change_the_verdict() {
    on_a_host(async |host| {
        for arguments in [&["--json"][..], &[]] {
            let mut command = host.command(&[], arguments);
            let (reader, writer) = std::io::pipe().unwrap();
            drop(reader);
            command.stdout(writer);
            let child = command.spawn().unwrap();
            drop(command);
            let output = child.wait_with_output().await.unwrap();
            let errors = String::from_utf8(output.stderr).unwrap();
            // Nothing runs here, which is a fault whoever reads of it.
            assert_eq!((output.status.code(), errors.as_str()), (Some(1), ""), "{arguments:?}");
        }
    });
}

#[test]
fn a_report_that_cannot_be_written_is_no_report() {
    on_a_host(async |host| {
        let bot = host.bot(Settings::bare()).await;
        let mut command = host.command(&[], &[]);
        // As on a disk that is full.
        command.stdout(std::fs::File::options().write(true).open("/dev/full").unwrap());
        let output = command.spawn().unwrap().wait_with_output().await.unwrap();
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(errors.contains("No space left on device"), "{errors}");
        assert_eq!(output.status.code(), Some(1), "{errors}");

        let path = host.file("report.json", "");
        let mut command = host.command(&[], &["--json"]);
        command.stdout(std::fs::File::create(&path).unwrap());
        let status = command.status().await.unwrap();
        assert_eq!(status.code(), Some(0));
        let report = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        is_of_the_documented_shape(&report);
        drop(bot);
    });
}
