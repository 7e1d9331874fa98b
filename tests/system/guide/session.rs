//! What somebody types who follows the guide: the placeholders filled in, and the variables of a
//! terminal, which stay from one block to the next.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::document::{Block, Language, Place, Step, Way, blocks, is_as_shown};
use crate::machine::Finished;

/// A placeholder of the guide, and what stands for it in the test.
#[derive(Debug, Clone)]
pub(crate) struct Placeholder {
    pub(crate) written: &'static str,
    pub(crate) here: String,
}

/// A block that is not run: how it begins, and what is done in its place so that the guide can go
/// on behind it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NotRun {
    pub(crate) begins: &'static str,
    pub(crate) way: Way,
    pub(crate) instead: &'static str,
}

/// Makes what a CA would issue, and has the host trust that CA.
const CERTIFY: &str = r#"
mkdir -p /etc/letsencrypt/live/$DOMAIN
cd /etc/letsencrypt/live/$DOMAIN
key="-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
openssl req -x509 $key -days 60 -subj "/CN=a CA of the test" -keyout ca.key -out ca.crt
openssl req $key -subj /CN=$DOMAIN -keyout privkey.pem -out leaf.csr
printf 'subjectAltName=DNS:%s\nbasicConstraints=critical,CA:FALSE\n' "$DOMAIN" > leaf.ext
openssl x509 -req -in leaf.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 60 -extfile leaf.ext \
    -out leaf.crt
cat leaf.crt ca.crt > fullchain.pem
cp ca.crt /usr/local/share/ca-certificates/guide.crt
update-ca-certificates
"#;

/// All that is not run. Another block that asks for it fails the test.
pub(crate) const NOT_RUN: [NotRun; 5] = [
    NotRun {
        begins: "apt-get update && apt-get install -y docker.io",
        way: Way::Docker,
        instead: "docker version",
    },
    NotRun {
        begins: "dnf config-manager --add-repo=",
        way: Way::Docker,
        instead: "docker version",
    },
    NotRun {
        begins: "DOCKER_BUILDKIT=1 docker build ",
        way: Way::Docker,
        instead: "docker tag dingbot:test dingbot",
    },
    NotRun {
        begins: "dingbot doctor --open-port --source ",
        way: Way::Apt,
        instead: "dingbot doctor --help",
    },
    NotRun { begins: "apt-get install -y certbot", way: Way::Apt, instead: CERTIFY },
];

/// Where commands are run.
pub(crate) trait Terminal {
    /// Runs a script of bash at a place, with the locale.
    async fn run(&self, place: Place, locale: &str, script: &str) -> Finished;
}

/// Somebody who follows the guide one way.
#[derive(Debug)]
pub(crate) struct Session<T> {
    terminal: T,
    way: Way,
    placeholders: Vec<Placeholder>,
    /// What is typed into a command that waits for it, by the command's end.
    typed: Vec<Placeholder>,
}

impl<T: Terminal> Session<T> {
    pub(crate) fn new(
        terminal: T,
        way: Way,
        placeholders: Vec<Placeholder>,
        typed: Vec<Placeholder>,
    ) -> Self {
        for Placeholder { written, .. } in placeholders.iter().chain(&typed) {
            assert!(Language::Chinese.text().contains(written), "the guide has no {written}");
        }
        Self { terminal, way, placeholders, typed }
    }

    pub(crate) fn terminal(&self) -> &T {
        &self.terminal
    }

    /// Does what a section says.
    pub(crate) async fn follow(&self, section: u32) {
        let chinese = blocks(Language::Chinese.text());
        let english = blocks(Language::English.text());
        let mut done = 0;
        // The commands are the same, which another test sees to.
        for (block, other) in chinese.iter().zip(&english) {
            if block.section != section {
                continue;
            }
            if block.place == Place::NotRun {
                self.instead(block).await;
            } else if block.is_for(self.way) {
                for (step, other) in block.steps.iter().zip(&other.steps) {
                    self.step(block, step, Language::Chinese).await;
                    // What only looks is looked at in the other language, too.
                    if other.shown != step.shown {
                        self.step(block, other, Language::English).await;
                    }
                }
                done += 1;
            }
        }
        println!("section {section}: {done} blocks");
    }

    async fn instead(&self, block: &Block) {
        let known = NOT_RUN.iter().find(|known| block.first_line().starts_with(known.begins));
        let known = known.unwrap_or_else(|| panic!("line {}: not in the list", block.line));
        if known.way == self.way {
            let ended = self.run(Place::Host, Language::Chinese, known.instead).await;
            assert_eq!(ended.status, 0, "{}: {ended:?}", known.instead);
        }
    }

    async fn step(&self, block: &Block, step: &Step, language: Language) {
        let command = self.filled_in(&step.command);
        let ended = self.run(block.place, language, &command).await;
        let about = || format!("line {}: {command}\n{}{}", block.line, ended.stdout, ended.stderr);
        // Its status says what it found.
        let fine = if command.contains("dingbot doctor") { 0..=2 } else { 0..=0 };
        if *fine.end() > 0 {
            println!("{command}: {}\n{}", ended.status, ended.stdout);
        }
        assert!(fine.contains(&ended.status), "{}: {}", ended.status, about());
        if let Some(shown) = &step.shown {
            assert!(is_as_shown(shown, &ended.stdout), "not as shown: {}", about());
        }
    }

    /// The command as it is typed here.
    fn filled_in(&self, command: &str) -> String {
        let mut command = command.to_owned();
        for Placeholder { written, here } in &self.placeholders {
            command = command.replace(written, here);
        }
        if command.lines().any(waits_for_input) {
            assert_eq!(command.lines().count(), 1, "it would take the next line: {command}");
            let typed = self.typed.iter().find(|typed| command.ends_with(typed.written));
            let typed = typed.unwrap_or_else(|| panic!("nobody types into: {command}"));
            write!(command, " <<< '{}'", typed.here).expect("a string takes it");
        }
        command
    }

    async fn run(&self, place: Place, language: Language, command: &str) -> Finished {
        // The variables of the terminal, kept where nothing of the host is.
        let names: BTreeSet<&str> = command.lines().filter_map(assigned).collect();
        let mut script = "set -eo pipefail\n: \"${GUIDE:=/run/guide}\"\nmkdir -p \"$GUIDE\"\n\
             for file in \"$GUIDE\"/*; do [ ! -e \"$file\" ] || . \"$file\"; done\n"
            .to_owned();
        script.push_str(command);
        for name in names {
            // A line of a file that is written looks alike.
            let kept = format!("\"$GUIDE/{name}\"");
            write!(script, "\nif declare -p {name} &> {kept}.new; then mv {kept}.new {kept}; fi; rm -f {kept}.new")
                .expect("a string takes it");
        }
        self.terminal.run(place, language.locale(), &script).await
    }
}

/// Whether a line reads what is typed.
fn waits_for_input(line: &str) -> bool {
    let reads = line.contains("/dev/stdin") || line.starts_with("read ");
    reads && !line.contains("<<")
}

/// The variable a line sets.
fn assigned(line: &str) -> Option<&str> {
    let line = line.trim();
    let name = match line.strip_prefix("read -rs ") {
        Some(name) => name.split(' ').next()?,
        None => line.split_once('=')?.0,
    };
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
    is_name.then_some(name)
}
