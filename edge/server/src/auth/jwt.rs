//! Signed tokens: JSON web tokens with etcd's claims.
//!
//! ```text
//!   { "username": "ann", "revision": 12, "exp": 1796000000 }
//! ```
//!
//! A member with a private key signs and verifies; one with a public key alone verifies. Only the configured way of
//! signing is believed, so no token chooses how it is looked at. A token as of an older revision is refused by whoever
//! decides (`revision of auth store is old`), which ends it with the next change of users or roles.

use super::spec::{JwtSpec, TokenSpecError};
use bytes::Bytes;
use etcd::{Code, Refusal, Status};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use ring::signature::{self, KeyPair as _};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Duration;
use store::command::{IDENTITY_BYTES_MAX, Identity};

/// Bytes of a token that is looked at: names are bounded, and so are signatures.
const TOKEN_BYTES_MAX: usize = 8192;

/// etcd's claims. What is missing or of another kind makes the token none.
#[derive(Serialize, Deserialize)]
struct Claims {
    username: String,
    revision: u64,
    exp: u64,
    /// Not before this second. Ours do not say it; those of another issuer may, and etcd heeds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<u64>,
}

pub(super) struct Jwt {
    algorithm: Algorithm,
    signs: Option<EncodingKey>,
    verifies: DecodingKey,
    ttl: Duration,
}

impl Jwt {
    pub(super) fn load(spec: &JwtSpec) -> Result<Jwt, TokenSpecError> {
        let private = spec.priv_key.as_deref().map(Key::read).transpose()?;
        let public = spec.pub_key.as_deref().map(Key::read).transpose()?;
        let (signs, verifies) = match spec.algorithm {
            Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512 => {
                // Never the public key: everybody has that one, and could say who they are.
                let secret = private.as_ref().map(|key| &key.bytes[..]);
                let Some(secret) = secret.filter(|secret| !secret.is_empty()) else {
                    let words = "missing key data: HS… needs a secret in priv-key".to_owned();
                    return Err(TokenSpecError::Option(words));
                };
                let signs = EncodingKey::from_secret(secret);
                (Some(signs), DecodingKey::from_secret(secret))
            }
            algorithm => {
                let signs = private
                    .as_ref()
                    .map(|key| key.signing(algorithm))
                    .transpose()?;
                let own = private
                    .as_ref()
                    .map(|key| key.public_half(algorithm))
                    .transpose()?;
                let given = public
                    .as_ref()
                    .map(|key| key.verifying(algorithm))
                    .transpose()?;
                let verifies = match (own, given) {
                    (Some(own), None) => own,
                    (_, Some(given)) => given,
                    (None, None) => {
                        let words = "jwt needs priv-key, or pub-key to verify only".to_owned();
                        return Err(TokenSpecError::Option(words));
                    }
                };
                (signs, verifies)
            }
        };
        let jwt = Jwt {
            algorithm: spec.algorithm,
            signs,
            verifies,
            ttl: spec.ttl,
        };
        // Two keys that do not belong together would make tokens that nobody believes.
        if jwt.signs.is_some() {
            let token = jwt
                .sign("root", 1, 1)
                .map_err(|_| TokenSpecError::Mismatch)?;
            if jwt.verify(&token, 1).is_none() {
                return Err(TokenSpecError::Mismatch);
            }
        }
        Ok(jwt)
    }

    /// A token for `user`, whose password was checked as of `revision`.
    pub(super) fn sign(&self, user: &str, revision: u64, now_s: u64) -> Result<String, Status> {
        let key = self.signs.as_ref().ok_or(Refusal::VerifyOnly)?;
        let claims = Claims {
            username: user.to_owned(),
            revision,
            exp: now_s.saturating_add(self.ttl.as_secs()),
            nbf: None,
        };
        let signed = jsonwebtoken::encode(&Header::new(self.algorithm), &claims, key);
        signed.map_err(|_| Status::new(Code::Internal, "quorate: cannot sign a token"))
    }

    /// Who a token is of, if it is believed.
    pub(super) fn verify(&self, token: &str, now_s: u64) -> Option<Identity> {
        if token.len() > TOKEN_BYTES_MAX {
            return None;
        }
        let mut rules = Validation::new(self.algorithm);
        // The clock is ours to look at. So are the claims about it: in this library one of another kind than a number may
        // count as not said (GHSA-h395-gr6q-cpjc). Ours does not parse then.
        rules.validate_exp = false;
        rules.validate_aud = false;
        rules.set_required_spec_claims(&["exp"]);
        let claims: Claims = jsonwebtoken::decode(token, &self.verifies, &rules)
            .ok()?
            .claims;
        let is_name = (1..=IDENTITY_BYTES_MAX).contains(&claims.username.len());
        let is_now = now_s < claims.exp && claims.nbf.is_none_or(|nbf| nbf <= now_s);
        (is_name && is_now).then(|| Identity::User {
            name: Bytes::from(claims.username),
            revision: claims.revision,
        })
    }
}

/// A key's file.
struct Key {
    file: String,
    bytes: Vec<u8>,
}

impl Key {
    fn read(file: &Path) -> Result<Key, TokenSpecError> {
        let name = file.display().to_string();
        match std::fs::read(file) {
            Ok(bytes) => Ok(Key { file: name, bytes }),
            Err(source) => Err(TokenSpecError::File { file: name, source }),
        }
    }

    fn none(&self, what: &'static str) -> TokenSpecError {
        let file = self.file.clone();
        TokenSpecError::Key { file, what }
    }

    fn signing(&self, algorithm: Algorithm) -> Result<EncodingKey, TokenSpecError> {
        let what = "private key for this sign-method";
        match Family::of(algorithm) {
            Family::Rsa => EncodingKey::from_rsa_pem(&self.bytes).map_err(|_| self.none(what)),
            Family::Ec => Ok(EncodingKey::from_ec_der(&self.pkcs8(algorithm, what)?)),
            Family::Ed => Ok(EncodingKey::from_ed_der(&self.pkcs8(algorithm, what)?)),
        }
    }

    fn verifying(&self, algorithm: Algorithm) -> Result<DecodingKey, TokenSpecError> {
        let read = match Family::of(algorithm) {
            Family::Rsa => DecodingKey::from_rsa_pem(&self.bytes),
            Family::Ec => DecodingKey::from_ec_pem(&self.bytes),
            Family::Ed => DecodingKey::from_ed_pem(&self.bytes),
        };
        read.map_err(|_| self.none("public key for this sign-method"))
    }

    /// The public half of a private key.
    fn public_half(&self, algorithm: Algorithm) -> Result<DecodingKey, TokenSpecError> {
        let what = "private key for this sign-method";
        let none = || self.none(what);
        let der = self.pkcs8(algorithm, what)?;
        match Family::of(algorithm) {
            Family::Rsa => {
                let pair = signature::RsaKeyPair::from_pkcs8(&der)
                    .or_else(|_| signature::RsaKeyPair::from_der(&der))
                    .map_err(|_| none())?;
                Ok(DecodingKey::from_rsa_der(pair.public_key().as_ref()))
            }
            Family::Ec => {
                let curve = match algorithm {
                    Algorithm::ES384 => &signature::ECDSA_P384_SHA384_FIXED_SIGNING,
                    _ => &signature::ECDSA_P256_SHA256_FIXED_SIGNING,
                };
                let chance = ring::rand::SystemRandom::new();
                let pair = signature::EcdsaKeyPair::from_pkcs8(curve, &der, &chance);
                let pair = pair.map_err(|_| none())?;
                Ok(DecodingKey::from_ec_der(pair.public_key().as_ref()))
            }
            Family::Ed => {
                let pair = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der);
                let pair = pair.map_err(|_| none())?;
                Ok(DecodingKey::from_ed_der(pair.public_key().as_ref()))
            }
        }
    }

    /// The bytes in the PEM, in the form of PKCS #8 where it is a curve's.
    fn pkcs8(&self, algorithm: Algorithm, what: &'static str) -> Result<Vec<u8>, TokenSpecError> {
        let text = std::str::from_utf8(&self.bytes).map_err(|_| self.none(what))?;
        for label in ["PRIVATE KEY", "RSA PRIVATE KEY"] {
            if let Some(der) = pem(text, label) {
                return Ok(der);
            }
        }
        // What `openssl ecparam -genkey` writes (RFC 5915): the same key without the name of its curve around it.
        let der = pem(text, "EC PRIVATE KEY").ok_or_else(|| self.none(what))?;
        Ok(wrapped(algorithm, &der))
    }
}

enum Family {
    Rsa,
    Ec,
    Ed,
}

impl Family {
    fn of(algorithm: Algorithm) -> Family {
        match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => Family::Ec,
            Algorithm::EdDSA => Family::Ed,
            Algorithm::RS256
            | Algorithm::RS384
            | Algorithm::RS512
            | Algorithm::PS256
            | Algorithm::PS384
            | Algorithm::PS512
            | Algorithm::HS256
            | Algorithm::HS384
            | Algorithm::HS512 => Family::Rsa,
        }
    }
}

/// The contents of the PEM block with this label.
fn pem(text: &str, label: &str) -> Option<Vec<u8>> {
    use base64::Engine as _;
    let (_, rest) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body: String = body.split_whitespace().collect();
    base64::engine::general_purpose::STANDARD.decode(body).ok()
}

/// A key as RFC 5915 writes it, inside PKCS #8 (RFC 5208): version, curve, key.
fn wrapped(algorithm: Algorithm, key: &[u8]) -> Vec<u8> {
    // ecPublicKey (1.2.840.10045.2.1), then the curve: prime256v1 or secp384r1.
    const EC: [u8; 9] = [0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01];
    const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
    const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
    let curve = match algorithm {
        Algorithm::ES384 => P384,
        _ => P256,
    };
    let names = tagged(0x30, &[&EC, curve].concat());
    let body = [&[0x02, 0x01, 0x00], &names[..], &tagged(0x04, key)].concat();
    tagged(0x30, &body)
}

/// A value of DER.
fn tagged(tag: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let mut out = vec![tag];
    match length {
        0..0x80 => out.push(length as u8),
        0x80..0x100 => out.extend_from_slice(&[0x81, length as u8]),
        _ => out.extend_from_slice(&[0x82, (length >> 8) as u8, length as u8]),
    }
    out.extend_from_slice(body);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::TokenSpec;

    fn load(spec: &str) -> Result<Jwt, String> {
        let keys = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/");
        let spec = spec.replace("KEYS/", keys);
        let spec = TokenSpec::parse(&format!("jwt,ttl=1m,{spec}")).map_err(|it| it.to_string())?;
        let TokenSpec::Jwt(spec) = spec else {
            panic!("it says jwt");
        };
        Jwt::load(&spec).map_err(|error| error.to_string())
    }

    #[test]
    fn every_way_of_signing_is_believed_and_no_other() {
        let specs = [
            "sign-method=RS256,priv-key=KEYS/rsa.pem,pub-key=KEYS/rsa-public.pem",
            "sign-method=RS384,priv-key=KEYS/rsa-pkcs1.pem",
            "sign-method=RS512,priv-key=KEYS/rsa.pem",
            "sign-method=PS256,priv-key=KEYS/rsa.pem",
            "sign-method=PS384,priv-key=KEYS/rsa.pem",
            "sign-method=PS512,priv-key=KEYS/rsa.pem",
            "sign-method=ES256,priv-key=KEYS/ec.pem,pub-key=KEYS/ec-public.pem",
            "sign-method=ES384,priv-key=KEYS/ec384.pem",
            "sign-method=EdDSA,priv-key=KEYS/ed.pem,pub-key=KEYS/ed-public.pem",
            "sign-method=HS256,priv-key=KEYS/README.md",
        ];
        let all: Vec<Jwt> = specs.iter().map(|spec| load(spec).expect(spec)).collect();
        for (at, jwt) in all.iter().enumerate() {
            let token = jwt.sign("ann", 9, 1000).expect("signed");
            let user = Identity::User {
                name: "ann".into(),
                revision: 9,
            };
            assert_eq!(jwt.verify(&token, 1059), Some(user), "{}", specs[at]);
            assert_eq!(jwt.verify(&token, 1060), None, "{} expires", specs[at]);
            for (other, unlike) in all.iter().enumerate().filter(|(other, _)| *other != at) {
                assert_eq!(unlike.verify(&token, 1000), None, "{at} is not {other}");
            }
            for cut in 0..token.len() {
                assert_eq!(jwt.verify(&token[..cut], 1000), None);
            }
        }
    }

    /// As etcd has it (tried on 3.6.16), but for a token without `exp`, which etcd believes for ever. A claim about time
    /// that is no number is none that may be passed over (GHSA-h395-gr6q-cpjc).
    #[test]
    fn claims_about_time_are_numbers_and_are_heeded() {
        let jwt = load("sign-method=HS256,priv-key=KEYS/README.md").expect("loads");
        let with = |claims: serde_json::Value| {
            let mut all = serde_json::json!({ "username": "ann", "revision": 9, "exp": 1060 });
            let more = claims.as_object().expect("an object").clone();
            all.as_object_mut().expect("an object").extend(more);
            let key = jwt.signs.as_ref().expect("it signs");
            let header = Header::new(jwt.algorithm);
            let token = jsonwebtoken::encode(&header, &all, key).expect("signed");
            jwt.verify(&token, 1000).is_some()
        };
        use serde_json::json;
        for believed in [
            json!({}),
            json!({ "nbf": 1000 }),
            json!({ "iat": 2000, "aud": "x" }),
        ] {
            assert!(with(believed.clone()), "{believed}");
        }
        for refused in [
            json!({ "nbf": 1001 }),
            json!({ "nbf": "0" }),
            json!({ "nbf": -1 }),
            json!({ "exp": 1000 }),
            json!({ "exp": "1060" }),
            json!({ "exp": null }),
            json!({ "revision": "9" }),
            json!({ "username": 1 }),
            json!({ "username": "" }),
        ] {
            assert!(!with(refused.clone()), "{refused}");
        }
    }

    #[test]
    fn a_public_key_alone_believes_and_does_not_sign() {
        for (way, key) in [("RS256", "rsa"), ("ES256", "ec"), ("EdDSA", "ed")] {
            let full = load(&format!("sign-method={way},priv-key=KEYS/{key}.pem")).expect("loads");
            let half = format!("sign-method={way},pub-key=KEYS/{key}-public.pem");
            let half = load(&half).expect("loads");
            let token = full.sign("ann", 1, 0).expect("signed");
            assert!(half.verify(&token, 1).is_some(), "{way}");
            assert_eq!(half.sign("ann", 1, 0), Err(Refusal::VerifyOnly.into()));
        }
    }

    #[test]
    fn keys_that_cannot_be_used_are_said_at_the_start() {
        let empty = std::env::temp_dir().join(format!("quorate-jwt-{}", std::process::id()));
        std::fs::write(&empty, "").expect("an empty file");
        let of_empty = format!("sign-method=HS384,priv-key={}", empty.display());
        for (spec, words) in [
            (&of_empty[..], "missing key data"),
            (
                "sign-method=HS256,pub-key=KEYS/rsa-public.pem",
                "missing key data",
            ),
            ("sign-method=RS256,priv-key=KEYS/none.pem", "cannot read"),
            (
                "sign-method=RS256,priv-key=KEYS/README.md",
                "has no private key",
            ),
            (
                "sign-method=ES256,priv-key=KEYS/rsa.pem",
                "has no private key",
            ),
            (
                "sign-method=EdDSA,pub-key=KEYS/README.md",
                "has no public key",
            ),
            (
                "sign-method=ES256,priv-key=KEYS/ec.pem,pub-key=KEYS/rsa-public.pem",
                "has no public",
            ),
        ] {
            let refused = load(spec).err().expect(spec);
            assert!(refused.contains(words), "{spec}: {refused}");
        }
        std::fs::remove_file(empty).expect("it was there");
    }
}
