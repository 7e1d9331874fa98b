//! `dingbot config`: shows the settings in force, and where each came from.

use std::io::{self, Write};
use std::process::ExitCode;

use super::check::report_problems;
use crate::config::{Effective, Sources, load};

/// Prints one line a setting, `key = value  # origin`, secrets as `***`; or every problem, like
/// `check`. Exit code 0, or 78.
pub(super) fn run(sources: &Sources, out: &mut dyn Write) -> io::Result<ExitCode> {
    match load(sources) {
        Ok(loaded) => report_settings(&loaded.effective, out),
        Err(problems) => report_problems(&problems, out),
    }
}

fn report_settings(settings: &[Effective], out: &mut dyn Write) -> io::Result<ExitCode> {
    for Effective { key, value, origin } in settings {
        writeln!(out, "{key} = {value}  # {origin}")?;
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_setting_is_a_line_with_its_origin_and_no_secret() {
        let environment = vec![("OPENAI_API_KEY".into(), "sk-verysecret".into())];
        let mut out = Vec::new();
        let code = run(&Sources { environment, ..Sources::default() }, &mut out)
            .expect("a vector takes all");
        let text = String::from_utf8(out).expect("UTF-8");
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(text.contains("llm.api_key = ***  # environment OPENAI_API_KEY\n"), "{text}");
        assert!(text.contains("llm.timeout = \"30s\"  # default\n"), "{text}");
        assert!(text.contains("server.listen = [\"[::]:8080\"]  # default\n"), "{text}");
        assert!(!text.contains("verysecret"));
    }

    #[test]
    fn problems_are_shown_instead() {
        let environment = vec![("PORT".into(), "x".into())];
        let mut out = Vec::new();
        let code = run(&Sources { environment, ..Sources::default() }, &mut out)
            .expect("a vector takes all");
        assert_eq!(code, ExitCode::from(78));
        assert!(String::from_utf8(out).expect("UTF-8").starts_with("environment PORT: "));
    }
}
