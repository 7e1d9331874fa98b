//! The manual page dingbot.toml(5).

use std::io;

use clap_mangen::roff::{Inline, Roff, bold, italic, roman};

use super::{ENVIRONMENT, section};
use crate::config::{Described, reference};

const LAYERS: &[(&str, &str)] = &[
    ("1. Defaults", "Built into the program, and shown below."),
    ("2. /etc/dingbot/dingbot.toml", "This file, or the one that --config names."),
    ("3. /etc/dingbot/conf.d/*.toml", "In the order of the names."),
    (
        "4. Credentials",
        "Files in $CREDENTIALS_DIRECTORY, which the systemd service fills from \
         /etc/dingbot/credentials. A file that holds the word unset counts as absent.",
    ),
    (
        "5. DINGBOT_SECTION__KEY",
        "Environment variables: two underscores part the section from the key. An empty one \
         counts as absent.",
    ),
    ("6. Short variables", "Such as PORT and OPENAI_API_KEY; see ENVIRONMENT."),
    ("7. The command line", "Such as --listen."),
];
const FILES: &[(&str, &str)] = &[
    ("/etc/dingbot/dingbot.toml", "The configuration."),
    ("/etc/dingbot/conf.d/*.toml", "More of it; a package or a colleague can add a file."),
    ("/etc/dingbot/credentials/", "Secrets, a file each, for root alone."),
];

/// An example, with what it is for.
const EXAMPLES: &[(&str, &str)] = &[
    (
        "A model of Alibaba Cloud Model Studio; its key is the credential llm-api_key:",
        r#"[llm]
base_url = "https://dashscope.aliyuncs.com/compatible-mode/v1"
model = "qwen-plus"
"#,
    ),
    (
        "Behind nginx on the same host, with the figures for Prometheus alone:",
        r#"[server]
listen = ["127.0.0.1:8080"]
trusted_proxies = ["127.0.0.1/32"]
metrics_allow = ["127.0.0.1/32", "10.0.0.0/8"]
"#,
    ),
    (
        "The application, and a group robot for pushes; the secrets are the credentials \
         dingtalk-client_secret, dingtalk-group_robots-ops-access_token and \
         dingtalk-group_robots-ops-secret:",
        r#"[dingtalk]
client_id = "dingxxxxxxxx"
"#,
    ),
];

/// Writes the whole page.
pub(super) fn write(out: &mut Vec<u8>) -> io::Result<()> {
    let mut page = Roff::new();
    let program = format!("dingbot {}", crate::VERSION);
    page.control("TH", ["dingbot.toml", "5", "", program.as_str(), "File Formats Manual"]);
    page.control("SH", ["NAME"]);
    page.text([roman("dingbot.toml - configuration of dingbot (钉钉机器人的配置)")]);
    page.control("SH", ["SYNOPSIS"]);
    page.text([italic("/etc/dingbot/dingbot.toml")]);
    page.control("PP", []);
    page.text([italic("/etc/dingbot/conf.d/*.toml")]);
    description(&mut page);
    section(&mut page, "LAYERS", LAYERS);
    settings(&mut page);
    credentials(&mut page);
    section(&mut page, "ENVIRONMENT", ENVIRONMENT);
    examples(&mut page);
    section(&mut page, "FILES", FILES);
    page.control("SH", ["SEE ALSO"]);
    page.text([bold("dingbot"), roman("(8), "), bold("systemd.exec"), roman("(5)")]);
    page.to_writer(out)
}

fn description(page: &mut Roff) {
    page.control("SH", ["DESCRIPTION"]);
    page.text([roman(
        "The configuration is TOML. Every setting has a default: an empty file, or none, is \
         valid. An unknown key is an error that names the nearest known one. A duration is a text \
         with its unit, such as \"30s\", \"5m\" or \"1h 30m\".",
    )]);
    page.control("PP", []);
    page.text([
        bold("dingbot check"),
        roman(" prints everything that is wrong, with file and line; "),
        bold("dingbot config"),
        roman(" prints the settings in force, each with its origin, secrets hidden. What the service has as credentials only the service itself can read."),
    ]);
    page.control("PP", []);
    page.text([roman(
        "配置文件是 TOML；每一项都有默认值，空文件也有效。后面的层覆盖前面的层（见 LAYERS）。\
         密钥最好放在 /etc/dingbot/credentials 里（见 CREDENTIALS）。",
    )]);
}

fn settings(page: &mut Roff) {
    page.control("SH", ["SETTINGS"]);
    let settings = reference();
    let mut open = String::new();
    for setting in &settings {
        if setting.section() != open {
            setting.section().clone_into(&mut open);
            page.control("SS", [format!("[{open}]").as_str()]);
        }
        describe(page, setting);
    }
}

fn describe(page: &mut Roff, setting: &Described) {
    page.control("TP", []);
    page.text([bold(setting.name())]);
    page.text([roman(setting.english.as_str())]);
    page.control("br", []);
    page.text([roman(setting.chinese.as_str())]);
    if !setting.lines.is_empty() {
        return literal(page, &setting.lines);
    }
    page.control("br", []);
    let form = setting.form.as_deref().unwrap_or_default();
    page.text([italic("Value"), roman(format!(": {form}."))]);
    page.control("br", []);
    page.text([italic("Default"), roman(format!(": {}", setting.default))]);
    page.control("br", []);
    page.text([italic("Variable"), roman(format!(": {}", setting.variable()))]);
}

fn credentials(page: &mut Roff) {
    page.control("SH", ["CREDENTIALS"]);
    page.text([roman(
        "A secret is best kept in a file of its own, which root alone can read and systemd hands \
         to the service: never in the environment, never in the journal. The file is named like \
         the setting, with - for the dots:",
    )]);
    let install = "install -m 600 /dev/stdin /etc/dingbot/credentials/llm-api_key";
    literal(page, &[install.to_owned(), "systemctl restart dingbot".to_owned()]);
    page.control("PP", []);
    page.text([roman("The service takes these:")]);
    for setting in reference().iter().filter(|setting| setting.is_secret) {
        let names = match setting.lines.as_slice() {
            [] => vec![setting.credential()],
            _ => ["access_token", "secret"]
                .map(|field| format!("{}-default-{field}", setting.credential()))
                .to_vec(),
        };
        for name in names {
            page.control("TP", []);
            page.text([bold(name)]);
            page.text([roman(setting.english.as_str())]);
        }
    }
    page.control("PP", []);
    page.text([
        roman("Another group robot, here one called ops, needs its lines in a drop-in, which "),
        bold("systemctl edit dingbot"),
        roman(" makes:"),
    ]);
    let ops = "dingtalk-group_robots-ops";
    let lines = ["access_token", "secret"].map(|field| {
        format!("LoadCredential={ops}-{field}:/etc/dingbot/credentials/{ops}-{field}")
    });
    literal(page, &[&["[Service]".to_owned()], lines.as_slice()].concat());
}

fn examples(page: &mut Roff) {
    page.control("SH", ["EXAMPLES"]);
    for (purpose, toml) in EXAMPLES {
        page.control("PP", []);
        page.text([roman(*purpose)]);
        literal(page, &toml.lines().map(str::to_owned).collect::<Vec<_>>());
    }
}

/// Lines as they are, indented.
fn literal(page: &mut Roff, lines: &[String]) {
    page.control("PP", []);
    page.control("RS", ["4"]);
    page.control("nf", []);
    for line in lines {
        page.text([Inline::Roman(line.clone())]);
    }
    page.control("fi", []);
    page.control("RE", []);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Sources, load};

    fn page() -> String {
        let mut out = Vec::new();
        write(&mut out).expect("a vector takes all");
        String::from_utf8(out).expect("UTF-8").replace("\\-", "-")
    }

    #[test]
    fn every_setting_is_in_the_page() {
        let page = page();
        for setting in reference() {
            let heading = format!(".SS [{}]", setting.section());
            let (_, section) = page.split_once(&heading).expect("the section");
            let section = section.split("\n.S").next().unwrap_or_default();
            let name = format!("\\fB{}\\fR", setting.name());
            assert!(section.contains(&name), "{}: {section}", setting.key);
            if setting.lines.is_empty() {
                assert!(section.contains(&setting.variable()), "{}", setting.key);
                assert!(section.contains(&setting.default), "{}", setting.key);
            }
        }
    }

    /// The unit of the package has a credential for each, and no other.
    #[test]
    fn the_unit_takes_the_credentials_of_the_page() {
        let unit = include_str!("../../../systemd/dingbot.service");
        let named = |directive: &str| -> Vec<&str> {
            let values = unit.lines().filter_map(|line| line.strip_prefix(directive));
            values.filter_map(|value| value.split(':').next()).collect()
        };
        let loaded = named("LoadCredential=");
        assert!(!loaded.is_empty());
        assert_eq!(loaded, named("SetCredential="), "each needs a value when its file is missing");
        let page = page();
        let (_, credentials) = page.split_once(".SH CREDENTIALS").expect("the section");
        let credentials = credentials.split(".SH").next().unwrap_or_default();
        let mut listed: Vec<&str> = credentials
            .lines()
            .filter_map(|line| line.strip_prefix("\\fB")?.strip_suffix("\\fR"))
            .filter(|name| name.contains('-'))
            .collect();
        listed.sort_unstable();
        let mut loaded = loaded;
        loaded.sort_unstable();
        assert_eq!(loaded, listed);
    }

    #[test]
    fn the_examples_are_valid() {
        for (purpose, toml) in EXAMPLES {
            let directory = tempfile::tempdir().expect("a temporary directory");
            let file = directory.path().join("dingbot.toml");
            std::fs::write(&file, toml).expect("written");
            let loaded = load(&Sources { file: Some(file), ..Sources::default() });
            assert!(loaded.is_ok(), "{purpose} {loaded:?}");
        }
    }
}
