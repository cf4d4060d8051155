//! What is said when something went wrong, and what the shell is told.
//!
//! ```text
//!   error[Q4001]: the fencing token is stale
//!     × lock "jobs": token 33 is older than 34
//!     │ the write to "report" did not take effect, and never will
//!     help: stop the work that the lock protects …
//!     docs: quorate explain Q4001
//! ```
//!
//! | exit | means |
//! | --- | --- |
//! | 0 | done |
//! | 1 | unexpected |
//! | 2 | the command line, or the request, is wrong |
//! | 3 | not found |
//! | 4 | a condition does not hold, or a token is stale |
//! | 5 | certainly not applied |
//! | 6 | the outcome is unknown |
//! | 8 | the lock was lost while the command ran |
//! | 124 | the time to wait is over |
//! | 130 | interrupted |

use crate::output::{self, Format};
use api::Code;
use api::proto::{self, Effect};
use std::fmt::Write as _;

/// The exit codes that no error code carries.
pub(crate) mod exit {
    pub(crate) const UNEXPECTED: u8 = 1;
    pub(crate) const USAGE: u8 = 2;
    pub(crate) const NOT_FOUND: u8 = 3;
    pub(crate) const CONDITION: u8 = 4;
    pub(crate) const UNKNOWN: u8 = 6;
    pub(crate) const INTERRUPTED: u8 = 130;
}

/// Why a command did not do what it was asked for.
#[derive(Clone, PartialEq, Debug)]
pub(crate) struct Complaint {
    /// As the API has it. Without a code it is a matter of this machine or of the command line.
    error: Box<proto::Error>,
    exit: u8,
    /// The write that it is about, such as `the write to "x"`.
    write: Option<String>,
    /// More lines of what happened.
    notes: Vec<String>,
}

impl Complaint {
    fn uncoded(exit: u8, message: impl Into<String>) -> Complaint {
        Complaint {
            error: Box::new(proto::Error {
                message: message.into(),
                ..proto::Error::default()
            }),
            exit,
            write: None,
            notes: Vec::new(),
        }
    }

    /// The command line cannot mean anything.
    pub(crate) fn usage(message: impl Into<String>) -> Complaint {
        Complaint::uncoded(exit::USAGE, message)
    }

    /// Something that the command needs is not there.
    pub(crate) fn not_found(message: impl Into<String>) -> Complaint {
        Complaint::uncoded(exit::NOT_FOUND, message)
    }

    /// This machine did not do what it should.
    pub(crate) fn unexpected(message: impl Into<String>) -> Complaint {
        Complaint::uncoded(exit::UNEXPECTED, message)
    }

    /// The user wants it to end. A write may be under way.
    pub(crate) fn interrupted(is_write: bool) -> Complaint {
        let mut complaint = Complaint::uncoded(exit::INTERRUPTED, "interrupted");
        if is_write {
            complaint.error.effect = Effect::Unknown.into();
            complaint.write = Some("a write that was under way".to_owned());
        }
        complaint
    }

    /// Nobody reads standard output any more: there is nothing to say, and nobody to say it to.
    pub(crate) fn unread() -> Complaint {
        Complaint::uncoded(0, "")
    }

    /// What cannot be.
    pub(crate) fn bug(message: impl Into<String>) -> Complaint {
        Complaint::coded(Code::Internal, message)
    }

    /// With a code.
    pub(crate) fn coded(code: Code, message: impl Into<String>) -> Complaint {
        Complaint::of(code.error(message))
    }

    /// What the API said.
    pub(crate) fn of(error: proto::Error) -> Complaint {
        let is_unknown = error.effect() == Effect::Unknown;
        let exit = match error.known() {
            // A repeated write can meet a refusal that does not tell what became of it.
            Some(code) if is_unknown && code.effect() != Effect::Unknown => exit::UNKNOWN,
            Some(code) => code.exit(),
            // A newer member's code: what is certain is whether the write took effect.
            None if is_unknown => exit::UNKNOWN,
            None => exit::UNEXPECTED,
        };
        Complaint {
            error: Box::new(error),
            exit,
            write: None,
            notes: Vec::new(),
        }
    }

    /// It happened to this write, such as `the write to "x"`.
    pub(crate) fn about(mut self, write: impl Into<String>) -> Complaint {
        self.write = Some(write.into());
        self
    }

    /// With one more line of what happened.
    pub(crate) fn note(mut self, line: impl Into<String>) -> Complaint {
        self.notes.push(line.into());
        self
    }

    /// With what to do, in place of what the code's page says.
    pub(crate) fn help(mut self, help: impl Into<String>) -> Complaint {
        self.error.help = help.into();
        self
    }

    /// With another exit code: that of a command which was run.
    pub(crate) fn exits(mut self, exit: u8) -> Complaint {
        self.exit = exit;
        self
    }

    /// Its code, when this build knows it.
    pub(crate) fn code(&self) -> Option<Code> {
        self.error.known()
    }

    /// What the shell is told.
    pub(crate) fn exit(&self) -> u8 {
        self.exit
    }

    /// Whether there is nothing to say.
    pub(crate) fn is_silent(&self) -> bool {
        self.error.message.is_empty()
    }

    /// For people.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let (code, message) = (&self.error.code, &self.error.message);
        // A String takes everything.
        let _ = match code.is_empty() {
            true => writeln!(text, "error: {message}"),
            false => {
                let title = self
                    .code()
                    .map_or("an error of a newer version", Code::title);
                let _ = writeln!(text, "error[{code}]: {title}");
                match message.is_empty() || message == title {
                    true => Ok(()),
                    false => writeln!(text, "  × {message}"),
                }
            }
        };
        for line in self
            .tokens_line()
            .into_iter()
            .chain(self.notes.clone())
            .chain(self.effect_line())
        {
            let _ = writeln!(text, "  │ {line}");
        }
        if !self.error.help.is_empty() {
            let _ = writeln!(
                text,
                "  help: {}",
                self.error.help.replace('\n', "\n        ")
            );
        }
        if self.code().is_some() {
            let _ = writeln!(text, "  docs: quorate explain {code}");
        }
        text
    }

    /// Both tokens, where the message does not name them.
    fn tokens_line(&self) -> Option<String> {
        let (came, newest) = self.error.token.zip(self.error.newest_token)?;
        let names = |token: u64| {
            let mut words = self
                .error
                .message
                .split(|letter: char| !letter.is_ascii_digit());
            words.any(|word| word == token.to_string())
        };
        let line = || format!("the token is {came}, and {newest} is the newest that holds");
        (!names(came) || !names(newest)).then(line)
    }

    /// Whether the write that it is about took effect.
    fn effect_line(&self) -> Option<String> {
        let write = self.write.as_ref()?;
        match self.error.effect() {
            Effect::Unspecified => None,
            Effect::None => Some(format!("{write} did not take effect, and never will")),
            Effect::Unknown => Some(format!("{write} MAY have taken effect")),
            Effect::Done => Some(format!("{write} took effect before")),
        }
    }

    /// For programs: the API's error, of kind `Error`.
    pub(crate) fn rendered(&self, format: Format) -> String {
        // `render` fails for what is no map; an error is one.
        output::render(format, "Error", &*self.error).unwrap_or_default()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
mod tests {
    use super::*;

    #[test]
    fn people_read_what_happened_whether_it_took_effect_and_what_to_do() {
        let mut error = Code::StaleToken.error("lock \"jobs\": token 33 is older than 34");
        error.help = "stop".into();
        let complaint = Complaint::of(error).about("the write to \"x\"");
        let expected = "\
error[Q4001]: the fencing token is stale
  × lock \"jobs\": token 33 is older than 34
  │ the write to \"x\" did not take effect, and never will
  help: stop
  docs: quorate explain Q4001
";
        assert_eq!(complaint.text(), expected);
        assert_eq!(complaint.exit(), 4);
    }

    #[test]
    fn every_code_has_its_exit_and_says_whether_its_write_took_effect() {
        for code in Code::ALL {
            let complaint = Complaint::coded(*code, "").about("the write");
            assert_eq!(complaint.exit(), code.exit());
            let text = complaint.text();
            assert!(
                text.starts_with(&format!("error[{}]: {}\n", code.text(), code.title())),
                "{text}"
            );
            let word = match code.effect() {
                Effect::None => "the write did not take effect, and never will",
                Effect::Unknown => "the write MAY have taken effect",
                Effect::Done => "the write took effect before",
                Effect::Unspecified => unreachable!("every code knows"),
            };
            assert!(text.contains(word), "{text}");
            assert!(
                text.ends_with(&format!("  docs: quorate explain {}\n", code.text())),
                "{text}"
            );
        }
    }

    #[test]
    fn an_error_of_a_newer_member_is_judged_by_its_effect() {
        let error = proto::Error {
            code: "Q2999".into(),
            message: "new".into(),
            effect: Effect::Unknown.into(),
            ..proto::Error::default()
        };
        let complaint = Complaint::of(error.clone());
        assert_eq!(complaint.exit(), 6);
        assert!(
            complaint
                .text()
                .starts_with("error[Q2999]: an error of a newer version\n  × new\n")
        );
        let none = proto::Error {
            effect: Effect::None.into(),
            ..error
        };
        assert_eq!(Complaint::of(none).exit(), 1);
    }

    #[test]
    fn programs_read_the_same_fields_as_from_the_api() {
        let complaint = Complaint::coded(Code::KeyNotFound, "no x");
        let value: serde_json::Value =
            serde_json::from_str(&complaint.rendered(Format::Jsonl)).unwrap();
        assert_eq!(value["apiVersion"], "quorate/v1");
        assert_eq!(value["kind"], "Error");
        assert_eq!(value["code"], "Q5002");
        assert_eq!(value["message"], "no x");
        assert_eq!(value["effect"], "none");
    }
}
