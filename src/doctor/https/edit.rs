//! Commands that change a line of nginx's files.

use super::configuration::Place;

/// Where a line is put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Before,
    After,
}

/// The command that writes `to` for `from`; none where something in them, or in the file's name,
/// could be taken for something else.
pub(super) fn replaced(at: &Place, from: &str, to: &str) -> Option<String> {
    if !is_plain(from) || !is_plain(to) {
        return None;
    }
    let pattern = from.replace('.', "\\.").replace('[', "\\[").replace(']', "\\]");
    Some(format!("{} '{}s|{pattern}|{to}|' {}", sed(), at.line, file(at)?))
}

/// The command that writes `line` beside the one at a place.
pub(super) fn added(at: &Place, side: Side, line: &str) -> Option<String> {
    let side = if side == Side::Before { 'i' } else { 'a' };
    let harmless = !line.contains(['\'', '\n', '\\']);
    let command = format!("{} '{}{side} {line}' {}", sed(), at.line, file(at)?);
    harmless.then_some(command)
}

/// What is in `sites-enabled` is most often a link, and is to stay one.
fn sed() -> &'static str {
    "sudo sed -i --follow-symlinks"
}

fn is_plain(text: &str) -> bool {
    text.chars().all(|it| it.is_ascii_alphanumeric() || ".:-_/[]".contains(it))
}

fn file(at: &Place) -> Option<String> {
    Some(shlex::try_quote(&at.file).ok()?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_changes_what_it_says_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (real, link) = (folder.path().join("it's $(id)"), folder.path().join("link"));
        std::fs::write(&real, "server 127x0.0.1:1;\nserver 127.0.0.1:1;\nserver [::1]:1;\n")
            .unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let at = |file: &std::path::Path, line| Place { file: file.to_str().unwrap().into(), line };
        let commands = [
            replaced(&at(&link, 1), "127.0.0.1:1", "wrong"),
            replaced(&at(&link, 2), "127.0.0.1:1", "127.0.0.1:8080"),
            replaced(&at(&real, 3), "[::1]:1", "[::1]:2"),
            added(&at(&real, 3), Side::After, "proxy_set_header X-Forwarded-For $remote_addr;"),
            added(&at(&real, 1), Side::Before, "first;"),
        ];
        for command in commands {
            let command = command.unwrap().replace("sudo ", "");
            let done = std::process::Command::new("sh").args(["-c", &command]).status();
            assert!(done.unwrap().success(), "{command}");
        }
        let expected = "first;\nserver 127x0.0.1:1;\nserver 127.0.0.1:8080;\nserver [::1]:2;\n\
                        proxy_set_header X-Forwarded-For $remote_addr;\n";
        assert_eq!(std::fs::read_to_string(&real).unwrap(), expected);
        assert!(link.is_symlink());
    }

    #[test]
    fn what_could_be_misread_gives_no_command() {
        let at = Place { file: "/n".into(), line: 1 };
        for text in ["a|b", "a;id", "a'b", "a&", "a*", "a b", "$x"] {
            assert_eq!(replaced(&at, text, "x"), None, "{text}");
            assert_eq!(replaced(&at, "x", text), None, "{text}");
        }
    }
}
