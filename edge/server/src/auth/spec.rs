//! `--auth-token`: what it may say.

use jsonwebtoken::Algorithm;
use std::path::PathBuf;
use std::time::Duration;

/// How long a signed token lives when it is not said: etcd's default.
const JWT_TTL: Duration = Duration::from_secs(300);

/// What kind of tokens a member makes and believes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TokenSpec {
    /// Letters and a number, known to the cluster.
    Simple,
    /// Signed, known to nobody.
    Jwt(JwtSpec),
}

/// The options of `jwt`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JwtSpec {
    /// How it is signed.
    pub algorithm: Algorithm,
    /// PEM of the public key.
    pub pub_key: Option<PathBuf>,
    /// PEM of the private key, or the secret itself for `HS…`.
    pub priv_key: Option<PathBuf>,
    /// How long a token lives.
    pub ttl: Duration,
}

/// Why `--auth-token` cannot be.
#[derive(Debug, thiserror::Error)]
pub enum TokenSpecError {
    /// Neither `simple` nor `jwt`.
    #[error("--auth-token is \"{0}\": it is simple, or jwt and its options")]
    Kind(String),
    /// An option of `jwt`.
    #[error("--auth-token: {0}")]
    Option(String),
    /// A key's file.
    #[error("--auth-token: cannot read {file}")]
    File {
        /// Which.
        file: String,
        /// Why.
        source: std::io::Error,
    },
    /// What is in it.
    #[error("--auth-token: {file} has no {what}")]
    Key {
        /// Which file.
        file: String,
        /// What was looked for.
        what: &'static str,
    },
    /// Two keys that do not belong together.
    #[error("--auth-token: pub-key is not the public half of priv-key")]
    Mismatch,
}

impl TokenSpec {
    /// Reads what was typed.
    ///
    /// # Errors
    /// It is none, or lacks something.
    pub fn parse(text: &str) -> Result<TokenSpec, TokenSpecError> {
        let (kind, options) = text.split_once(',').unwrap_or((text, ""));
        match kind.trim() {
            // As in etcd, options after it mean nothing.
            "simple" | "" => Ok(TokenSpec::Simple),
            "jwt" => jwt(options).map(TokenSpec::Jwt),
            _ => Err(TokenSpecError::Kind(text.to_owned())),
        }
    }
}

fn jwt(options: &str) -> Result<JwtSpec, TokenSpecError> {
    let wrong = |words: String| TokenSpecError::Option(words);
    let (mut algorithm, mut pub_key, mut priv_key, mut ttl) = (None, None, None, JWT_TTL);
    for option in options
        .split(',')
        .filter(|option| !option.trim().is_empty())
    {
        let option = option.trim();
        let Some((name, value)) = option.split_once('=') else {
            return Err(wrong(format!("\"{option}\" is not name=value")));
        };
        match name {
            "sign-method" => {
                let known = || wrong(format!("sign-method {value} is not known here"));
                algorithm = Some(algorithm_of(value).ok_or_else(known)?);
            }
            "pub-key" => pub_key = Some(PathBuf::from(value)),
            "priv-key" => priv_key = Some(PathBuf::from(value)),
            "ttl" => {
                let read = duration(value).filter(|ttl| ttl.as_secs() > 0);
                ttl = read.ok_or_else(|| wrong(format!("ttl {value} is no duration, as 10m")))?;
            }
            _ => return Err(wrong(format!("{name} is no option of jwt"))),
        }
    }
    let algorithm = algorithm.ok_or_else(|| wrong("jwt needs sign-method".to_owned()))?;
    if pub_key.is_none() && priv_key.is_none() {
        return Err(wrong(
            "jwt needs priv-key, or pub-key to verify only".to_owned(),
        ));
    }
    Ok(JwtSpec {
        algorithm,
        pub_key,
        priv_key,
        ttl,
    })
}

fn algorithm_of(name: &str) -> Option<Algorithm> {
    Some(match name {
        "RS256" => Algorithm::RS256,
        "RS384" => Algorithm::RS384,
        "RS512" => Algorithm::RS512,
        "PS256" => Algorithm::PS256,
        "PS384" => Algorithm::PS384,
        "PS512" => Algorithm::PS512,
        "ES256" => Algorithm::ES256,
        "ES384" => Algorithm::ES384,
        "EdDSA" => Algorithm::EdDSA,
        "HS256" => Algorithm::HS256,
        "HS384" => Algorithm::HS384,
        "HS512" => Algorithm::HS512,
        // ES512 among them: its curve is not offered by the library below.
        _ => return None,
    })
}

/// A duration as Go writes it: numbers, each with its unit.
fn duration(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .filter(|at| *at > 0)?;
        let (number, tail) = rest.split_at(digits);
        let unit_end = tail
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let ms: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let number: u64 = number.parse().ok()?;
        sum = sum.checked_add(Duration::from_millis(number.checked_mul(ms)?))?;
        rest = tail;
    }
    (!text.is_empty()).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_typed_is_read_or_refused_in_words() {
        let parse = |text| TokenSpec::parse(text).map_err(|error| error.to_string());
        assert_eq!(parse("simple"), Ok(TokenSpec::Simple));
        let spec = parse("jwt,pub-key=/a/b.pem,priv-key=c.pem,sign-method=RS256,ttl=1h10m");
        let expected = JwtSpec {
            algorithm: Algorithm::RS256,
            pub_key: Some("/a/b.pem".into()),
            priv_key: Some("c.pem".into()),
            ttl: Duration::from_secs(4200),
        };
        assert_eq!(spec, Ok(TokenSpec::Jwt(expected)));
        for (wrong, words) in [
            ("magic", "is simple, or jwt"),
            ("jwt", "needs sign-method"),
            ("jwt,sign-method=RS256", "needs priv-key"),
            (
                "jwt,sign-method=none,priv-key=x",
                "sign-method none is not known",
            ),
            ("jwt,sign-method=ES512,priv-key=x", "not known here"),
            ("jwt,sign-method=RS256,priv-key=x,ttl=10", "no duration"),
            ("jwt,sign-method=RS256,priv-key=x,ttl=0s", "no duration"),
            (
                "jwt,sign-method=RS256,priv-key=x,ttl=99999999999999999h",
                "no duration",
            ),
            (
                "jwt,sign-method=RS256,priv-key=x,color=red",
                "color is no option",
            ),
            ("jwt,sign-method", "is not name=value"),
        ] {
            let refused = parse(wrong).expect_err(wrong);
            assert!(refused.contains(words), "{wrong}: {refused}");
        }
    }
}
