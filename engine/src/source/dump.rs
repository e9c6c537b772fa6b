//! Source `dump`: a partition of a topic in a file, as `[u16 key length][key][u32 value length][value]` a record, all
//! little-endian.
//! In: the file, read in blocks. Out: keys and values in order, as slices of the blocks: nothing is copied.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use bytes::{Buf, Bytes, BytesMut};

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
    begun: Bytes,
    /// Blocks read, the oldest first: one that nobody looks at any more is read into again.
    blocks: VecDeque<Bytes>,
}

impl Dump {
    /// Opens a file.
    ///
    /// # Errors
    /// [`RunError::Io`] if it cannot be opened.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        let file = File::open(path).map_err(RunError::io("open", path))?;
        let (ready, begun) = (Bytes::new(), Bytes::new());
        Ok(Self { path: path.into(), file, ready, begun, blocks: VecDeque::new() })
    }

    /// The next record: key and value.
    ///
    /// # Errors
    /// [`RunError::Io`] if the file cannot be read, [`RunError::Data`] if it ends within a record.
    pub fn next_record(&mut self) -> Result<Option<(Bytes, Bytes)>, RunError> {
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
        let begun = std::mem::take(&mut self.begun);
        let mut block = self.block(begun.len());
        block[..begun.len()].copy_from_slice(&begun);
        let mut filled = begun.len();
        drop(begun);
        while filled < block.len() {
            match self.file.read(&mut block[filled..]) {
                Ok(0) => break,
                Ok(n) => filled += n,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(RunError::io("read", &self.path)(e)),
            }
        }
        let more = filled == block.len();
        let mut whole = 0;
        while let Some((_, value)) = record(&block[whole..filled]) {
            whole += value.end;
        }
        let block = block.freeze();
        (self.ready, self.begun) = (block.slice(..whole), block.slice(whole..filled));
        self.blocks.push_back(block);
        if self.begun.len() > RECORD_MAX {
            let (path, found) = (self.path.display(), self.begun.len());
            let why =
                format!("{path} has a record of over {found} bytes, at most {RECORD_MAX} are read: no dump?");
            return Err(RunError::Data(why));
        }
        Ok(more || whole > 0)
    }

    /// Room for what was begun and at least as much again.
    fn block(&mut self, begun: usize) -> BytesMut {
        let wanted = BLOCK.max(2 * begun);
        while let Some(oldest) = self.blocks.pop_front() {
            match oldest.try_into_mut() {
                Ok(block) if block.len() >= wanted => return block,
                Ok(_) => {}
                Err(in_use) => {
                    self.blocks.push_front(in_use);
                    break;
                }
            }
        }
        BytesMut::zeroed(wanted)
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at once")]
mod tests {
    use super::*;

    fn bytes_of(records: &[(Vec<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut out = Vec::new();
        for (key, value) in records {
            out.extend((key.len() as u16).to_le_bytes());
            out.extend(key);
            out.extend((value.len() as u32).to_le_bytes());
            out.extend(value);
        }
        out
    }

    #[allow(clippy::type_complexity, reason = "keys and values")]
    fn read(bytes: &[u8], hold: usize) -> Result<Vec<(Vec<u8>, Vec<u8>)>, RunError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part.bin");
        std::fs::write(&path, bytes).unwrap();
        let (mut dump, mut out, mut held) = (Dump::open(&path)?, Vec::new(), VecDeque::new());
        while let Some((key, value)) = dump.next_record()? {
            out.push((key.to_vec(), value.to_vec()));
            // What is held must stay what it is while blocks are read into again.
            held.push_back((value, out.len() - 1));
            if held.len() > hold {
                held.pop_front();
            }
            assert!(held.iter().all(|(v, at)| *v == out[*at].1), "a held value has changed");
        }
        Ok(out)
    }

    #[test]
    fn records_come_back_whatever_the_blocks() {
        // Of every size, also none and several blocks; many small ones cross every place of a block's end.
        let sizes = [0, 1, 12, 512, BLOCK, 3 * BLOCK + 7].into_iter().chain((0..400).map(|i| i * 37 % 1400));
        let one = |(i, n): (usize, usize)| (format!("k{i}").into_bytes(), vec![(i % 251) as u8; n]);
        let records: Vec<_> = sizes.enumerate().map(one).collect();
        for hold in [0, 3, 150] {
            assert!(read(&bytes_of(&records), hold).unwrap() == records, "{hold} held");
        }
        assert!(read(&[], 0).unwrap().is_empty());
    }

    #[test]
    fn a_cut_is_told() {
        let whole = bytes_of(&[(b"k".to_vec(), vec![7; 9]), (b"l".to_vec(), vec![8; 9])]);
        for cut in (1..whole.len()).filter(|n| *n != whole.len() / 2) {
            let found = read(&whole[..cut], 0).expect_err("a cut file").to_string();
            assert!(found.contains("ends within a record"), "{cut}: {found}");
        }
    }
}
