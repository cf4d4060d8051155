//! Simple tokens: `sixteen letters . a number`.
//!
//! A token is issued by an entry of the log, so that every member knows it: clients spread their calls. The letters are
//! drawn by the member that checked the password, and only their digest enters the log and the state; who reads either
//! has no token. The entry says as of which revision the password was checked, and is refused when users have changed
//! since: so a password that is changed at the same moment lets nobody in.
//!
//! How long a token may rest unused is the edge's matter, which has a clock. Here at most [`TOKENS_MAX`] are kept, and of
//! one user at most [`USER_TOKENS_MAX`]: the oldest goes, and its client authenticates anew, as it does after the end of
//! any token. So one user who logs in for ever ends no tokens but their own.

use super::records::{Settings, TOKENS, user};
use crate::pb;
use crate::scan::Fields;
use crate::status::Refusal;
use bytes::Bytes;
use sha2::{Digest, Sha256};
use store::{Stamp, State, WriteTxn};

/// Tokens that are known at a time.
pub const TOKENS_MAX: usize = 16_384;

/// Tokens of one user: as many clients may have theirs at a time.
pub const USER_TOKENS_MAX: usize = 1024;

/// From this version on the tokens of one user are bounded; before, the oldest numbers went, whosever they were.
const FAIR_VERSION: u16 = 4;

/// Bytes of a digest.
const DIGEST_BYTES: usize = 32;

/// A request for the log: a token for a user whose password was checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IssueToken {
    /// The user.
    pub user: String,
    /// The revision of the users whose password was checked.
    pub checked: u64,
    /// [`Token::digest`] of the letters.
    pub digest: [u8; DIGEST_BYTES],
}

impl IssueToken {
    /// The request for the log.
    pub fn request(&self) -> Bytes {
        let mut message = Vec::new();
        pb::bytes(&mut message, 1, self.user.as_bytes());
        pb::uint(&mut message, 2, self.checked);
        pb::bytes(&mut message, 3, &self.digest);
        crate::request::envelope(crate::request::Kind::IssueToken, &message)
    }
}

/// A token that is known.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Token {
    /// Its number.
    pub number: u64,
    /// Whose.
    pub user: Bytes,
    /// When it was issued, in milliseconds since 1970, by the leader's clock.
    pub issued_ms: u64,
}

impl Token {
    /// What is kept of a token's letters.
    pub fn digest(letters: &str) -> [u8; DIGEST_BYTES] {
        Sha256::digest(letters).into()
    }
}

/// Reads the number of the token from the body of the outcome; 0 when there is none.
pub fn token_number(body: &[u8]) -> u64 {
    crate::request::two_integers(body).map_or(0, |(_, number)| number as u64)
}

/// The token that a client shows, if it is one.
pub fn find_token(state: &State, shown: &str) -> Option<Token> {
    let (letters, number) = shown.rsplit_once('.')?;
    let number: u64 = number.parse().ok()?;
    let record = state.record(TOKENS, &number.to_be_bytes())?;
    let (digest, issued_ms, user) = split(&record)?;
    // Digests are compared, so how far they agree tells nothing about the letters.
    (Token::digest(letters) == *digest).then(|| Token {
        number,
        user: record.slice_ref(user),
        issued_ms,
    })
}

/// Whether what a client shows may be a token that was issued and is not known as of `state`: its number is one of the
/// next.
pub fn may_come(state: &State, shown: &str) -> bool {
    let number = shown
        .rsplit_once('.')
        .and_then(|(_, number)| number.parse().ok());
    let last = Settings::of(state).last_token;
    number.is_some_and(|number: u64| number > last && number - last <= TOKENS_MAX as u64)
}

fn split(record: &[u8]) -> Option<(&[u8; DIGEST_BYTES], u64, &[u8])> {
    let (digest, rest) = record.split_first_chunk()?;
    let (issued, user) = rest.split_first_chunk()?;
    Some((digest, u64::from_be_bytes(*issued), user))
}

pub(super) fn issue(
    txn: &mut WriteTxn<'_>,
    message: &[u8],
    stamp: &Stamp,
) -> Result<Vec<u8>, Refusal> {
    let (mut name, mut checked, mut digest): (&[u8], u64, &[u8]) = (&[], 0, &[]);
    let mut fields = Fields::of(message);
    while let Some((field, value)) = fields.next()? {
        match field {
            1 => name = value.bytes()?,
            2 => checked = value.int()? as u64,
            3 => digest = value.bytes()?,
            _ => {}
        }
    }
    let digest: &[u8; DIGEST_BYTES] = digest.try_into().map_err(|_| Refusal::Malformed)?;
    let settings = Settings::of(txn.state());
    if !settings.enabled {
        return Err(Refusal::AuthNotEnabled);
    }
    if checked != settings.revision {
        return Err(Refusal::AuthOldRevision);
    }
    let user = user(txn.state(), name).ok_or(Refusal::AuthFailed)?;
    if user.options.is_some_and(|options| options.no_password) {
        return Err(Refusal::AuthFailed);
    }
    let number = settings.last_token + 1;
    let record = [&digest[..], &stamp.time.physical_ms().to_be_bytes(), name].concat();
    txn.record_put(TOKENS, &number.to_be_bytes(), record.into());
    Settings {
        last_token: number,
        ..settings
    }
    .write(txn);
    match txn.state().apply_version() >= FAIR_VERSION {
        true => end_oldest(txn, name),
        false => {
            let oldest = number.saturating_sub(TOKENS_MAX as u64);
            if txn.record(TOKENS, &oldest.to_be_bytes()).is_some() {
                txn.record_delete(TOKENS, &oldest.to_be_bytes());
            }
        }
    }
    let mut body = Vec::new();
    pb::uint(&mut body, 2, number);
    Ok(body)
}

/// Ends the oldest token of `user` if they have too many, else the oldest of all if there are too many. One was added, so
/// one is enough; where there were more before there was a bound, they go one by one.
fn end_oldest(txn: &mut WriteTxn<'_>, user: &[u8]) {
    let (mut n_all, mut n_own) = (0, 0);
    let (mut oldest, mut oldest_own) = (None, None);
    for (number, record) in txn.state().records(TOKENS) {
        n_all += 1;
        if split(&record).is_some_and(|(_, _, owner)| owner == user) {
            n_own += 1;
            oldest_own.get_or_insert_with(|| number.clone());
        }
        oldest.get_or_insert(number);
    }
    let ended = match (n_own > USER_TOKENS_MAX, n_all > TOKENS_MAX) {
        (true, _) => oldest_own,
        (false, true) => oldest,
        (false, false) => None,
    };
    if let Some(number) = ended {
        txn.record_delete(TOKENS, &number);
    }
}

/// Whether a token of this number is known as of `state`, whosever it is.
pub fn is_token(state: &State, number: u64) -> bool {
    state.record(TOKENS, &number.to_be_bytes()).is_some()
}

/// Ends the tokens of `user`, or of everybody.
pub(super) fn end(txn: &mut WriteTxn<'_>, user: Option<&[u8]>) {
    let ended: Vec<Bytes> = txn
        .state()
        .records(TOKENS)
        .filter(|(_, record)| {
            let owner = split(record).map(|(_, _, owner)| owner);
            user.is_none() || owner.is_none() || owner == user
        })
        .map(|(number, _)| number)
        .collect();
    for number in ended {
        txn.record_delete(TOKENS, &number);
    }
}
