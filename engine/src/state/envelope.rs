//! The envelope of every state record: magic, version, layout, checksum.
//! In: bytes to be kept. Out: bytes in an envelope; and back, or why they cannot be read.

use std::sync::LazyLock;

use auscult_operators::signal::CHANNELS;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::decode;

/// Version of the state's form. Raise it whenever the bytes of a state change; the test `golden` tells when.
pub const VERSION: u16 = 2;

/// First bytes of a snapshot.
pub(super) const SNAPSHOT: &[u8; 4] = b"AUSP";
/// First bytes of a mark.
pub(super) const MARK: &[u8; 4] = b"AUSM";
const HEAD: usize = 4 + 2 + 8 + 8;

/// Why a state record cannot be used. The reader falls back to an older one, or to reading the log again.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Error)]
pub enum Unreadable {
    /// Shorter than an envelope, or not one.
    #[error("it is not a state record of Auscult")]
    Foreign,
    /// Of another version.
    #[error("it is of version {0}, this build reads version {VERSION}")]
    Version(u16),
    /// Of a build with another channel table or other reject codes.
    #[error("it was written with another table of channels or codes")]
    Layout,
    /// Damaged.
    #[error("its checksum does not match: it is damaged")]
    Checksum,
    /// Sound on the outside, not what was expected inside.
    #[error("its content cannot be read: {0}")]
    Content(String),
}

impl Unreadable {
    /// Stable code for logs and metrics.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Foreign => "state_foreign",
            Self::Version(_) => "state_version",
            Self::Layout => "state_layout",
            Self::Checksum => "state_damaged",
            Self::Content(_) => "state_content",
        }
    }
}

/// Eight bytes of SHA-256: enough to find damage; nobody forges state against a broker's access rules.
pub(super) fn digest(parts: &[&[u8]]) -> u64 {
    let mut sha = Sha256::new();
    parts.iter().for_each(|p| sha.update(p));
    let mut first = [0; 8];
    first.copy_from_slice(&sha.finalize()[..8]);
    u64::from_le_bytes(first)
}

/// Channels and codes are written as positions in their tables: the tables must be the same.
static LAYOUT: LazyLock<u64> = LazyLock::new(|| {
    let channels = CHANNELS.iter().map(|c| c.name);
    let names: Vec<&str> = channels.chain(decode::CODES.iter().map(|c| c.0)).collect();
    digest(&[names.join("|").as_bytes()])
});

/// Puts content into an envelope.
pub(super) fn seal(magic: &[u8; 4], content: &impl Serialize) -> Vec<u8> {
    let mut out = vec![0; HEAD];
    out[..4].copy_from_slice(magic);
    out[4..6].copy_from_slice(&VERSION.to_le_bytes());
    out[6..14].copy_from_slice(&LAYOUT.to_le_bytes());
    out = match postcard::to_extend(content, out) {
        Ok(bytes) => bytes,
        Err(e) => unreachable!("state is plain data in memory: {e}"),
    };
    let sum = digest(&[&out[..14], &out[HEAD..]]);
    out[14..HEAD].copy_from_slice(&sum.to_le_bytes());
    out
}

/// Takes content out of its envelope.
///
/// # Errors
/// [`Unreadable`], with the reason.
pub(super) fn open<'a, T: Deserialize<'a>>(magic: &[u8; 4], bytes: &'a [u8]) -> Result<T, Unreadable> {
    let (head, content) = bytes.split_at_checked(HEAD).ok_or(Unreadable::Foreign)?;
    let eight = |at: usize| {
        let mut b = [0; 8];
        b.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(b)
    };
    if &head[..4] != magic {
        return Err(Unreadable::Foreign);
    }
    // The version first: another one may sum differently.
    let version = u16::from_le_bytes([head[4], head[5]]);
    if version != VERSION {
        return Err(Unreadable::Version(version));
    }
    if eight(14) != digest(&[&head[..14], content]) {
        return Err(Unreadable::Checksum);
    }
    if eight(6) != *LAYOUT {
        return Err(Unreadable::Layout);
    }
    read(content)
}

/// Takes content out of an envelope that was opened before.
///
/// # Errors
/// [`Unreadable::Content`], with the reason.
pub(super) fn reopen<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Unreadable> {
    read(bytes.get(HEAD..).ok_or(Unreadable::Foreign)?)
}

/// Reads a value, all bytes of it.
///
/// # Errors
/// [`Unreadable::Content`], with the reason.
pub(super) fn read<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, Unreadable> {
    match postcard::take_from_bytes(bytes) {
        Ok((value, [])) => Ok(value),
        Ok((_, rest)) => Err(Unreadable::Content(format!("{} bytes too many", rest.len()))),
        Err(e) => Err(Unreadable::Content(e.to_string())),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_and_every_damage_is_seen() {
        let content = (7u32, "state".to_string(), vec![1.5f64, -0.25]);
        let sealed = seal(MARK, &content);
        assert_eq!(open::<(u32, String, Vec<f64>)>(MARK, &sealed), Ok(content));
        for at in 0..sealed.len() {
            for bit in 0..8 {
                let mut damaged = sealed.clone();
                damaged[at] ^= 1 << bit;
                assert!(open::<(u32, String, Vec<f64>)>(MARK, &damaged).is_err(), "byte {at} bit {bit}");
            }
            assert!(open::<(u32, String, Vec<f64>)>(MARK, &sealed[..at]).is_err(), "cut to {at}");
        }
        let longer = [sealed.as_slice(), &[0]].concat();
        assert_eq!(open::<(u32, String, Vec<f64>)>(MARK, &longer), Err(Unreadable::Checksum));
        let mut newer = sealed;
        newer[4] = 9;
        assert_eq!(open::<(u32, String, Vec<f64>)>(MARK, &newer), Err(Unreadable::Version(9)));
    }
}
