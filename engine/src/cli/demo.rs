//! `auscult demo`: a simulated ward through the very same walk, with a live dashboard.
//! In: a number of beds, recordings if any are given. Out: a page on loopback, an archive; runs until stopped.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use auscult_datasets::simulate::{SimulatedBed, ward};
use auscult_operators::signal::{EventTime, Frame, Span};

use super::check::load;
use super::feed::{Feed, FeedArgs};
use super::run::stop_flag;
use crate::commands::Desk;
use crate::effects::{Effect, Effects};
use crate::error::RunError;
use crate::local::Local;
use crate::shared::Shared;
use crate::sink::archive::Archive;
use crate::{clock, http};

/// Arguments of `auscult demo`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Simulated beds.
    #[arg(long, default_value_t = 32)]
    beds: usize,
    /// How many times real time.
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// Port of the dashboard on loopback.
    #[arg(long, default_value_t = 8642)]
    port: u16,
    /// Stop after so many seconds.
    #[arg(long = "for")]
    for_s: Option<f64>,
    /// Folder of the archive; none by default.
    #[arg(long)]
    archive: Option<PathBuf>,
    /// Seed of the simulation.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Recordings to play as further beds.
    records: Vec<PathBuf>,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    if !(args.speed > 0.0 && args.speed <= 100.0) {
        return Err(RunError::Usage(format!("--speed is {}, expected 0 to 100", args.speed)));
    }
    let (_, plan) = load(None, false)?;
    let plan = Arc::new(plan);
    let shared = Arc::new(Shared::new(&plan, "demo", true));
    let address = http::serve(&format!("127.0.0.1:{}", args.port), shared.clone())?;
    println!(
        "Auscult demo: {} simulated beds. Decision support for research; not a medical device.",
        args.beds
    );
    for m in &plan.models {
        match &m.unavailable {
            None => println!("model {} {} on {}", m.identity.name, m.identity.version, m.identity.runtime),
            Some(why) => println!("model {} is not available: {why}", m.identity.name),
        }
    }
    println!("dashboard: http://{address}/   (Ctrl-C to stop)");
    let mut demo = Demo {
        local: Local::new(&plan, 1, usize::MAX),
        archive: args.archive.as_ref().map(|dir| Archive::open(dir, "demo", 0)).transpose()?,
        desk: Desk::new("demo", clock::now()),
        shared,
        turns: 0,
    };
    demo.play(args)
}

struct Demo {
    local: Local,
    archive: Option<Archive>,
    desk: Desk,
    shared: Arc<Shared>,
    turns: u64,
}

impl Demo {
    fn play(&mut self, args: &Args) -> Result<(), RunError> {
        let stop = stop_flag()?;
        let start = clock::now().epoch_start();
        let mut beds: Vec<SimulatedBed> = ward(args.seed, args.beds, start);
        let feed = if args.records.is_empty() {
            None
        } else {
            let start = jiff::Timestamp::from_microsecond(start.micros()).unwrap_or_default().to_string();
            Some(Feed::open(&FeedArgs {
                records: args.records.clone(),
                patients: None,
                start: Some(start),
                frame_s: 1.0,
                seconds: None,
                source: "recording".into(),
            })?)
        };
        let mut played = feed.as_ref().map(|f| f.frames().peekable());
        let began = clock::instant();
        let mut second = 0u32;
        while !stop.load(Ordering::Relaxed) {
            let passed = began.elapsed().as_secs_f64() * args.speed;
            if args.for_s.is_some_and(|f| began.elapsed().as_secs_f64() >= f) {
                break;
            }
            while f64::from(second) < passed {
                // The second that has just passed arrives.
                let now = start + Span::from_seconds(f64::from(second) + 1.0);
                for bed in &mut beds {
                    if let Some(frame) = bed.next_second() {
                        self.append(&frame)?;
                    }
                }
                while let Some(frame) = played.as_mut().and_then(|p| p.next_if(|f| f.end() <= now)) {
                    self.append(&frame)?;
                }
                self.commands()?;
                self.let_pass(now)?;
                second += 1;
            }
            self.turns += 1;
            let mut status = self.local.status();
            status.turns = self.turns;
            status.archive_files = self.archive.as_ref().map_or(0, |a| a.files);
            self.shared.publish(status);
            std::thread::sleep(Duration::from_millis(50));
        }
        for (_, effects) in self.local.stop() {
            self.take(effects)?;
        }
        Ok(())
    }

    fn append(&mut self, frame: &Frame) -> Result<(), RunError> {
        match self.local.append(frame) {
            Some((_, effects)) => self.take(effects),
            None => Ok(()),
        }
    }

    fn commands(&mut self) -> Result<(), RunError> {
        for command in self.shared.asked() {
            let at = self.shared.ward().event_time(&command.patient);
            if let Some(frame) = at.and_then(|t| self.desk.frame(&command, t)) {
                self.append(&frame)?;
            }
        }
        Ok(())
    }

    /// A tick ends the second: beds that sent nothing grow silent all the same.
    fn let_pass(&mut self, now: EventTime) -> Result<(), RunError> {
        for (_, effects) in self.local.tick(now) {
            self.take(effects)?;
        }
        Ok(())
    }

    fn take(&mut self, effects: Effects) -> Result<(), RunError> {
        if let Some(archive) = &mut self.archive {
            archive.take(&effects.list)?;
        }
        let heard = self.local.status().log_time.unwrap_or_default();
        let mut ward = self.shared.ward();
        for (_, effect) in effects.list {
            if let Effect::Glance(glance) = effect {
                ward.take(*glance, heard);
            }
        }
        Ok(())
    }
}
