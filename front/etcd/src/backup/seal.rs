//! The SHA-256 behind a file.
//!
//! ```text
//!   │ the file: a multiple of 512 bytes │ SHA-256 of it: 32 bytes │
//! ```
//!
//! That its length modulo 512 is 32 tells a file with a hash from one without, such as the database of an etcd
//! that was copied from its data directory.

use bolt::{ReadAt, ReadError};
use sha2::{Digest, Sha256};
use std::error::Error;
use thiserror::Error;

pub(crate) const HASH_BYTES: usize = 32;
const GRAIN: u64 = 512;

/// Bytes that are read at a time.
const READ_BYTES: u64 = 256 * 1024;

/// Why a file is not trusted.
#[derive(Debug, Error)]
pub enum SealFault {
    /// It has no hash at its end.
    #[error(
        "the file has {0} bytes, so it has no SHA-256 at its end: it is cut, or a database that was copied \
         from a data directory"
    )]
    Missing(u64),
    /// The hash is of something else.
    #[error("the file does not match the SHA-256 at its end: it is damaged")]
    Differs,
    /// It cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// Whether the hash at the end is looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HashCheck {
    /// There must be one, and it must be right.
    Required,
    /// There may be one, and nobody looks.
    Skipped,
}

/// A file without the hash behind it.
#[derive(Debug)]
pub struct Sealed<S> {
    source: S,
    n_bytes: u64,
}

impl<S: ReadAt> Sealed<S> {
    /// Takes a file, reading all of it when the hash is to be checked.
    ///
    /// # Errors
    /// The hash is missing or wrong, or the file cannot be read.
    pub fn open(source: S, check: HashCheck) -> Result<Sealed<S>, SealFault> {
        let whole = source.n_bytes();
        let has_hash = whole % GRAIN == HASH_BYTES as u64;
        let n_bytes = whole - if has_hash { HASH_BYTES as u64 } else { 0 };
        if check == HashCheck::Required {
            if !has_hash {
                return Err(SealFault::Missing(whole));
            }
            let mut hasher = Sha256::new();
            let mut buffer = Vec::new();
            let mut at = 0;
            while at < n_bytes {
                buffer.resize(READ_BYTES.min(n_bytes - at) as usize, 0);
                source.read_at(at, &mut buffer).map_err(ReadError::Source)?;
                hasher.update(&buffer);
                at += buffer.len() as u64;
            }
            let mut said = [0; HASH_BYTES];
            source
                .read_at(n_bytes, &mut said)
                .map_err(ReadError::Source)?;
            if hasher.finalize()[..] != said {
                return Err(SealFault::Differs);
            }
        }
        Ok(Sealed { source, n_bytes })
    }
}

impl<S: ReadAt> ReadAt for Sealed<S> {
    fn n_bytes(&self) -> u64 {
        self.n_bytes
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Box<dyn Error + Send + Sync>> {
        self.source.read_at(offset, buffer)
    }
}
