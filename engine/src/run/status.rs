//! What the loop says of itself: status for the pages and the heartbeat, and ticks and commands into the log.
//! In: how everything stands. Out: nothing that flows back into a result but by the log.

use std::time::Duration;

use super::{Owned, Service};
use crate::accounts::Accounts;
use crate::align::SampleCounts;
use crate::clock;

/// From one published status to the next.
const PUBLISH: Duration = Duration::from_millis(100);
/// Without a producer for so long, the broker is away.
const AWAY: Duration = Duration::from_millis(2_000);

impl Service<'_> {
    /// Ticks for idle partitions, commands from the dashboard.
    pub(super) fn pass_time(&mut self) {
        if self.handover.connected() {
            self.reached = clock::instant();
        }
        if self.config.kafka.ticks && !self.hold.holds() && self.handover.connected() {
            for (partition, owned) in &mut self.owned {
                let Owned::Reading(shard) = owned else { continue };
                if let Some(time) = shard.tick_due() {
                    self.side.tick(*partition, time);
                    // Not again before this one had time to come back.
                    shard.heard = clock::instant();
                }
            }
        }
        for command in self.shared.asked() {
            let at = self.shared.ward().event_time(&command.patient);
            if let Some(frame) = at.and_then(|t| self.desk.frame(&command, t)) {
                self.side.frame(&frame);
            }
        }
    }

    /// Whether the broker is away. A producer that is being made again takes a moment.
    fn waiting(&self) -> bool {
        self.reached.elapsed() > AWAY
    }

    fn measure_lag(&mut self) {
        self.status.lag.clear();
        for (partition, owned) in &self.owned {
            let Owned::Reading(shard) = owned else { continue };
            if let Some(end) = self.source.end_offset(*partition) {
                self.status.lag.insert(*partition, (end - shard.next).max(0));
            }
        }
    }

    /// Says how it stands; that it turns, every time.
    pub(super) fn publish(&mut self) {
        self.status.turns += 1;
        if self.published.elapsed() < PUBLISH {
            return self.shared.touch();
        }
        self.published = clock::instant();
        self.measure_lag();
        let (mut accounts, mut samples, mut patients) = (Accounts::default(), SampleCounts::default(), 0);
        for (partition, (frames, of)) in &self.retired {
            if !matches!(self.owned.get(partition), Some(Owned::Reading(_))) {
                accounts.add(frames);
                samples.add(of);
            }
        }
        for owned in self.owned.values() {
            let Owned::Reading(shard) = owned else { continue };
            accounts.add(&shard.worker.accounts);
            samples.add(&shard.worker.sample_counts());
            patients += shard.worker.patients().len() as u64;
            self.status.log_time = self.status.log_time.max(shard.worker.partition_time());
        }
        // One that is refused is watched by nobody.
        let served = self.owned.iter().filter(|(_, owned)| !matches!(owned, Owned::Refused));
        self.status.owned = served.map(|(p, _)| *p).collect();
        self.status.why_not_ready = self.why_not_ready();
        self.status.ready = self.status.why_not_ready.is_empty();
        (self.status.accounts, self.status.samples, self.status.patients) = (accounts, samples, patients);
        let tally = self.handover.tally();
        (self.status.commits, self.status.events, self.status.scores) =
            (tally.commits, tally.events, tally.scores);
        self.status.failed_transactions = tally.failures;
        self.status.in_flight = self.handover.records() as u64;
        self.status.paused = self.source.paused() as u64;
        self.status.archive_files = self.archiver.as_ref().map_or(0, |a| a.files());
        self.status.archive_waiting = self.archiver.as_ref().map_or(0, |a| a.waiting());
        let now = clock::instant();
        self.status.held_s = self.hold.lasts(now).map_or(0.0, |l| l.1.as_secs_f64());
        self.status.held = self.hold.seconds(now).to_vec();
        self.shared.publish(self.status.clone());
    }

    fn why_not_ready(&self) -> String {
        if let Some((partition, refused)) = self.refused.first_key_value() {
            return format!("partition {partition} is not read: {} ({})", refused.why, refused.code);
        }
        if self.waiting() {
            return "waiting for the broker".into();
        }
        if self.owned.is_empty() {
            return "no partition is owned yet".into();
        }
        if let Some((why, _)) = self.hold.lasts(clock::instant()) {
            return why;
        }
        let rebuilding = |o: &Owned| match o {
            Owned::Reading(shard) => !shard.caught_up(),
            _ => true,
        };
        if let Some((p, _)) = self.owned.iter().find(|(_, o)| rebuilding(o)) {
            return format!("partition {p} is rebuilding its state");
        }
        if self.archiver.as_ref().is_some_and(|a| a.failed()) {
            return "the archive cannot be written, see the log".into();
        }
        String::new()
    }
}
