//! A causal, streaming QRS detector for one ECG lead.
//! In: samples in mV at 100 to 1000 Hz, in pieces of any length. Out: one beat per QRS complex, with the index of its
//! R wave, its height in mV and a confidence, at most [`MAX_DELAY_S`] after the R wave.
//!
//! Peaks of slope energy (see [`super::qrs_features`]) closer together than a refractory time compete; each winner
//! is judged a quarter of a second later by the odds that it is a QRS complex: how it compares with the QRS complexes
//! and with the rejected peaks before it, how far it stands out of the 0.6 s around it (which rejects T waves, P waves
//! and bursts of noise), and whether a beat is due. A beat that is overdue needs less to be accepted, so nothing
//! has to be searched for backwards, and the delay stays short.

use std::cell::RefCell;
use std::ops::Range;

use libm::expf;
use serde::{Deserialize, Serialize};

use super::qrs_features::{Ahead, BLOCK, Compute, Features};
use super::qrs_flutter::FlutterWatch;
use super::qrs_odds::{Evidence, FLOOR_MV, by_bumps};
use crate::filter::dispatch::{Far, widest};
use crate::signal::Hertz;

/// The longest time from an R wave to the sample at which it is reported, in seconds.
pub const MAX_DELAY_S: f64 = 0.75;

/// Least and greatest rate in Hz.
pub const RATES: (f64, f64) = (100.0, 1000.0);

/// Peaks compete for at most and at least this long, in seconds: 270 beats a minute can be told apart.
const REFRACTORY_S: (f64, f64) = (0.19, 0.25);
/// Within those limits, the share of the RR interval for which peaks compete.
const REFRACTORY_RR: f32 = 0.4;
/// How long after its peak of energy a candidate is judged, in seconds.
const JUDGE_S: f64 = 0.25;
/// The same while the detector knows nothing of the lead, and how long that is, in seconds.
const START_JUDGE_S: f64 = 0.50;
const START_S: f64 = 2.0;
/// Share of the highest peak seen that a beat has during the start.
const START_SHARE: f32 = 0.45;
/// The span around a candidate that it must stand out of, in seconds before and after.
const AROUND_S: (f64, f64) = (0.35, 0.25);
/// Beats after which the bumps of QRS complexes are known.
const BUMPS_AFTER: u64 = 3;
/// Where the noise level is above this share of the QRS level, each further unit takes so much from the log odds
/// that the confidence tells of (the decision stays, as poor leads would lose their beats).
const DOUBT: (f32, f32) = (0.4, 10.0);
/// Weight of one beat in the QRS level and of one rejected peak in the noise level.
const LEVEL_WEIGHT: f32 = 0.125;
/// One beat counts in the QRS level at most this much above it, so that an artefact does not blind the detector.
const LEVEL_LIMIT: f32 = 2.0;
/// Two R waves lie at least this far apart, in seconds.
const APART_S: f64 = 0.12;
/// After so long without a beat the QRS level may be that of an artefact and is let down, in seconds: later than an
/// asystole is called.
const LULL_S: f64 = 5.0;
/// A longer interval between beats is a pause, not an RR interval, in seconds.
const PAUSE_S: f64 = 3.0;
/// Candidates that can wait at once: judging time over refractory time, rounded up.
const WAITING: usize = 8;

/// The times above in samples of one rate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Lengths {
    refractory: (i64, i64),
    judge: i64,
    start_judge: i64,
    start: i64,
    around: (i64, i64),
    apart: i64,
    /// The slow slope of the flutter watch: how often, over which mean, over which distance.
    slow: (i64, i64, i64),
    /// After so long without a beat the QRS level is let down.
    lull: i64,
    /// A longer interval is a pause and does not count as RR.
    pause: i64,
}

impl Lengths {
    fn new(rate: f64) -> Self {
        let samples = |s: f64| (s * rate) as i64;
        Self {
            refractory: (samples(REFRACTORY_S.0), samples(REFRACTORY_S.1)),
            judge: samples(JUDGE_S),
            start_judge: samples(START_JUDGE_S),
            start: samples(START_S),
            around: (samples(AROUND_S.0), samples(AROUND_S.1)),
            apart: samples(APART_S),
            slow: (samples(0.01), samples(0.04), samples(0.06)),
            lull: samples(LULL_S),
            pause: samples(PAUSE_S),
        }
    }
}

/// One QRS complex.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct QrsBeat {
    /// Index of the R wave, counted from the first sample pushed.
    pub sample_index: i64,
    /// Height of the R wave (or, negative, depth of the Q or S wave) above its surroundings, in mV.
    pub amplitude: f32,
    /// Probability that this is a QRS complex, 0 to 1.
    pub confidence: f32,
}

/// What the detector makes of one peak of slope energy.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Judged {
    /// Index of the middle of its slopes, counted from the first sample pushed.
    pub middle: i64,
    /// Natural logarithm of the odds that it is a QRS complex, within [`SUREST`] either way.
    pub log_odds: f32,
    /// The beat, if it is taken for one.
    pub beat: Option<QrsBeat>,
}

/// Log odds beyond this say no more.
pub const SUREST: f32 = 20.0;

/// A peak of slope energy: index of the peak, height in mV.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Candidate {
    index: i64,
    energy: f32,
}

/// The detector of one lead. Its state is plain data and does not depend on how samples are cut into pushes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct QrsDetector {
    rate: f64,
    len: Lengths,
    features: Features,
    flutter: FlutterWatch,
    previous: f32,
    rising: bool,
    /// The best peak of the current refractory time.
    leader: Option<Candidate>,
    /// Winners that wait to be judged, oldest first.
    waiting: Vec<Candidate>,
    qrs_level: f32,
    noise_level: f32,
    /// Bumps of QRS complexes.
    bump_levels: [f32; 3],
    /// Last intervals in samples, as a ring, and their median.
    intervals: [f32; 8],
    interval_count: u64,
    rr: f32,
    /// Peak of energy of the last beat; index of its R wave.
    last_peak: i64,
    last_r: i64,
    polarity: f32,
    until_slope: u32,
}

thread_local! {
    // Working memory, no state: each block is written before it is read, and need not be cleared for each detector.
    static AHEAD: RefCell<Ahead> = const { RefCell::new(Ahead::EMPTY) };
}

impl QrsDetector {
    /// A detector that has seen nothing yet.
    ///
    /// ```
    /// use auscult_operators::{ecg::qrs::QrsDetector, signal::Hertz};
    /// let spike = |i: i64| (1.0 - ((i % 200 - 100).abs() as f32) / 8.0).max(0.0);
    /// let ecg: Vec<f32> = (0..2000).map(spike).collect();
    /// let mut beats = Vec::new();
    /// let mut detector = QrsDetector::new(Hertz(250.0));
    /// detector.push(&ecg, &mut |b| beats.push(b.sample_index));
    /// detector.finish(&mut |b| beats.push(b.sample_index));
    /// assert_eq!(beats, (0..10).map(|k| 100 + 200 * k).collect::<Vec<_>>());
    /// ```
    pub fn new(rate: Hertz) -> Self {
        let fs = rate.get().clamp(RATES.0, RATES.1);
        Self {
            rate: fs,
            len: Lengths::new(fs),
            features: Features::new(Hertz(fs)),
            flutter: FlutterWatch::default(),
            previous: 0.0,
            rising: false,
            leader: None,
            waiting: Vec::with_capacity(WAITING),
            qrs_level: 0.0,
            noise_level: 0.0,
            bump_levels: [0.0; 3],
            intervals: [0.0; 8],
            interval_count: 0,
            rr: (0.8 * fs) as f32,
            last_peak: i64::MIN / 4,
            last_r: i64::MIN / 4,
            polarity: 0.0,
            until_slope: 0,
        }
    }

    /// Whether the detector works at that rate; at another it would misjudge all lengths.
    pub fn supports(rate: Hertz) -> bool {
        (RATES.0..=RATES.1).contains(&rate.get())
    }

    /// Takes in samples in mV and reports the beats that they settle.
    pub fn push(&mut self, samples: &[f32], on_beat: &mut impl FnMut(QrsBeat)) {
        self.push_judged(samples, &mut |j| j.beat.into_iter().for_each(&mut *on_beat));
    }

    /// Takes in samples in mV and reports each peak that they settle, QRS complex or not.
    pub fn push_judged(&mut self, samples: &[f32], on_peak: &mut impl FnMut(Judged)) {
        let (_, width, distance) = self.len.slow;
        AHEAD.with_borrow_mut(|ahead| {
            for mv in samples.chunks(BLOCK) {
                let Self { features, previous, .. } = self;
                widest(Compute { features, mv, previous: *previous, slow: (width, distance), ahead });
                self.take(ahead, mv.len(), on_peak);
            }
        });
    }

    /// Takes in a block, from one sample at which something happens to the next: a peak of energy, or a candidate
    /// whose time has come.
    fn take(&mut self, ahead: &Ahead, len: usize, on_peak: &mut impl FnMut(Judged)) {
        let energies = &ahead.values[..len];
        let (first, before) = (self.features.count(), self.previous);
        let mut peaks = self.peaks(ahead, len);
        let (mut from, mut taken) = (0, 0);
        while from < len {
            let due = (self.due() - first).clamp(from as i64, len as i64 - 1) as usize;
            let to = due.min(peaks.trailing_zeros() as usize);
            let now = first + to as i64;
            if peaks >> to & 1 == 1 {
                peaks &= peaks - 1;
                let energy = if to == 0 { before } else { energies[to - 1] };
                self.compete(Candidate { index: now - 1, energy });
            }
            if self.settle(now) {
                // What is judged sees the samples up to here, and none beyond.
                self.know(ahead, taken..to + 1);
                taken = to + 1;
                self.judge_due(now, on_peak);
            }
            from = to + 1;
        }
        self.know(ahead, taken..len);
    }

    /// Takes in samples of those computed ahead.
    fn know(&mut self, ahead: &Ahead, span: Range<usize>) {
        if span.is_empty() {
            return;
        }
        self.features.take(ahead, span.clone());
        let every = self.len.slow.0.max(1) as usize;
        let at = span.start + self.until_slope as usize;
        let slopes = ahead.changes[..span.end].get(at..).unwrap_or_default();
        let shares = ahead.shares[..span.end].get(at..).unwrap_or_default();
        self.flutter.slopes(slopes, shares, every);
        let next = at + slopes.len().div_ceil(every) * every;
        self.until_slope = (next - span.end) as u32;
    }

    /// Marks each sample of a block at which the energy begins to fall: the peak is the one before.
    fn peaks(&mut self, ahead: &Ahead, len: usize) -> u64 {
        let Ahead { rises, falls, .. } = *ahead;
        self.previous = ahead.values[len - 1];
        let moves = rises | falls;
        if moves.count_ones() as usize == len {
            let peaks = falls & (rises << 1 | u64::from(self.rising));
            self.rising = rises >> (len - 1) & 1 == 1;
            return peaks;
        }
        // Where it neither rises nor falls, it goes on as before.
        let mut peaks = 0;
        for i in (0..len).filter(|i| moves >> i & 1 == 1) {
            let rising = rises >> i & 1 == 1;
            peaks |= u64::from(self.rising && !rising) << i;
            self.rising = rising;
        }
        peaks
    }

    /// Notes where its memory lies, see [`Far`].
    pub(super) fn far(&self, to: &mut Far) {
        self.features.far(to);
        self.flutter.far(to);
        to.add(&self.waiting[..]);
    }

    /// Judges what is still waiting: the signal has ended, or a gap follows.
    pub fn finish(&mut self, on_beat: &mut impl FnMut(QrsBeat)) {
        self.finish_judged(&mut |j| j.beat.into_iter().for_each(&mut *on_beat));
    }

    /// As [`finish`](Self::finish), and reports each peak, QRS complex or not.
    pub fn finish_judged(&mut self, on_peak: &mut impl FnMut(Judged)) {
        if let Some(leader) = self.leader.take() {
            self.waiting.push(leader);
        }
        while !self.waiting.is_empty() {
            self.judge(on_peak);
        }
    }

    /// Samples taken in so far.
    pub fn count(&self) -> i64 {
        self.features.count()
    }

    /// Every peak whose middle lies before this index was judged.
    pub fn judged_to(&self) -> i64 {
        // The newest sample may turn out to be a peak.
        let waiting = self.waiting.first().or(self.leader.as_ref()).map_or(i64::MAX, |c| c.index);
        waiting.min(self.count() - 1) - self.features.delay()
    }

    /// Share of flutter-like waves among the last ones, 0 to 1; above one half no beats are reported.
    pub fn flutter(&self) -> f32 {
        self.flutter.index()
    }

    /// Slope energy of the last second over that of a QRS complex: about 0.2 in a clean lead; from 0.6 on, beats
    /// may hide in noise. `None` before a second has passed.
    pub fn noise(&self) -> Option<f32> {
        let last = self.count() - 1;
        let from = last - self.rate as i64;
        (from >= 0).then(|| self.features.mean_energy(from, last) / self.qrs_level.max(5.0 * FLOOR_MV))
    }

    /// Level of the peaks that are no QRS complexes over that of those that are, 0 to 1.
    pub fn noise_share(&self) -> f32 {
        (self.noise_level / self.qrs_level.max(FLOOR_MV)).min(1.0)
    }

    /// Whether a loaded state has the right shape.
    pub fn sound(&self) -> bool {
        (RATES.0..=RATES.1).contains(&self.rate)
            && self.len == Lengths::new(self.rate)
            && self.features.sound()
            && self.flutter.sound()
            && self.waiting.len() <= WAITING
    }

    /// A peak of energy: the highest of those within a refractory time wins.
    fn compete(&mut self, new: Candidate) {
        let (least, most) = self.len.refractory;
        let refractory = ((REFRACTORY_RR * self.rr) as i64).clamp(least, most);
        match self.leader {
            Some(leader) if new.index - leader.index < refractory => {
                if new.energy > leader.energy {
                    self.leader = Some(new);
                }
            }
            Some(leader) => {
                self.waiting.push(leader);
                self.leader = Some(new);
            }
            None => self.leader = Some(new),
        }
    }

    /// Lets the leader wait whose refractory time is over; tells whether a candidate is to be judged.
    fn settle(&mut self, now: i64) -> bool {
        if let Some(leader) = self.leader
            && now - leader.index >= self.len.refractory.1
        {
            self.waiting.push(leader);
            self.leader = None;
        }
        self.waiting.first().is_some_and(|first| now >= self.judged_at(first.index))
    }

    /// Judges the candidates whose time has come.
    fn judge_due(&mut self, now: i64, on_peak: &mut impl FnMut(Judged)) {
        while self.waiting.first().is_some_and(|first| now >= self.judged_at(first.index)) {
            self.judge(on_peak);
        }
    }

    /// Sample at which a waiting candidate is judged.
    fn judged_at(&self, index: i64) -> i64 {
        index + if self.starting(index) { self.len.start_judge } else { self.len.judge }
    }

    /// Sample at which there is something to settle, if no new peak comes.
    fn due(&self) -> i64 {
        let leader = self.leader.map_or(i64::MAX / 2, |l| l.index + self.len.refractory.1);
        self.waiting.first().map_or(leader, |w| leader.min(self.judged_at(w.index)))
    }

    fn starting(&self, index: i64) -> bool {
        index < self.len.start
    }

    /// Takes the oldest candidate and accepts or rejects it.
    fn judge(&mut self, on_peak: &mut impl FnMut(Judged)) {
        let c = self.waiting.remove(0);
        let mut enough = FLOOR_MV;
        if self.starting(c.index) {
            let seen = self.waiting.iter().chain(&self.leader).fold(c.energy, |m, w| m.max(w.energy));
            if self.qrs_level == 0.0 {
                self.qrs_level = seen;
            }
            enough = enough.max(START_SHARE * seen.max(self.qrs_level).min(3.0 * self.qrs_level));
        }
        let middle = c.index - self.features.delay();
        let (odds, bumps) = self.log_odds(c, middle);
        let (log_odds, beat) = if odds > 0.0 && c.energy > enough {
            // In flutter no wave is a QRS complex, whatever speaks for it.
            self.learn_bumps(bumps);
            self.accept(c, odds).map_or((-SUREST, None), |beat| (odds, Some(beat)))
        } else {
            self.reject(c);
            (odds.min(0.0), None)
        };
        on_peak(Judged { middle, log_odds: log_odds.clamp(-SUREST, SUREST), beat });
    }

    /// Natural logarithm of the odds that a candidate is a QRS complex, and its bumps, which are only looked for where
    /// there is hope.
    fn log_odds(&self, c: Candidate, middle: i64) -> (f32, [f32; 3]) {
        let to = (c.index + self.len.around.1).min(self.count() - 1);
        let evidence = Evidence {
            energy: c.energy,
            qrs_level: self.qrs_level,
            noise_level: self.noise_level,
            around: self.features.mean_energy(c.index - self.len.around.0, to),
            due: (c.index - self.last_peak) as f32 / self.rr,
        };
        if evidence.is_hopeless() {
            return (f32::NEG_INFINITY, [0.0; 3]);
        }
        let bumps = self.features.bumps(middle);
        let known = self.interval_count >= BUMPS_AFTER;
        let more = if known { by_bumps(bumps, self.bump_levels) } else { 0.0 };
        (evidence.log_odds() + more, bumps)
    }

    fn learn_bumps(&mut self, bumps: [f32; 3]) {
        for (level, bump) in self.bump_levels.iter_mut().zip(bumps) {
            *level = match *level {
                0.0 => bump,
                _ => *level + LEVEL_WEIGHT * (bump.min(LEVEL_LIMIT * level.max(1e-3)) - *level),
            };
        }
    }

    /// Takes a candidate for a QRS complex; yields the beat, if this is no flutter.
    fn accept(&mut self, c: Candidate, odds: f32) -> Option<QrsBeat> {
        let counted = c.energy.min(LEVEL_LIMIT * self.qrs_level);
        self.qrs_level += LEVEL_WEIGHT * (counted - self.qrs_level);
        self.note_interval(c.index - self.last_peak);
        self.last_peak = c.index;
        self.flutter.wave(c.energy);
        if self.flutter.index() > 0.5 {
            return None;
        }
        let d = self.features.deflection(c.index, (self.last_r + self.len.apart).max(0), self.polarity);
        let (up, down) = if d.height >= 0.0 { (d.height, d.opposite) } else { (d.opposite, -d.height) };
        self.polarity += LEVEL_WEIGHT * ((up - down) / (up + down).max(1e-6) - self.polarity);
        self.last_r = d.index;
        let doubt = DOUBT.1 * (self.noise_level / self.qrs_level - DOUBT.0).max(0.0);
        let confidence = 1.0 / (1.0 + expf(doubt - odds));
        Some(QrsBeat { sample_index: d.index, amplitude: d.height, confidence })
    }

    fn reject(&mut self, c: Candidate) {
        self.noise_level += LEVEL_WEIGHT * (c.energy.min(self.qrs_level) - self.noise_level);
        if c.index - self.last_peak > self.len.lull && c.energy < self.qrs_level {
            let before = self.qrs_level.max(FLOOR_MV);
            self.qrs_level += 0.5 * LEVEL_WEIGHT * (c.energy - self.qrs_level);
            self.bump_levels.iter_mut().for_each(|b| *b *= self.qrs_level / before);
        }
    }

    /// Keeps the median of the last eight intervals; a pause of more than three seconds is none.
    fn note_interval(&mut self, interval: i64) {
        if interval > self.len.pause {
            return;
        }
        self.intervals[(self.interval_count % 8) as usize] = interval as f32;
        self.interval_count += 1;
        let filled = self.interval_count.min(8) as usize;
        let mut sorted = self.intervals;
        sorted[..filled].sort_by(f32::total_cmp);
        self.rr = sorted[filled / 2];
    }
}
