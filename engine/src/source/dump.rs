//! Source `dump`: a partition of a topic in a file, as `[u16 key length][key][u32 value length][value]` a record, all
//! little-endian.
//! In: the file, read in blocks. Out: keys and values in order, as slices of the blocks: nothing is copied.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes};

use crate::error::RunError;
use crate::limits;

/// Bytes read at a time.
const BLOCK: usize = 1 << 16;

/// Longest record read; what is over the limit of a message is left to the decoder to refuse.
const RECORD_MAX: usize = 16 * limits::FRAME_BYTES.max as usize;

/// A dump, open.
pub struct Dump {
    path: PathBuf,
    file: File,
    /// Whole records not yet given out.
    ready: Bytes,
    /// What was read of the record after them.
    begun: Vec<u8>,
}

impl Dump {
    /// Opens a file.
    ///
    /// # Errors
    /// [`RunError::Io`] if it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let file = File::open(path).map_err(RunError::io("open", path))?;
        Ok(Self { path: path.into(), file, ready: Bytes::new(), begun: Vec::new() })
    }

    /// The next record: key and value.
    ///
    /// # Errors
    /// [`RunError::Io`] if the file cannot be read, [`RunError::Data`] if it ends within a record.
    pub fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, RunError> {
        while self.ready.is_empty() {
            if !self.fill()? {
                let (left, path) = (self.begun.len(), self.path.display());
                let cut = format!("{path} ends within a record: {left} bytes are left over");
                return if left == 0 { Ok(None) } else { Err(RunError::Data(cut)) };
            }
        }
        let (key, value) = record(&self.ready).unwrap_or((0..0, 0..self.ready.len()));
        let (key, next) = (self.ready.slice(key), value.end);
        let value = self.ready.slice(value);
        self.ready.advance(next);
        Ok(Some((key, value)))
    }

    /// Reads a block and cuts off the whole records in it. Says whether there was anything to read.
    fn fill(&mut self) -> Result<bool, RunError> {
        let mut block = Vec::with_capacity(self.begun.len() + BLOCK);
        block.append(&mut self.begun);
        let mut part = self.file.by_ref().take(BLOCK as u64);
        let read = part.read_to_end(&mut block).map_err(RunError::io("read", &self.path))?;
        let mut whole = 0;
        while let Some((_, value)) = record(&block[whole..]) {
            whole += value.end;
        }
        self.begun = block.split_off(whole);
        if self.begun.len() > RECORD_MAX {
            let (path, found) = (self.path.display(), self.begun.len());
            let why =
                format!("{path} has a record of over {found} bytes, at most {RECORD_MAX} are read: no dump?");
            return Err(RunError::Data(why));
        }
        self.ready = Bytes::from(block);
        Ok(read > 0)
    }
}

/// Where key and value of the first record lie, if it is there whole.
fn record(bytes: &[u8]) -> Option<(std::ops::Range<usize>, std::ops::Range<usize>)> {
    let key = usize::from(u16::from_le_bytes(*bytes.first_chunk()?));
    let at = 2 + key;
    let value = u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize;
    let end = (at + 4).checked_add(value)?;
    (end <= bytes.len()).then_some((2..at, at + 4..end))
}
