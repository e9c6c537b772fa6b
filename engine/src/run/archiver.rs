//! The archive's own thread: a slow disk holds back the archive first, alerts last.
//! In: effects of every partition, in the order of its log. Out: Parquet files; and how far they reach.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::error;

use crate::clock;
use crate::effects::Effect;
use crate::limits;
use crate::sink::archive::{Archive, ArchiveError};

/// How long the last owner of a partition may take to let go of its files.
const LET_GO: Duration = Duration::from_secs(2);

/// What the archive thread is told.
enum Message {
    /// A partition is taken over: what stands before this offset is not written again.
    Gain(i32, i64),
    /// Effects, and the bytes of log that they came from.
    Effects(i32, Vec<(i64, Effect)>, u64),
    /// A partition is given up: files that are not ended are left to its next owner.
    Lose(i32),
}

/// How the archive stands.
#[derive(Default)]
struct Standing {
    files: AtomicU64,
    failed: AtomicBool,
    /// Bytes of log whose effects wait.
    waiting: AtomicU64,
    /// Of each partition whose files have come further: below which offset they hold everything.
    reached: Mutex<BTreeMap<i32, i64>>,
    /// Partitions whose files were ended because they are given up.
    ended: Mutex<Vec<i32>>,
}

/// The loop's side of the archive.
pub(super) struct Archiver {
    to: Sender<Message>,
    standing: Arc<Standing>,
    thread: JoinHandle<()>,
}

impl Archiver {
    /// Starts the thread.
    pub(super) fn start(root: &Path, topic: &str) -> Self {
        let (to, from) = channel();
        let standing = Arc::new(Standing::default());
        let work = Work { root: root.into(), topic: topic.into(), standing: standing.clone() };
        Self { to, standing, thread: thread::spawn(move || work.run(&from)) }
    }

    pub(super) fn gain(&self, partition: i32, from: i64) {
        let _ = self.to.send(Message::Gain(partition, from));
    }

    pub(super) fn take(&self, partition: i32, effects: Vec<(i64, Effect)>, bytes: u64) {
        self.standing.waiting.fetch_add(bytes, Ordering::Relaxed);
        let _ = self.to.send(Message::Effects(partition, effects, bytes));
    }

    pub(super) fn lose(&self, partition: i32) {
        let _ = self.to.send(Message::Lose(partition));
    }

    /// How full the hand-over is: 1 is as full as it may get.
    pub(super) fn fill(&self) -> f64 {
        self.standing.waiting.load(Ordering::Relaxed) as f64 / limits::ARCHIVE_WAITING_BYTES.max as f64
    }

    /// Partitions whose files have come further since this was last asked.
    pub(super) fn reached(&self) -> BTreeMap<i32, i64> {
        std::mem::take(&mut *self.standing.reached.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Partitions whose files were ended on `Event::Stop` since this was last asked.
    pub(super) fn ended(&self) -> Vec<i32> {
        std::mem::take(&mut *self.standing.ended.lock().unwrap_or_else(PoisonError::into_inner))
    }

    pub(super) fn files(&self) -> u64 {
        self.standing.files.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> bool {
        self.standing.failed.load(Ordering::Relaxed)
    }

    /// Lets it write what waits, until then at most; whether it is done.
    pub(super) fn end(self, by: Instant) -> bool {
        drop(self.to);
        while !self.thread.is_finished() {
            if clock::instant() >= by {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
        self.thread.join().is_ok()
    }
}

/// What the thread works with.
struct Work {
    root: PathBuf,
    topic: String,
    standing: Arc<Standing>,
}

impl Work {
    fn run(&self, from: &Receiver<Message>) {
        // `None`: what follows must not stand in files while something before it does not.
        let mut open: BTreeMap<i32, Option<Archive>> = BTreeMap::new();
        for message in from {
            match message {
                Message::Gain(partition, from) => {
                    let archive = self.open(partition).map(|a| a.starting(from));
                    let archive = archive.map_err(|e| self.fail(partition, &e)).ok();
                    if let Some(archive) = &archive {
                        self.reach(partition, archive.below());
                    }
                    open.insert(partition, archive);
                }
                Message::Lose(partition) => {
                    open.remove(&partition);
                }
                Message::Effects(partition, effects, bytes) => {
                    if let Some(Some(archive)) = open.get_mut(&partition) {
                        let before = (archive.files, archive.below());
                        if let Err(e) = archive.take(&effects) {
                            self.fail(partition, &e);
                            open.insert(partition, None);
                        } else {
                            self.standing.files.fetch_add(archive.files - before.0, Ordering::Relaxed);
                            if archive.below() != before.1 {
                                self.reach(partition, archive.below());
                            }
                            if effects.last().is_some_and(|e| e.0 == i64::MAX) {
                                let ended = &self.standing.ended;
                                ended.lock().unwrap_or_else(PoisonError::into_inner).push(partition);
                            }
                        }
                    }
                    self.standing.waiting.fetch_sub(bytes, Ordering::Relaxed);
                }
            }
        }
    }

    /// Opens a partition's archive. Its last owner may be about to let go of it.
    fn open(&self, partition: i32) -> Result<Archive, ArchiveError> {
        let by = clock::instant() + LET_GO;
        loop {
            match Archive::open(&self.root, &self.topic, partition) {
                Err(ArchiveError::Locked { .. }) if clock::instant() < by => thread::sleep(LET_GO / 40),
                done => return done,
            }
        }
    }

    fn reach(&self, partition: i32, below: i64) {
        self.standing.reached.lock().unwrap_or_else(PoisonError::into_inner).insert(partition, below);
    }

    fn fail(&self, partition: i32, e: &ArchiveError) {
        // The log still has it: the partition is archived again from there by the next start.
        error!(code = "archive", partition, error = %e, "archiving of the partition stops until a restart");
        self.standing.failed.store(true, Ordering::Relaxed);
    }
}
