//! Who asks: a name, and its password from one of three places.

use crate::complaint::Complaint;
use std::path::PathBuf;

/// The most bytes of a password: what bcrypt takes, and room for those who think that longer is better.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// What was said about who asks.
#[derive(Clone, Default)]
pub(crate) struct Credentials {
    /// `NAME` or `NAME:PASSWORD`.
    pub(crate) user: Option<String>,
    pub(crate) password: Option<String>,
    /// The first line counts.
    pub(crate) password_file: Option<PathBuf>,
}

impl Credentials {
    /// What the environment says.
    pub(crate) fn of(variable: impl Fn(&str) -> Option<String>) -> Credentials {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        Credentials {
            user: set("QUORATE_USER"),
            password: set("QUORATE_PASSWORD"),
            password_file: set("QUORATE_PASSWORD_FILE").map(PathBuf::from),
        }
    }

    /// These, and `other` where these say nothing. A user of one's own takes no password of somebody else's.
    pub(crate) fn or(self, other: Credentials) -> Credentials {
        let has_password = self.password.is_some() || self.password_file.is_some();
        match (&self.user, has_password) {
            (Some(user), _) if user.contains(':') => self,
            (_, true) => Credentials {
                user: self.user.or(other.user),
                ..self
            },
            (Some(user), false) => match &other.user {
                Some(theirs) if theirs.split(':').next() != Some(user) => self,
                Some(_) => other,
                None => Credentials {
                    user: self.user,
                    ..other
                },
            },
            (None, false) => other,
        }
    }

    /// A name and a password; nothing when nobody is named.
    ///
    /// # Errors
    /// A name without a password, a password without a name, two passwords, or a file that cannot be read.
    pub(crate) fn resolve(self) -> Result<Option<(String, String)>, Complaint> {
        let Some(user) = self.user else {
            return match self.password.is_some() || self.password_file.is_some() {
                true => Err(Complaint::usage("there is a password, and no --user")),
                false => Ok(None),
            };
        };
        let (name, own) = match user.split_once(':') {
            Some((name, password)) => (name.to_owned(), Some(password.to_owned())),
            None => (user, None),
        };
        if name.is_empty() {
            return Err(Complaint::usage("--user names nobody"));
        }
        let password = match (own, self.password, self.password_file) {
            (Some(password), None, None) | (None, Some(password), None) => password,
            (None, None, Some(file)) => read(&file)?,
            (None, None, None) => {
                return Err(Complaint::usage(format!(
                    "--user {name} has no password: say --password-file FILE"
                )));
            }
            _ => return Err(Complaint::usage(format!("{name} has two passwords"))),
        };
        Ok(Some((name, password)))
    }
}

fn read(file: &PathBuf) -> Result<String, Complaint> {
    use std::io::Read as _;
    let failed = |why: &dyn std::fmt::Display| {
        Complaint::usage(format!(
            "cannot read the password in {}: {why}",
            file.display()
        ))
    };
    let mut text = String::new();
    let opened = std::fs::File::open(file).map_err(|error| failed(&error))?;
    let read = opened
        .take(PASSWORD_BYTES_MAX + 1)
        .read_to_string(&mut text);
    read.map_err(|error| failed(&error))?;
    if text.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(failed(&"it is longer than 1,024 bytes"));
    }
    let password = text.lines().next().unwrap_or_default();
    match password.is_empty() {
        true => Err(failed(&"its first line is empty")),
        false => Ok(password.to_owned()),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // in a test, that is how it fails
mod tests {
    use super::*;

    fn said(user: Option<&str>, password: Option<&str>) -> Credentials {
        Credentials {
            user: user.map(str::to_owned),
            password: password.map(str::to_owned),
            password_file: None,
        }
    }

    fn asked(said: Credentials) -> Option<(String, String)> {
        said.resolve().ok().flatten()
    }

    fn pair(name: &str, password: &str) -> Option<(String, String)> {
        Some((name.to_owned(), password.to_owned()))
    }

    #[test]
    fn a_password_may_stand_behind_the_name_or_alone() {
        assert_eq!(asked(said(Some("ann:a:b"), None)), pair("ann", "a:b"));
        assert_eq!(asked(said(Some("ann"), Some("word"))), pair("ann", "word"));
        assert_eq!(asked(said(None, None)), None);
        for wrong in [
            said(Some("ann"), None),
            said(Some(":word"), None),
            said(Some("ann:word"), Some("word")),
            said(None, Some("word")),
        ] {
            assert!(wrong.resolve().is_err());
        }
    }

    #[test]
    fn a_file_has_it_in_its_first_line() {
        let dir = std::env::temp_dir().join(format!("quorate-password-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let file = dir.join("password");
        let of_file = || Credentials {
            user: Some("ann".to_owned()),
            password: None,
            password_file: Some(file.clone()),
        };
        assert!(of_file().resolve().is_err(), "no file");
        std::fs::write(&file, "word\nnot this\n").unwrap();
        assert_eq!(asked(of_file()), pair("ann", "word"));
        for wrong in ["", "\nword", &"x".repeat(1025)] {
            std::fs::write(&file, wrong).unwrap();
            assert!(of_file().resolve().is_err(), "{wrong}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn flags_come_before_variables_and_bring_their_own_password() {
        let variables = || said(Some("bob"), Some("his"));
        let resolved = |flags: Credentials| asked(flags.or(variables()));
        assert_eq!(resolved(said(None, None)), pair("bob", "his"));
        assert_eq!(resolved(said(Some("ann:hers"), None)), pair("ann", "hers"));
        assert_eq!(
            resolved(said(Some("ann"), Some("hers"))),
            pair("ann", "hers")
        );
        assert_eq!(resolved(said(Some("bob"), None)), pair("bob", "his"));
        assert!(said(Some("ann"), None).or(variables()).resolve().is_err());
        assert_eq!(resolved(said(None, Some("new"))), pair("bob", "new"));
    }
}
