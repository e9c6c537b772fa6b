//! One file of the journal: a header, then entries, each with its length and a checksum over its place and content.
//! In: entries. Out: the same, up to the first byte that is not as it was written.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Entry, JournalError, io};
use crate::failpoint;

/// Version of the form.
pub(super) const VERSION: u16 = 1;
const MAGIC: &[u8; 4] = b"AUSJ";
/// Magic, version, number, the commit that it needs (segment and position), checksum.
const HEAD: usize = 4 + 2 + 8 + 16 + 8;
/// An entry longer than this was never written.
const MOST: u32 = 64 << 20;

/// What stands at the head of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub number: u64,
    /// A segment written anew holds its state no longer as it was, but as of this commit: segment and position.
    pub needs: (u64, u64),
}

impl Header {
    pub(super) fn new(number: u64) -> Self {
        Self { number, needs: (0, 0) }
    }

    fn bytes(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEAD);
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        [self.number, self.needs.0, self.needs.1].iter().for_each(|n| out.extend(n.to_le_bytes()));
        out.extend(sum(&[&out]));
        out
    }
}

pub(super) fn sum(parts: &[&[u8]]) -> [u8; 8] {
    let mut sha = Sha256::new();
    parts.iter().for_each(|p| sha.update(p));
    let mut first = [0; 8];
    first.copy_from_slice(&sha.finalize()[..8]);
    first
}

pub(super) fn path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:08}.journal"))
}

/// Appends entries in their form; the position of each.
pub(super) fn encode(number: u64, at: u64, entries: &[Entry], out: &mut Vec<u8>) -> Vec<u64> {
    let begin = out.len() as u64;
    let mut places = Vec::with_capacity(entries.len());
    for entry in entries {
        let at = at + out.len() as u64 - begin;
        places.push(at);
        let content = match postcard::to_stdvec(entry) {
            Ok(bytes) => bytes,
            Err(e) => unreachable!("an entry is plain data in memory: {e}"),
        };
        out.extend((content.len() as u32).to_le_bytes());
        out.extend_from_slice(&content);
        out.extend(sum(&[&number.to_le_bytes(), &at.to_le_bytes(), &content]));
    }
    places
}

/// A whole segment in its form.
pub(super) fn whole(header: Header, entries: &[Entry]) -> Vec<u8> {
    let mut out = header.bytes();
    encode(header.number, HEAD as u64, entries, &mut out);
    out
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Segment {
    file: File,
    path: PathBuf,
    number: u64,
    at: u64,
}

impl Segment {
    pub(super) fn create(dir: &Path, header: Header) -> Result<Self, JournalError> {
        let path = path(dir, header.number);
        let mut file = File::create(&path).map_err(io("create", &path))?;
        file.write_all(&header.bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| sync_folder(dir))
            .map_err(io("write", &path))?;
        Ok(Self { file, path, number: header.number, at: HEAD as u64 })
    }

    /// Goes on after a commit.
    pub(super) fn reopen(dir: &Path, number: u64, at: u64) -> Result<Self, JournalError> {
        let path = path(dir, number);
        let mut file = OpenOptions::new().write(true).open(&path).map_err(io("open", &path))?;
        file.seek(SeekFrom::Start(at)).map_err(io("open", &path))?;
        Ok(Self { file, path, number, at })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn bytes(&self) -> u64 {
        self.at
    }

    /// Appends entries and waits until they are on disk.
    pub(super) fn append(&mut self, entries: &[Entry]) -> Result<Vec<u64>, JournalError> {
        let mut bytes = Vec::new();
        let places = encode(self.number, self.at, entries, &mut bytes);
        let done = self
            .file
            .write_all(&bytes)
            .and_then(|()| failpoint::io(failpoint::STATE_WRITTEN))
            .and_then(|()| self.file.sync_data())
            .and_then(|()| failpoint::io(failpoint::STATE_SYNCED));
        match done {
            Ok(()) => {
                self.at += bytes.len() as u64;
                Ok(places)
            }
            Err(source) => {
                // Half a commit on a full disk; were it to stay, the next start would cut it off as well.
                let _ = self.file.set_len(self.at);
                Err(JournalError::Io { what: "write", path: self.path.clone(), source })
            }
        }
    }
}

/// A segment as read.
pub(super) struct Contents {
    pub header: Header,
    /// Entries with the position of each and of what follows it.
    pub entries: Vec<(u64, u64, Entry)>,
    /// Why reading ended before the end of the file, and where.
    pub broken: Option<(u64, String)>,
}

/// Reads a segment up to its first fault.
pub(super) fn read(dir: &Path, number: u64) -> Result<Contents, JournalError> {
    let path = path(dir, number);
    let mut bytes = Vec::new();
    File::open(&path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(io("read", &path))?;
    let broken = |why: &str| {
        Ok(Contents { header: Header::new(number), entries: Vec::new(), broken: Some((0, why.into())) })
    };
    let Some((head, _)) = bytes.split_at_checked(HEAD) else { return broken("its head is cut off") };
    let version = u16::from_le_bytes([head[4], head[5]]);
    if &head[..4] != MAGIC || head[HEAD - 8..] != sum(&[&head[..HEAD - 8]]) {
        return broken("its head is damaged");
    }
    if version != VERSION {
        return Err(JournalError::Version { path, found: version });
    }
    let n = |at: usize| u64::from_le_bytes(head[at..at + 8].try_into().unwrap_or_default());
    if n(6) != number {
        return broken("it bears another number");
    }
    let header = Header { number, needs: (n(14), n(22)) };
    let (entries, broken) = entries(number, &bytes);
    Ok(Contents { header, entries, broken })
}

type Entries = (Vec<(u64, u64, Entry)>, Option<(u64, String)>);

fn entries(number: u64, bytes: &[u8]) -> Entries {
    let mut out = Vec::new();
    let mut at = HEAD;
    while at < bytes.len() {
        match entry(number, at, &bytes[at..]) {
            Ok((entry, length)) => {
                out.push((at as u64, (at + length) as u64, entry));
                at += length;
            }
            Err(why) => return (out, Some((at as u64, why.into()))),
        }
    }
    (out, None)
}

fn entry(number: u64, at: usize, bytes: &[u8]) -> Result<(Entry, usize), &'static str> {
    let (length, rest) = bytes.split_first_chunk::<4>().ok_or("an entry is cut off")?;
    let length = u32::from_le_bytes(*length);
    if length > MOST {
        return Err("a length is damaged");
    }
    let (content, rest) = rest.split_at_checked(length as usize).ok_or("an entry is cut off")?;
    let (found, _) = rest.split_first_chunk::<8>().ok_or("an entry is cut off")?;
    if *found != sum(&[&number.to_le_bytes(), &(at as u64).to_le_bytes(), content]) {
        return Err("a checksum does not match");
    }
    let entry = postcard::from_bytes(content).map_err(|_| "an entry cannot be read")?;
    Ok((entry, 4 + length as usize + 8))
}

/// Puts a file in the place of another, or leaves the other: written aside, synced, renamed, and the folder synced.
///
/// # Errors
/// What the file system says.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let aside = path.with_extension("aside");
    let mut file = File::create(&aside)?;
    file.write_all(bytes)?;
    failpoint::io(failpoint::STATE_WRITTEN)?;
    file.sync_all()?;
    failpoint::io(failpoint::STATE_SYNCED)?;
    std::fs::rename(&aside, path)?;
    failpoint::io(failpoint::STATE_RENAMED)?;
    sync_folder(path.parent().unwrap_or_else(|| Path::new(".")))
}

/// Makes names last.
pub(super) fn sync_folder(dir: &Path) -> std::io::Result<()> {
    File::open(dir)?.sync_all()
}
