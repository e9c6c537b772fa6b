//! The archive's own thread: a slow disk holds back the archive first, alerts last.
//! In: effects of every partition, in the order of its log. Out: Parquet files; and how far they reach.
//!
//! What could not be written is written again from the log: once the folder takes files again, the loop is told to
//! take the partition over anew.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tracing::{error, info};

use crate::clock;
use crate::effects::Effect;
use crate::limits;
use crate::shared::lock;
use crate::sink::archive::{Archive, ArchiveError};

/// Nice value of the thread; those that look after alerts have 0.
const PRIORITY: i32 = 5;
/// How long the last owner of a partition may take to let go of its files.
const LET_GO: Duration = Duration::from_secs(2);
/// How often a failed partition is thought of.
const LOOK: Duration = Duration::from_millis(500);
/// From a failure to a trial and, doubled with each failure, at most: a partition that is taken over anew says nothing
/// for a moment, so a folder that fails again and again must not ask for that often.
const TRIAL: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(300));
/// So much must fit in before a partition is tried again.
const TRIAL_BYTES: usize = 1 << 20;

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
    /// Partitions of which nothing is written.
    failed: Mutex<BTreeSet<i32>>,
    /// Those of them that can be written again.
    mended: Mutex<Vec<i32>>,
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
        let work = Work {
            root: root.into(),
            topic: topic.into(),
            standing: standing.clone(),
            open: BTreeMap::new(),
            trials: BTreeMap::new(),
            pauses: BTreeMap::new(),
        };
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
        self.waiting() as f64 / limits::ARCHIVE_WAITING_BYTES.max as f64
    }

    /// Bytes of log whose effects wait.
    pub(super) fn waiting(&self) -> u64 {
        self.standing.waiting.load(Ordering::Relaxed)
    }

    /// Partitions whose files have come further since this was last asked.
    pub(super) fn reached(&self) -> BTreeMap<i32, i64> {
        std::mem::take(&mut *lock(&self.standing.reached))
    }

    /// Partitions whose files were ended on `Event::Stop` since this was last asked.
    pub(super) fn ended(&self) -> Vec<i32> {
        std::mem::take(&mut *lock(&self.standing.ended))
    }

    pub(super) fn files(&self) -> u64 {
        self.standing.files.load(Ordering::Relaxed)
    }

    pub(super) fn failed(&self) -> bool {
        !lock(&self.standing.failed).is_empty()
    }

    /// Failed partitions that can be written again, since this was last asked: their owner is to take them over anew.
    pub(super) fn mended(&self) -> Vec<i32> {
        std::mem::take(&mut *lock(&self.standing.mended))
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
    /// `None`: what follows must not stand in files while something before it does not.
    open: BTreeMap<i32, Option<Archive>>,
    /// Of each failed partition, when to try again.
    trials: BTreeMap<i32, Instant>,
    /// How long the next trial waits, of partitions that have failed since they last got a file done.
    pauses: BTreeMap<i32, Duration>,
}

impl Work {
    fn run(mut self, from: &Receiver<Message>) {
        // Where cores are short, alerts go first. Refused, it is as it was.
        let _ = setpriority_process(Some(gettid()), PRIORITY);
        loop {
            match from.recv_timeout(LOOK) {
                Ok(message) => self.take(message),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return,
            }
            self.try_again();
        }
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Gain(partition, from) => {
                self.forget(partition);
                match self.open(partition).map(|a| a.starting(from)) {
                    Ok(archive) => {
                        self.reach(partition, archive.below());
                        self.open.insert(partition, Some(archive));
                    }
                    Err(e) => self.fail(partition, &e),
                }
            }
            Message::Lose(partition) => self.forget(partition),
            Message::Effects(partition, effects, bytes) => {
                self.write(partition, &effects);
                self.standing.waiting.fetch_sub(bytes, Ordering::Relaxed);
            }
        }
    }

    fn forget(&mut self, partition: i32) {
        self.open.remove(&partition);
        self.trials.remove(&partition);
        lock(&self.standing.failed).remove(&partition);
    }

    fn write(&mut self, partition: i32, effects: &[(i64, Effect)]) {
        let Some(Some(archive)) = self.open.get_mut(&partition) else { return };
        let before = (archive.files, archive.below());
        if let Err(e) = archive.take(effects) {
            return self.fail(partition, &e);
        }
        let (files, below) = (archive.files - before.0, archive.below());
        self.standing.files.fetch_add(files, Ordering::Relaxed);
        if below != before.1 {
            self.pauses.remove(&partition);
            self.reach(partition, below);
        }
        if effects.last().is_some_and(|e| e.0 == i64::MAX) {
            lock(&self.standing.ended).push(partition);
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
        lock(&self.standing.reached).insert(partition, below);
    }

    fn fail(&mut self, partition: i32, e: &ArchiveError) {
        let what =
            "archiving of the partition stops; what is missing is written from the log once that can be done";
        error!(code = "archive", partition, error = %e, "{what}");
        self.open.insert(partition, None);
        lock(&self.standing.failed).insert(partition);
        let pause = self.pauses.entry(partition).or_insert(TRIAL.0);
        self.trials.insert(partition, clock::instant() + *pause);
        *pause = (*pause * 2).min(TRIAL.1);
    }

    fn try_again(&mut self) {
        let now = clock::instant();
        let due: Vec<i32> = self.trials.iter().filter(|t| *t.1 <= now).map(|t| *t.0).collect();
        for partition in due {
            if self.writable(partition) {
                info!(partition, "the archive can be written again");
                self.trials.remove(&partition);
                lock(&self.standing.mended).push(partition);
            } else {
                self.trials.insert(partition, now + TRIAL.0);
            }
        }
    }

    /// Whether the partition's archive can be opened, and takes a file of some size.
    fn writable(&self, partition: i32) -> bool {
        let path = self.root.join(format!("{}-{partition}.trial.tmp", self.topic));
        let written = Archive::open(&self.root, &self.topic, partition).is_ok()
            && File::create(&path)
                .and_then(|mut file| file.write_all(&vec![0; TRIAL_BYTES]).and_then(|()| file.sync_all()))
                .is_ok();
        // One that could not be made is not there.
        let _ = std::fs::remove_file(&path);
        written
    }
}
