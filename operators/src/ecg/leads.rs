//! The ECG leads of a patient: a QRS detector for each, and what they say together.
//! In: runs of samples in mV, the quality of each lead (0 to 1). Out: peaks judged in each lead; of a doubtful one
//! whether it is a beat, by the other lead.
//!
//! A lead is known by its doubt: how often, by its own odds, it errs, and how often it shows nothing where the other
//! one is sure. The lead with the least doubt speaks. Where it is not sure itself, the other lead is heard, by as much
//! as it can be trusted.

use libm::expf;
use serde::{Deserialize, Serialize};

use super::qrs::{Judged, QrsDetector};
use crate::signal::time::nearest;
use crate::signal::{Beat, BeatKind, ChannelId, EventTime, Kind, Run, Span};

/// Peaks kept per lead: three seconds of them, at most so many a second as the detector lets pass, with room.
pub(super) const KEPT_MAX: usize = 32;
/// Peaks of two leads closer together than this come from one heart beat.
const SAME_PEAK: Span = Span::from_micros(100_000);
/// A lead whose log odds are beyond this needs no other one.
const SURE: f32 = 2.0;
/// Log odds of a peak that the other lead does not show at all.
const NOTHING_THERE: f32 = -2.0;
/// Log odds that one lead can throw in, either way.
const VOTE_LIMIT: f32 = 6.0;
/// Log odds from which the other lead should show the peak as well, and what it counts for doubt if it does not.
const SHOULD_SHOW: f32 = 3.0;
const NOT_SHOWN: f32 = 0.3;
/// Doubt of a lead of which nothing is known, and the number of peaks that it stands for.
const DOUBT_AT_FIRST: (f32, f32) = (0.02, 5.0);
/// Peaks that decide about the doubt: some two minutes of them.
const DOUBT_PEAKS: f32 = 200.0;
/// Another lead must have less than this share of the risk, which is doubt times noise, before it takes over.
const RISK_SHARE: f32 = 0.5;
/// Less doubt, or noise, than this is as good as none.
const DOUBT_MARGIN: f32 = 0.002;
const NOISE_MARGIN: f32 = 0.05;
/// Noise of a lead of which nothing is known.
const NOISE_AT_FIRST: f32 = 0.2;

/// A beat in its lead.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Found {
    time: EventTime,
    amplitude: f32,
    confidence: f32,
}

/// A peak of slope energy, judged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Peak {
    /// Middle of its slopes.
    time: EventTime,
    log_odds: f32,
    beat: Option<Found>,
    /// Whether it was decided upon, and whether it was weighed.
    decided: bool,
    weighed: bool,
}

/// One lead with its detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Lead {
    pub(super) channel: ChannelId,
    pub(super) detector: QrsDetector,
    pub(super) rate: f64,
    /// Time just after the last sample.
    pub(super) end: EventTime,
    /// How well it detects at present, 0 to 1.
    pub(super) merit: f32,
    /// How often it errs in the long run, 0 to 1.
    doubt: f32,
    /// Level of the peaks that are no beats over that of the beats, in the long run.
    noise: f32,
    /// Number of peaks that doubt and noise stand for.
    known: f32,
    /// Recent peaks, by time.
    peaks: Vec<Peak>,
    /// Whether it had samples in this epoch, and whether they have ended.
    pub(super) present: bool,
    stopped: bool,
    /// Confidence summed over the beats settled in this epoch, and their number.
    pub(super) confidence: f32,
    pub(super) settled: u32,
}

impl Lead {
    pub(super) fn new(run: &Run<'_>) -> Self {
        Self {
            channel: run.channel,
            detector: QrsDetector::new(run.rate),
            rate: run.rate.get(),
            end: run.start,
            merit: 0.5,
            doubt: DOUBT_AT_FIRST.0,
            noise: NOISE_AT_FIRST,
            known: DOUBT_AT_FIRST.1,
            peaks: Vec::with_capacity(KEPT_MAX),
            present: false,
            stopped: false,
            confidence: 0.0,
            settled: 0,
        }
    }

    /// Begins an epoch.
    pub(super) fn begin(&mut self) {
        (self.present, self.stopped, self.confidence, self.settled) = (false, false, 0.0, 0);
    }

    pub(super) fn take(&mut self, run: &Run<'_>) {
        let before = self.detector.count();
        let Self { detector, peaks, rate, confidence, settled, .. } = self;
        detector.push_judged(run.raw, &mut |j: Judged| {
            keep(peaks, j, |index| time_of(index - before, *rate, run.start));
            if let Some(beat) = j.beat {
                *confidence += beat.confidence;
                *settled += 1;
            }
        });
        (self.present, self.stopped) = (true, false);
        self.end = run.time_of(run.raw.len());
    }

    /// Settles what still waits, since no sample follows.
    pub(super) fn stop(&mut self) {
        let (count, end) = (self.detector.count(), self.end);
        let Self { detector, peaks, rate, .. } = self;
        detector.finish_judged(&mut |j: Judged| keep(peaks, j, |index| time_of(index - count, *rate, end)));
        self.stopped = true;
    }

    /// Begins anew behind a gap; peaks from before it are kept, and so is its doubt.
    pub(super) fn restart(&mut self, run: &Run<'_>) {
        self.stop();
        let peaks = std::mem::take(&mut self.peaks);
        *self = Self { peaks, doubt: self.doubt, noise: self.noise, known: self.known, ..Self::new(run) };
    }

    /// Forgets peaks of long ago.
    pub(super) fn forget(&mut self, oldest: EventTime) {
        self.peaks.retain(|p| p.time > oldest);
    }

    /// Notes where its memory lies.
    pub(super) fn far(&self, to: &mut crate::filter::dispatch::Far) {
        self.detector.far(to);
        to.add(&self.peaks[..]);
    }

    /// Whether a loaded state has the right shape.
    pub(super) fn sound(&self) -> bool {
        self.channel.row().kind == Kind::Ecg && self.detector.sound() && self.peaks.len() <= KEPT_MAX
    }

    /// Whether this lead should speak rather than another one of like merit: the less is known, the more it must be
    /// the better one. Odds are odds of one lead alone; a calm lead is the more believable of two that are as sure.
    pub(super) fn surer_than(&self, other: &Lead) -> bool {
        let known = (self.known.min(other.known) / DOUBT_PEAKS).sqrt();
        let risk = |l: &Lead| (l.doubt + DOUBT_MARGIN) * (l.noise + NOISE_MARGIN);
        risk(self) < RISK_SHARE * known * risk(other)
    }

    fn doubt_more(&mut self, error: f32) {
        self.known = (self.known + 1.0).min(DOUBT_PEAKS);
        self.doubt += (error - self.doubt) / self.known;
        self.noise += (self.detector.noise_share() - self.noise) / self.known;
    }

    /// Before this time every peak was judged.
    fn judged_to(&self) -> EventTime {
        if self.stopped {
            return EventTime::from_micros(i64::MAX / 2);
        }
        time_of(self.detector.judged_to() - self.detector.count(), self.rate, self.end)
    }

    /// The peak that comes from the same heart beat.
    fn same(&self, time: EventTime) -> Option<&Peak> {
        let near = self.peaks.iter().filter(|p| apart(p.time, time) <= SAME_PEAK);
        near.min_by_key(|p| apart(p.time, time))
    }

    fn beat(&self, found: Found) -> Beat {
        let Found { time, amplitude, confidence } = found;
        Beat { kind: BeatKind::Qrs, channel: self.channel, time, amplitude, confidence }
    }

    /// Decides upon the peaks that can be, in order, and yields those that are beats.
    pub(super) fn decide(&mut self, other: Option<&Lead>, mut beat: impl FnMut(Beat)) {
        for i in 0..self.peaks.len() {
            let peak = self.peaks[i];
            if peak.decided {
                continue;
            }
            let sure = peak.log_odds.abs() >= SURE;
            let Some(other) = other.filter(|_| !sure) else {
                peak.beat.into_iter().for_each(|b| beat(self.beat(b)));
                self.peaks[i].decided = true;
                continue;
            };
            if !self.stopped && other.judged_to() <= peak.time + SAME_PEAK {
                return;
            }
            self.hear(&peak, other).into_iter().for_each(&mut beat);
            self.peaks[i].decided = true;
        }
    }

    /// What becomes of a doubtful peak once the other lead is heard.
    fn hear(&self, peak: &Peak, other: &Lead) -> Option<Beat> {
        let seen = other.same(peak.time);
        let vote = seen.map_or(NOTHING_THERE, |p| p.log_odds.clamp(-VOTE_LIMIT, VOTE_LIMIT));
        let trust = other.merit * (self.doubt / other.doubt.max(1e-4)).min(1.0);
        let log_odds = peak.log_odds + trust * vote;
        let own = peak.beat.map(|b| self.beat(b));
        let beat = own.or_else(|| Some(other.beat(seen?.beat?)))?;
        (log_odds > 0.0).then(|| Beat { confidence: 1.0 / (1.0 + expf(-log_odds)), ..beat })
    }
}

/// Moves the doubt of each lead by the peaks that all of them have judged.
pub(super) fn weigh(leads: &mut [Lead]) {
    let Some(to) = leads.iter().filter(|l| l.present).map(Lead::judged_to).min() else { return };
    for at in 0..leads.len() {
        for i in 0..leads[at].peaks.len() {
            let peak = leads[at].peaks[i];
            if peak.weighed || peak.time + SAME_PEAK >= to {
                continue;
            }
            leads[at].peaks[i].weighed = true;
            leads[at].doubt_more(1.0 / (1.0 + expf(peak.log_odds.abs())));
            if peak.log_odds > SHOULD_SHOW {
                let others = leads.iter_mut().enumerate().filter(|(k, l)| *k != at && l.present);
                others
                    .filter(|(_, l)| l.same(peak.time).is_none())
                    .for_each(|(_, l)| l.doubt_more(NOT_SHOWN));
            }
        }
    }
}

/// Time of the sample `offset` after (or before) the one at `origin`.
fn time_of(offset: i64, rate: f64, origin: EventTime) -> EventTime {
    origin + Span::from_micros(nearest(offset as f64 * 1e6 / rate))
}

fn apart(a: EventTime, b: EventTime) -> Span {
    if a > b { a - b } else { b - a }
}

fn keep(peaks: &mut Vec<Peak>, j: Judged, time: impl Fn(i64) -> EventTime) {
    if peaks.len() == KEPT_MAX {
        peaks.remove(0);
    }
    let found = |b: super::qrs::QrsBeat| Found {
        time: time(b.sample_index),
        amplitude: b.amplitude,
        confidence: b.confidence,
    };
    let (time, beat) = (time(j.middle), j.beat.map(found));
    peaks.push(Peak { time, log_odds: j.log_odds, beat, decided: false, weighed: false });
}
