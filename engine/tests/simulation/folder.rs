//! The archive's folder in memory, shared by all processes: files by the stretch of log they hold, on a slow disk.
//! In: effects in log order. Out: finished files, of which two of the same name hold the same rows.

use std::collections::BTreeMap;

use auscult::effects::Effect;

use super::process::archived;
use crate::common::line;

/// The folder.
#[derive(Default)]
pub struct Folder {
    pub on: bool,
    /// Rows by partition, first and last offset.
    pub files: BTreeMap<(usize, i64, i64), Vec<String>>,
    held: BTreeMap<usize, i64>,
    /// Files that a worker has not heard of yet, at any time.
    slow: usize,
    waiting: BTreeMap<usize, Vec<i64>>,
}

/// The file that one process has open for one partition.
pub struct Writer {
    partition: usize,
    from: i64,
    rows: Vec<(i64, String)>,
}

impl Folder {
    /// An empty one, if there is an archive at all.
    pub fn new(on: bool, slow: usize) -> Self {
        Self { on, slow, ..Self::default() }
    }

    /// Offset below which finished files hold everything.
    pub fn held(&self, p: usize) -> i64 {
        if self.on { self.held.get(&p).copied().unwrap_or(0) } else { i64::MAX }
    }

    /// What a worker hears now of how far the files have come.
    pub fn heard(&mut self, p: usize) -> Option<i64> {
        let list = self.waiting.entry(p).or_default();
        (list.len() > self.slow).then(|| list.remove(0))
    }

    /// Opens a file for what is not held yet.
    pub fn writer(&mut self, p: usize, from: i64) -> Writer {
        self.waiting.remove(&p);
        Writer { partition: p, from: from.max(self.held(p)), rows: Vec::new() }
    }
}

impl Writer {
    pub fn take(&mut self, folder: &mut Folder, effects: &[(i64, Effect)]) {
        for (offset, effect) in effects.iter().filter(|(_, e)| archived(e)) {
            if matches!(effect, Effect::Roll) {
                self.finish(folder, *offset);
            } else if *offset >= self.from {
                let (kind, body) = line(effect, 0);
                self.rows.push((*offset, format!("{offset} {kind} {body}")));
            }
        }
    }

    /// The owner goes: what is there is finished.
    pub fn close(mut self, folder: &mut Folder, next: i64) {
        self.finish(folder, next);
    }

    /// Ends the file. Another owner, who was away or is there now, may have come further meanwhile: what it has
    /// finished is left out here, for the same log makes the same rows.
    fn finish(&mut self, folder: &mut Folder, to: i64) {
        let from = self.from.max(folder.held(self.partition));
        let rows = self.rows.drain(..).filter(|r| r.0 >= from).map(|r| r.1).collect();
        if to > from {
            folder.files.insert((self.partition, from, to - 1), rows);
            folder.held.insert(self.partition, to);
            folder.waiting.entry(self.partition).or_default().push(to);
        }
        self.from = self.from.max(to);
    }
}
