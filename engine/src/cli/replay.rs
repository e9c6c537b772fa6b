//! `auscult replay`: the same walk over recordings, as fast as it goes.
//! In: recordings. Out: events, scores, features and rejects as JSON lines, beats as CSV, and the archive.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use auscult_operators::signal::EventTime;
use indicatif::{ProgressBar, ProgressStyle};

use super::check::load;
use super::feed::{Feed, FeedArgs};
use super::say;
use crate::decode;
use crate::effects::Effect;
use crate::error::RunError;
use crate::local::Local;
use crate::plan::Plan;
use crate::sink::archive::Archive;
use crate::sink::files::Files;
use crate::source::dump::Dump;

/// Arguments of `auscult replay`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    feed: FeedArgs,
    /// Folder for the outputs.
    #[arg(long)]
    out: PathBuf,
    /// Configuration; the shipped one by default.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// The inputs are dumps of partitions of the frames topic: one partition a file, in the form that the configuration
    /// says.
    #[arg(long)]
    dump: bool,
    /// Partitions of the local log.
    #[arg(long, default_value_t = 1, conflicts_with = "dump")]
    partitions: usize,
    /// Records handed to a worker at a time.
    #[arg(long, default_value_t = 250)]
    batch: usize,
    /// Write features too, and what each model says.
    #[arg(long)]
    features: bool,
    /// Write the Parquet archive too.
    #[arg(long)]
    archive: bool,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    let (_, mut plan) = load(args.config.as_deref(), true)?;
    plan.live = false;
    plan.beats = true;
    plan.features |= args.features;
    plan.predictions |= args.features;
    let plan = Arc::new(plan);
    let mut sinks = Sinks::open(args)?;
    let local = if args.dump { play_dumps(args, &plan, &mut sinks)? } else { play(args, &plan, &mut sinks)? };
    let (events, scores) = sinks.finish()?;
    let status = local.status();
    let a = &status.accounts;
    say::line(format_args!(
        "frames {} = processed {} + duplicate {} + late {} + rejected {}; events {events}; scores {scores}; samples {}",
        a.frames_in(),
        a.processed,
        a.duplicate,
        a.late,
        a.rejected_total(),
        status.samples.taken
    ))
}

/// Recordings, as frames of a local log.
fn play(args: &Args, plan: &Arc<Plan>, sinks: &mut Sinks) -> Result<Local, RunError> {
    let feed = Feed::open(&args.feed)?;
    let mut local = Local::new(plan, args.partitions, args.batch);
    let bar = progress(feed.expected());
    for frame in feed.frames() {
        bar.inc(1);
        if let Some((at, effects)) = local.append(&frame) {
            sinks.take(at, &effects.list)?;
        }
    }
    for (at, effects) in local.stop() {
        sinks.take(at, &effects.list)?;
    }
    bar.finish_and_clear();
    Ok(local)
}

/// Dumps, each a partition, one after the other. After its end time passes, so that what has arrived is computed.
fn play_dumps(args: &Args, plan: &Arc<Plan>, sinks: &mut Sinks) -> Result<Local, RunError> {
    if args.feed.records.is_empty() {
        return Err(RunError::Usage("no dump given; see --help".into()));
    }
    let mut local = Local::new(plan, args.feed.records.len(), args.batch);
    let mut end = EventTime::default();
    for (at, path) in args.feed.records.iter().enumerate() {
        let mut dump = Dump::open(path)?;
        let mut newest = EventTime::default();
        while let Some((key, value)) = dump.next_record()? {
            // As if it had arrived when its last sample was taken; what cannot be read is for the worker to refuse.
            newest = decode::end(&plan.form, &value).map_or(newest, |t| t.max(newest));
            if let Some((at, effects)) = local.append_record(at, newest, key, value) {
                sinks.take(at, &effects.list)?;
            }
        }
        end = end.max(newest);
    }
    let ended = local.tick(end + plan.quiet);
    for (at, effects) in ended.into_iter().chain(local.stop()) {
        sinks.take(at, &effects.list)?;
    }
    Ok(local)
}

struct Sinks {
    files: Files,
    beats: std::io::BufWriter<std::fs::File>,
    beats_path: PathBuf,
    archives: Vec<Archive>,
}

impl Sinks {
    fn open(args: &Args) -> Result<Self, RunError> {
        let files = Files::create(&args.out)?;
        let beats_path = args.out.join("beats.csv");
        let file = std::fs::File::create(&beats_path).map_err(RunError::io("create", &beats_path))?;
        let mut beats = std::io::BufWriter::new(file);
        writeln!(beats, "patient,kind,channel,time_us,amplitude,confidence")
            .map_err(RunError::io("write", &beats_path))?;
        let root = args.out.join("archive");
        let partitions = if args.dump { args.feed.records.len() } else { args.partitions.max(1) };
        let count = if args.archive { partitions } else { 0 };
        let archives = (0..count).map(|p| Archive::open(&root, "replay", p as i32));
        let archives = archives.collect::<Result<_, _>>()?;
        Ok(Self { files, beats, beats_path, archives })
    }

    fn take(&mut self, partition: usize, effects: &[(i64, Effect)]) -> Result<(), RunError> {
        self.files.take(effects)?;
        for (_, effect) in effects {
            let Effect::Beats(patient, beats) = effect else { continue };
            for b in beats {
                let kind = format!("{:?}", b.kind).to_lowercase();
                let (channel, time) = (b.channel.row().name, b.time.micros());
                writeln!(
                    self.beats,
                    "{},{kind},{channel},{time},{},{}",
                    patient.expose(),
                    b.amplitude,
                    b.confidence
                )
                .map_err(RunError::io("write", &self.beats_path))?;
            }
        }
        if let Some(archive) = self.archives.get_mut(partition) {
            archive.take(effects)?;
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(u64, u64), RunError> {
        self.beats.flush().map_err(RunError::io("write", &self.beats_path))?;
        self.files.finish()
    }
}

/// A bar on a terminal, nothing elsewhere.
pub(super) fn progress(n: u64) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style =
        ProgressStyle::with_template("{bar:40} {percent:>3} %  {human_pos} frames  {per_sec}  {eta} left");
    ProgressBar::new(n).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
