//! `dingbot check`: says whether the configuration is valid, and everything that is wrong with it.

use std::io::{self, Write};
use std::process::ExitCode;

use crate::config::{Problem, Sources, load};

/// `EX_CONFIG` of sysexits(3): the unit must not restart the daemon until someone mends the files.
pub(super) const BAD_CONFIGURATION: u8 = 78;

/// Prints every problem, one a line, or the warnings and `configuration is valid`. Exit code 0,
/// or [`BAD_CONFIGURATION`].
pub(super) fn run(sources: &Sources, out: &mut dyn Write) -> io::Result<ExitCode> {
    match load(sources) {
        Ok(loaded) => report_valid(&loaded.warnings, out),
        Err(problems) => report_problems(&problems, out),
    }
}

/// Prints the problems of a configuration and how many there are.
pub(super) fn report_problems(problems: &[Problem], out: &mut dyn Write) -> io::Result<ExitCode> {
    for problem in problems {
        writeln!(out, "{problem}")?;
    }
    match problems.len() {
        1 => writeln!(out, "configuration is not valid: 1 problem")?,
        count => writeln!(out, "configuration is not valid: {count} problems")?,
    }
    Ok(ExitCode::from(BAD_CONFIGURATION))
}

fn report_valid(warnings: &[Problem], out: &mut dyn Write) -> io::Result<ExitCode> {
    for warning in warnings {
        writeln!(out, "warning: {warning}")?;
    }
    writeln!(out, "configuration is valid")?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(environment: &[(&str, &str)]) -> (ExitCode, String) {
        let environment =
            environment.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let mut out = Vec::new();
        let code = run(&Sources { environment, ..Sources::default() }, &mut out)
            .expect("a vector takes all");
        (code, String::from_utf8(out).expect("UTF-8"))
    }

    #[test]
    fn a_valid_configuration_is_said_to_be_so_after_its_warnings() {
        assert_eq!(checked(&[]), (ExitCode::SUCCESS, "configuration is valid\n".into()));
        let (code, text) = checked(&[("DINGBOT_LLM__MODLE", "x")]);
        assert_eq!(code, ExitCode::SUCCESS);
        assert!(text.starts_with("warning: environment DINGBOT_LLM__MODLE: "), "{text}");
        assert!(text.ends_with("\nconfiguration is valid\n"), "{text}");
    }

    #[test]
    fn every_problem_is_a_line() {
        let (code, text) = checked(&[("PORT", "http"), ("OPENAI_REQUEST_TIMEOUT", "soon")]);
        assert_eq!(code, ExitCode::from(78));
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains("environment PORT: server.listen: "), "{text}");
        assert!(text.contains("environment OPENAI_REQUEST_TIMEOUT: llm.timeout: "), "{text}");
        assert!(text.ends_with("configuration is not valid: 2 problems\n"), "{text}");
    }
}
