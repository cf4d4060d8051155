//! What the log carries: batches of commands, and their bytes.
//!
//! A batch is what one log entry holds: the leader's stamp and the commands that it gathered. Each
//! command is a client's request in the words of one dialect. The layout is drawn in
//! `docs/format/command.md`; decoding is total.

use crate::codec::{DecodeError, Reader, put_slice, share};
use base::{MemberId, limits};
use bytes::Bytes;
use clock::HybridTime;

/// Which front's words a command speaks.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DialectId(pub u8);

/// Bytes of the name of an identity: it travels with every command of its user.
pub const IDENTITY_BYTES_MAX: usize = 1024;

/// On whose behalf a command is, as the member that took it has established.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Identity {
    /// The member itself: what it does of its own accord, such as tidying up behind a client that went away.
    Member,
    /// A user of the dialect's.
    User {
        /// Not empty, at most [`IDENTITY_BYTES_MAX`].
        name: Bytes,
        /// As of which of the dialect's changes to its users this was established.
        revision: u64,
    },
}

impl Identity {
    /// Bytes that it takes in a command.
    pub fn encoded_len(&self) -> usize {
        8 + 4
            + match self {
                Identity::Member => 0,
                Identity::User { name, .. } => name.len(),
            }
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let (name, revision): (&[u8], u64) = match self {
            Identity::Member => (&[], 0),
            Identity::User { name, revision } => (name, *revision),
        };
        out.extend_from_slice(&revision.to_le_bytes());
        put_slice(out, name);
    }

    fn decode(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Identity, DecodeError> {
        let revision = reader.u64()?;
        let name = share(whole, reader.slice()?);
        match (name.len(), revision) {
            (0, 0) => Ok(Identity::Member),
            (1..=IDENTITY_BYTES_MAX, _) => Ok(Identity::User { name, revision }),
            _ => Err(DecodeError::OutOfBounds("an identity")),
        }
    }
}

/// One client's request, on its way through the log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Command {
    /// Who decides it.
    pub dialect: DialectId,
    /// The member that took it from its client and answers it.
    pub origin: MemberId,
    /// The origin's number for it: fresh for each, never used again by that run of the member.
    pub tag: u64,
    /// The client's own identity and sequence number, when it gave them: a retry takes effect once.
    pub client: Option<(u64, u64)>,
    /// On whose behalf it is. Nothing: nobody has said, and where it must be said the dialect refuses.
    pub identity: Option<Identity>,
    /// The request in the dialect's own encoding.
    pub request: Bytes,
}

impl Command {
    /// Bytes that this command takes in a batch.
    pub fn encoded_len(&self) -> usize {
        COMMAND_BYTES
            + if self.client.is_some() { 16 } else { 0 }
            + self.identity.as_ref().map_or(0, Identity::encoded_len)
            + self.request.len()
    }
}

/// The commands of one log entry, with the leader's stamp.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Batch {
    /// Which rules decide the commands.
    pub apply_version: u16,
    /// The leader's hybrid time. While the batch is being forwarded: the term of the leader that is meant, or zero.
    pub time: HybridTime,
    /// In the order in which they take effect.
    pub commands: Vec<Command>,
}

/// The version of the batch's layout.
const FORMAT_VERSION: u16 = 1;
/// Format version, apply version, time, number of commands.
const BATCH_BYTES: usize = 2 + 2 + 8 + 4;
/// Dialect, flags, origin, tag, request length.
const COMMAND_BYTES: usize = 1 + 1 + 8 + 8 + 4;

/// Flags of a command: what follows its tag.
const HAS_CLIENT: u8 = 1;
const HAS_IDENTITY: u8 = 2;

impl Batch {
    /// Bytes that [`Batch::encode`] gives.
    pub fn encoded_len(&self) -> usize {
        BATCH_BYTES
            + self
                .commands
                .iter()
                .map(Command::encoded_len)
                .sum::<usize>()
    }

    /// The batch as bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.encoded_len());
        out.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        out.extend_from_slice(&self.apply_version.to_le_bytes());
        out.extend_from_slice(&self.time.0.to_le_bytes());
        out.extend_from_slice(&(self.commands.len() as u32).to_le_bytes());
        for command in &self.commands {
            out.push(command.dialect.0);
            let mut flags = 0;
            if command.client.is_some() {
                flags |= HAS_CLIENT;
            }
            if command.identity.is_some() {
                flags |= HAS_IDENTITY;
            }
            out.push(flags);
            out.extend_from_slice(&command.origin.0.to_le_bytes());
            out.extend_from_slice(&command.tag.to_le_bytes());
            if let Some((client, sequence)) = command.client {
                out.extend_from_slice(&client.to_le_bytes());
                out.extend_from_slice(&sequence.to_le_bytes());
            }
            if let Some(identity) = &command.identity {
                identity.encode(&mut out);
            }
            put_slice(&mut out, &command.request);
        }
        out.into()
    }

    /// The inverse of [`Batch::encode`]. Requests share `bytes` and are not copied.
    pub fn decode(bytes: &Bytes) -> Result<Batch, DecodeError> {
        let mut reader = Reader::new(bytes, "a batch");
        let found = reader.u16()?;
        if found != FORMAT_VERSION {
            return Err(DecodeError::Version {
                found,
                known: FORMAT_VERSION,
            });
        }
        let apply_version = reader.u16()?;
        let time = HybridTime(reader.u64()?);
        let n_commands = reader.u32()? as usize;
        if n_commands > limits::BATCH_COMMANDS_MAX {
            return Err(DecodeError::OutOfBounds("the number of commands"));
        }
        // What the bytes can hold bounds what is reserved, whatever they claim.
        let mut commands = Vec::with_capacity(n_commands.min(reader.left() / COMMAND_BYTES));
        for _ in 0..n_commands {
            commands.push(Self::decode_command(&mut reader, bytes)?);
        }
        reader.finish()?;
        Ok(Batch {
            apply_version,
            time,
            commands,
        })
    }

    fn decode_command(reader: &mut Reader<'_>, whole: &Bytes) -> Result<Command, DecodeError> {
        let dialect = DialectId(reader.u8()?);
        let flags = reader.u8()?;
        if flags & !(HAS_CLIENT | HAS_IDENTITY) != 0 {
            return Err(DecodeError::OutOfBounds("the flags of a command"));
        }
        let origin = MemberId(reader.u64()?);
        let tag = reader.u64()?;
        let client = match flags & HAS_CLIENT {
            0 => None,
            _ => Some((reader.u64()?, reader.u64()?)),
        };
        let identity = match flags & HAS_IDENTITY {
            0 => None,
            _ => Some(Identity::decode(reader, whole)?),
        };
        let request = share(whole, reader.slice()?);
        Ok(Command {
            dialect,
            origin,
            tag,
            client,
            identity,
            request,
        })
    }
}
