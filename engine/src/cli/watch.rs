//! `auscult watch`: says when an instance is dead, stuck, lagging or held back, a partition unowned, the broker away.
//! In: the heartbeat topic. Out: each change as a JSON line, a record of the watch topic, and a call of a program;
//! exit code 0, or 1 if it was to end after a time and an alarm rings then.

mod exec;
mod pages;
mod topics;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::run::stop_flag;
use super::say;
use crate::config::{Config, Kafka};
use crate::error::RunError;
use crate::watch::{Change, Watch};
use crate::{check, clock};
use exec::Exec;
use pages::Board;
use topics::{Heard, Heartbeats, Prober, Teller};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Arguments of `auscult watch`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Configuration of the service: brokers, prefix, frames topic, properties.
    #[arg(short, long)]
    config: Option<PathBuf>,
    /// Bootstrap servers, instead of those of the configuration.
    #[arg(long)]
    brokers: Option<String>,
    /// Prefix of every topic, instead of that of the configuration.
    #[arg(long)]
    prefix: Option<String>,
    /// Name of this watchdog; several may watch.
    #[arg(long, default_value = "watch-1")]
    name: String,
    /// Records that a partition may lag behind.
    #[arg(long, default_value_t = 10_000)]
    lag_limit: i64,
    /// Program to run at each change, without arguments and without a shell: the change stands on its standard input.
    #[arg(long)]
    exec: Option<PathBuf>,
    /// Address of `/livez` and `/metrics`; loopback only.
    #[arg(long)]
    listen: Option<String>,
    /// Stop after so many seconds; exit code 1 if an alarm rings then.
    #[arg(long = "for")]
    for_s: Option<f64>,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    let kafka = kafka(args)?;
    let stop = stop_flag()?;
    let mut watcher = Watcher::open(args, &kafka)?;
    info!(brokers = kafka.brokers, prefix = kafka.prefix, name = args.name, "watching");
    let began = clock::instant();
    let over = |began: Instant| args.for_s.is_some_and(|f| began.elapsed().as_secs_f64() >= f);
    while !stop.load(Ordering::Relaxed) && !over(began) {
        watcher.turn();
    }
    watcher.teller.flush();
    let rings = watcher.watch.active().count();
    match args.for_s {
        Some(_) if rings > 0 && !stop.load(Ordering::Relaxed) => Err(RunError::Rings { alarms: rings }),
        _ => Ok(()),
    }
}

fn kafka(args: &Args) -> Result<Kafka, RunError> {
    let mut kafka = match &args.config {
        // Models are not loaded and rules not built: a watchdog must run where only Kafka is right.
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(RunError::io("read", path))?;
            check::read(&text, &path.to_string_lossy()).map_err(RunError::Config)?.kafka
        }
        None => Config::default().kafka,
    };
    kafka.brokers = args.brokers.clone().unwrap_or(kafka.brokers);
    kafka.prefix = args.prefix.clone().unwrap_or(kafka.prefix);
    kafka.instance = args.name.clone();
    Ok(kafka)
}

struct Watcher {
    name: String,
    began: Instant,
    watch: Watch,
    heartbeats: Heartbeats,
    prober: Prober,
    teller: Teller,
    exec: Option<Exec>,
    board: Board,
    crowded: bool,
    /// Whether changes are written to standard output.
    speaks: bool,
}

impl Watcher {
    fn open(args: &Args, kafka: &Kafka) -> Result<Self, RunError> {
        let began = clock::instant();
        let board = Board::default();
        if let Some(listen) = &args.listen {
            let address = pages::serve(listen, board.clone())?;
            info!("watchdog http://{address}/metrics");
        }
        let start = format!("{}/{}", args.name, clock::now().micros());
        Ok(Self {
            name: args.name.clone(),
            watch: Watch::new(0, &start, args.lag_limit),
            heartbeats: Heartbeats::open(kafka)?,
            prober: Prober::start(kafka, began)?,
            teller: Teller::open(kafka)?,
            exec: args.exec.as_ref().map(|program| Exec::start(program)).transpose()?,
            board,
            began,
            crowded: false,
            speaks: true,
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Takes in what has come, then looks.
    fn turn(&mut self) {
        let mut heard = self.heartbeats.poll(LOOK);
        // A pile of heartbeats, as after a sleep, is read whole before anyone is judged.
        while !matches!(heard, Heard::Nothing) {
            self.take(heard);
            heard = self.heartbeats.poll(Duration::ZERO);
        }
        while let Some(answer) = self.prober.answer() {
            answer.give(&mut self.watch);
        }
        let now = self.now();
        for change in self.watch.look(now) {
            self.tell(&change);
        }
        self.teller.poll();
        self.board.publish(&self.watch, now);
    }

    fn take(&mut self, heard: Heard) {
        let now = self.now();
        match heard {
            Heard::Beat(beat) => {
                self.board.heard();
                if !self.watch.heartbeat(now, beat) && !std::mem::replace(&mut self.crowded, true) {
                    warn!(code = "crowded", "more instances than can be watched; those beyond are not");
                }
            }
            Heard::Told(alarms) => alarms.into_values().for_each(|a| self.watch.adopt(a)),
            Heard::All => self.watch.caught_up(now),
            Heard::Other | Heard::Nothing => {}
        }
    }

    fn tell(&mut self, change: &Change) {
        let body = change.body(&self.name, clock::now().micros()).to_string();
        if let (true, Err(e)) = (self.speaks, say::line(format_args!("{body}"))) {
            // Those who watch by the topic, by the program or by the metrics must not lose their watchdog over it.
            warn!(code = "unread", error = %e, "standard output is not used any more; the watch goes on");
            self.speaks = false;
        }
        self.teller.tell(&change.alarm.key(), &body);
        if let Some(exec) = &self.exec {
            exec.run(body);
        }
    }
}

/// Alarms that ring, by key of their record.
type Told = BTreeMap<String, crate::watch::Alarm>;
