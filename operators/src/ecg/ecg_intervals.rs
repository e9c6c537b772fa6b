//! PR, QRS and QT of the usual beat, and QT corrected for rate.
//! In: raw samples of the lead that `rpeaks` uses, and its beats. Out: intervals in ms, medians over the last beats;
//! without P waves, in noise, or while beats differ too much, the reason why there is none.

use serde::{Deserialize, Serialize};

use super::average_beat::{AverageBeat, Fate};
use super::delineation::delineate;
use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{BeatKind, Epoch, EventTime, Kind, Missing, Reading, Readings, Span};
use crate::window::{Ring, grade, median_in_place};

/// Parameters of `ecg_intervals`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Below this quality no interval is given (1).
    pub quality_floor: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { quality_floor: 0.5 }
    }
}

const QUALITY_FLOOR: Bound = Bound { name: "quality_floor", min: 0.0, max: 1.0, unit: "" };

/// Beats whose medians are given, and the least of them that must show a wave.
const BEATS: usize = 15;
const BEATS_MIN: usize = 8;
/// Reach of a beat before and after its R wave (s).
const REACH_S: (f64, f64) = (0.44, 0.7);
/// Beats that count in the average.
const AVERAGED: u16 = 8;
/// Without a new beat for so long nothing is known any more.
const PAUSE: Span = Span::seconds_const(10);
/// The window that readings name: so long some 15 to 30 beats take.
const WINDOW: Span = Span::seconds_const(30);
/// Longest interval between beats that is an RR interval (s).
const RR_MOST_S: f64 = 2.0;
/// What can be measured at all (ms): PR, QRS, QT.
const PLAUSIBLE: [(f32, f32); 3] = [(60.0, 450.0), (45.0, 260.0), (150.0, 720.0)];
/// Noise of the average that leaves it as good as none, and that makes it worthless (mV).
const NOISE: (f32, f32) = (0.015, 0.06);
/// Share of beats unlike the average that is usual, and that leaves it worthless: of two kinds of beat in turn, as in
/// bigeminy, nobody knows which one is normal.
const STRANGE: (f32, f32) = (0.1, 0.7);
/// No wave was found in this beat.
const NONE: f32 = 0.0;

/// The medians' beats, all of one lead.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Watched {
    beat: AverageBeat,
    /// PR, QRS and QT of the last beats in ms, [`NONE`] where there is none.
    last: [Ring; 3],
    /// Last RR intervals in s.
    rr: Ring,
    /// When the last beat came, and when the last one was measured.
    came: Option<EventTime>,
    measured: Option<EventTime>,
}

/// What `ecg_intervals` knows of a patient.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct State {
    watched: Option<Watched>,
    ever: bool,
}

struct EcgIntervals {
    params: Params,
    state: State,
}

/// QT in ms corrected for an RR interval in s, as Bazett, Fridericia and the Framingham study do.
///
/// ```
/// use auscult_operators::ecg::ecg_intervals::corrected;
/// assert_eq!(corrected(400.0, 1.0), [400.0; 3]);
/// let [bazett, fridericia, framingham] = corrected(360.0, 0.64);
/// assert!((bazett - 450.0).abs() < 1e-9 && (fridericia - 417.7).abs() < 0.1 && (framingham - 415.44).abs() < 1e-9);
/// ```
pub fn corrected(qt_ms: f64, rr_s: f64) -> [f64; 3] {
    [qt_ms / rr_s.sqrt(), qt_ms / libm::cbrt(rr_s), qt_ms + 154.0 * (1.0 - rr_s)]
}

/// Median of those numbers of a ring that are there, and how many they are.
fn median(ring: &Ring) -> (f64, usize) {
    let mut all = [0.0; BEATS];
    let mut n = 0;
    for x in ring.iter().filter(|x| *x != NONE).take(BEATS) {
        all[n] = x;
        n += 1;
    }
    (f64::from(median_in_place(&mut all[..n]).unwrap_or(0.0)), n)
}

impl Watched {
    fn new(beat: AverageBeat) -> Self {
        let last = [0; 3].map(|_| Ring::new(BEATS));
        Self { beat, last, rr: Ring::new(BEATS), came: None, measured: None }
    }

    fn beat(&mut self, time: EventTime) {
        if let Some(before) = self.came.filter(|b| *b < time) {
            let rr_s = (time - before).seconds();
            if rr_s <= RR_MOST_S {
                self.rr.push(rr_s as f32);
            }
        }
        self.came = Some(time);
        self.beat.beat(time);
    }

    /// Settles what can be settled and measures the average after each beat that went into it.
    fn measure(&mut self) {
        while let Some((time, fate)) = self.beat.settle() {
            if fate != Fate::Taken {
                continue;
            }
            if self.beat.beats() == 1 {
                // A new average: what was measured on the one before is of other beats.
                self.last.iter_mut().for_each(Ring::clear);
            }
            let (mean, r) = self.beat.mean();
            let (rr_s, _) = median(&self.rr);
            let rr_s = if rr_s > 0.0 { rr_s as f32 } else { 1.0 };
            let waves = delineate(mean, r, rr_s, self.beat.noise());
            let mut found = [NONE; 3];
            if let Some(w) =
                waves.filter(|w| (PLAUSIBLE[1].0..=PLAUSIBLE[1].1).contains(&(w.qrs.1 - w.qrs.0)))
            {
                let (onset, end) = w.qrs;
                let all = [w.p.map(|p| onset - p.onset), Some(end - onset), w.t.map(|t| t.1 - onset)];
                for ((slot, ms), (least, most)) in found.iter_mut().zip(all).zip(PLAUSIBLE) {
                    *slot = ms.filter(|ms| (least..=most).contains(ms)).unwrap_or(NONE);
                }
                self.measured = Some(time);
            }
            self.last.iter_mut().zip(found).for_each(|(ring, ms)| {
                ring.push(ms);
            });
        }
    }

    /// An interval and its quality, or why there is none.
    fn interval(&self, ring: &Ring, end: EventTime, floor: f32) -> (Result<f64, Missing>, f32) {
        let none = |why| (Err(why), 0.0);
        if ring.len() < BEATS_MIN && self.measured.is_none_or(|m| end - m <= PAUSE) {
            return none(Missing::Learning);
        }
        if self.measured.is_none_or(|m| end - m > PAUSE) {
            return none(if self.beat.share() < floor { Missing::LowQuality } else { Missing::TooFew });
        }
        let (ms, count) = median(ring);
        let seen = ring.len().max(1) as f32;
        let noise = grade(self.beat.noise(), NOISE.0, NOISE.1);
        let sure = grade(1.0 - self.beat.share(), STRANGE.0, STRANGE.1) * noise;
        if sure < floor {
            return none(Missing::LowQuality);
        }
        if count < BEATS_MIN || (count as f32) < 0.6 * seen {
            return none(Missing::TooFew);
        }
        let quality = sure * count as f32 / seen * (0.4 + 0.6 * self.steady(ring, ms as f32));
        if quality < floor { none(Missing::LowQuality) } else { (Ok(ms), quality.clamp(0.0, 1.0)) }
    }

    /// One if most of the last beats agree with their median within some ms, less if they scatter.
    fn steady(&self, ring: &Ring, ms: f32) -> f32 {
        let mut apart = [0.0; BEATS];
        let mut n = 0;
        for x in ring.iter().filter(|x| *x != NONE).take(BEATS) {
            apart[n] = (x - ms).abs();
            n += 1;
        }
        median_in_place(&mut apart[..n]).map_or(0.0, |a| grade(a, 5.0, 30.0))
    }
}

impl State {
    /// Follows the lead that `rpeaks` uses; another lead, a gap or another rate begins anew.
    fn follow(&mut self, epoch: &Epoch<'_>, out: &Readings) {
        let lead = out.find("qrs_noise").and_then(|r| r.channel);
        if self
            .watched
            .as_ref()
            .is_some_and(|w| Some(w.beat.channel()) != lead || epoch.start - w.beat.newest() > Span::EPOCH)
        {
            self.watched = None;
        }
        for run in lead.into_iter().flat_map(|l| epoch.runs_of(l)).filter(|r| !r.raw.is_empty()) {
            if self.watched.as_ref().is_none_or(|w| !w.beat.continues(run)) {
                self.watched = AverageBeat::new(run, REACH_S.0, REACH_S.1, AVERAGED).map(Watched::new);
            }
            if let Some(w) = &mut self.watched {
                w.beat.take(run);
                self.ever = true;
            }
        }
        let Some(w) = &mut self.watched else { return };
        for b in &out.beats {
            if b.kind == BeatKind::Qrs && b.channel == w.beat.channel() && w.came.is_none_or(|c| b.time > c) {
                w.beat(b.time);
            }
        }
        w.measure();
    }
}

impl Operator for EcgIntervals {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        self.state.follow(epoch, out);
        let (end, floor) = (epoch.end(), self.params.quality_floor as f32);
        let absent = if self.state.ever { Missing::Stale } else { Missing::NoData };
        let nothing = (Err(absent), 0.0);
        let watched = self.state.watched.as_ref();
        let [pr, qrs, qt] =
            [0, 1, 2].map(|k| watched.map_or(nothing, |w| w.interval(&w.last[k], end, floor)));
        let rr = watched.map_or((0.0, 0), |w| median(&w.rr));
        let by_rate = |k: usize| match qt {
            (Ok(_), _) if rr.1 < BEATS_MIN => (Err(Missing::TooFew), 0.0),
            (Ok(ms), quality) => (Ok(corrected(ms, rr.0)[k]), quality),
            other => other,
        };
        let all = [
            ("pr_interval", pr),
            ("qrs_duration", qrs),
            ("qt_interval", qt),
            ("qtc_bazett", by_rate(0)),
            ("qtc_fridericia", by_rate(1)),
            ("qtc_framingham", by_rate(2)),
        ];
        let channel = watched.map(|w| w.beat.channel());
        for (name, (value, quality)) in all {
            out.push(Reading { name, channel, time: end, window: WINDOW, value, quality });
        }
    }

    fn far(&self, _next: EventTime, to: &mut Far) {
        if let Some(w) = &self.state.watched {
            w.beat.far(to);
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let state: State = load_state(SPEC.name, bytes)?;
        let sound = |w: &Watched| {
            let rings = w.last.iter().chain([&w.rr]);
            w.beat.sound() && rings.into_iter().all(|r| r.capacity() == BEATS)
        };
        if !state.watched.as_ref().is_none_or(sound) {
            return Err(StateError { operator: SPEC.name, reason: "lengths do not fit".into() });
        }
        self.state = state;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "ecg_intervals",
    summary: "PR, QRS and QT intervals of the usual beat, and QT corrected for rate",
    description: "Works on the raw samples of the lead that rpeaks uses. Baseline wander is taken away by \
        straight lines between the levels before successive QRS complexes, beats are aligned, and those \
        that correlate with the running average (weight one eighth) by less than 0.9 are left out. After \
        each beat the waves of the average are delineated: a wave begins and ends where its smoothed slope \
        falls to a share of its steepest. Readings are medians over the last 15 normal beats, at least \
        eight. A beat counts once the next one is there: two to three seconds after its R wave. PR is \
        absent where most beats show no P wave, as in atrial fibrillation; QT is absent where the T wave is \
        lower than 0.08 mV, and all are absent where the QRS complex seems shorter than 45 ms, as the spike \
        of a pacemaker does. A U wave that merges with the T wave lengthens QT. One lead sees less than all \
        of them: QRS and QT are up to 20 ms shorter than on twelve leads. Fast hearts with P on T give no \
        PR. Differs from its sources in averaging beats before delineation, and in slopes of fitted lines \
        in place of a spline wavelet.",
    reads: &[Kind::Ecg],
    writes: &[
        Output { name: "pr_interval", unit: "ms", summary: "Onset of P to onset of QRS", feeds: "" },
        Output { name: "qrs_duration", unit: "ms", summary: "Onset to end of the QRS complex", feeds: "" },
        Output { name: "qt_interval", unit: "ms", summary: "Onset of QRS to end of T", feeds: "" },
        Output { name: "qtc_bazett", unit: "ms", summary: "QT over the square root of RR", feeds: "" },
        Output { name: "qtc_fridericia", unit: "ms", summary: "QT over the cube root of RR", feeds: "" },
        Output {
            name: "qtc_framingham",
            unit: "ms",
            summary: "QT plus 154 ms for each second of RR below one",
            feeds: "",
        },
    ],
    needs: &["rpeaks"],
    latency: Span::seconds_const(4),
    by_default: false,
    sources: &[
        "Martínez JP et al. IEEE Trans Biomed Eng 2004;51:570-581. doi:10.1109/TBME.2003.821031 (ends of waves)",
        "CSE Working Party. Eur Heart J 1985;6:815-825. doi:10.1093/oxfordjournals.eurheartj.a061774 (ends, averages)",
        "Rautaharju PM et al. Circulation 2009;119:e241-e250. doi:10.1161/CIRCULATIONAHA.108.191096 (QT, correction)",
        "Sagie A et al. Am J Cardiol 1992;70:797-801. doi:10.1016/0002-9149(92)90562-D (Framingham)",
    ],
    bounds: &[QUALITY_FLOOR],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        QUALITY_FLOOR.check(params.quality_floor)?;
        Ok(Box::new(EcgIntervals { params, state: State::default() }))
    },
};
