//! The token, and the refusal of an old one.
//!
//! What it is not: proof of holding a lock. A token only says in which order the holders came.

use std::fmt;
use std::str::FromStr;

/// A fencing token: the number that a lock hands out with each acquisition. It only rises, so of two
/// holders the later one has the larger token, whatever their clocks say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Token(pub u64);

impl Token {
    /// The number.
    pub fn get(self) -> u64 {
        self.0
    }

    /// The number as SQL's `bigint` has it.
    ///
    /// # Errors
    /// When it is above 2⁶³ − 1. A lock would have to be taken a billion times a second for three
    /// centuries; a token like that is a mistake, and wrapping it would open the gate.
    pub fn to_bigint(self) -> Result<i64, TooLarge> {
        i64::try_from(self.0).map_err(|_| TooLarge { token: self })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Token {
    type Err = NotAToken;

    /// Reads what `Display` writes and nothing else: no sign, no space, no leading zero. One number has
    /// one text, so that a gate and what lies behind it cannot read the same header differently.
    fn from_str(text: &str) -> Result<Token, NotAToken> {
        let is_plain = text.bytes().all(|byte| byte.is_ascii_digit())
            && (text == "0" || !text.starts_with('0'));
        match text.parse() {
            Ok(number) if is_plain => Ok(Token(number)),
            _ => Err(NotAToken),
        }
    }
}

/// The refusal: somebody with a newer token was here. Nothing was written, and asking again with the same
/// token can only be refused again: the lock is lost, and its holder should stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("token {token} is older than {newest}: the write was refused and nothing changed")]
pub struct Stale {
    /// The token that came.
    pub token: Token,
    /// The newest that the resource has seen.
    pub newest: Token,
}

/// A text that is not the decimal text of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a token is a decimal number from 0 to {}, without sign or leading zeros",
    u64::MAX
)]
pub struct NotAToken;

/// A token that SQL's `bigint` cannot hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "token {token} is above {}, the largest bigint: the write was refused and nothing changed",
    i64::MAX
)]
pub struct TooLarge {
    /// The token that came.
    pub token: Token,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_who_was_refused_and_what_happened() {
        let stale = Stale {
            token: Token(33),
            newest: Token(34),
        };
        assert_eq!(
            stale.to_string(),
            "token 33 is older than 34: the write was refused and nothing changed"
        );
    }

    #[test]
    fn one_number_has_one_text() {
        for number in [0, 1, 33, u64::MAX] {
            assert_eq!(Token(number).to_string().parse(), Ok(Token(number)));
        }
        for text in [
            "",
            "+33",
            "-1",
            " 33",
            "33 ",
            "033",
            "00",
            "3_3",
            "0x21",
            "٣٣",
            "33,34",
            "18446744073709551616",
        ] {
            assert_eq!(text.parse::<Token>(), Err(NotAToken), "{text:?}");
        }
    }

    #[test]
    fn a_token_beyond_bigint_is_refused_and_does_not_wrap() {
        assert_eq!(Token(1 << 62).to_bigint(), Ok(1 << 62));
        assert!(Token(1 << 63).to_bigint().is_err());
    }
}
