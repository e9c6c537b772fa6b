//! What each QRS complex means: normal, supraventricular, ventricular, paced or unclassified.
//! In: QRS beats written earlier and the samples of their lead in mV. Out: the class of each beat with a confidence,
//! counts per minute of ectopic beats, the run of ventricular beats going on.

use std::collections::VecDeque;

use libm::expf;
use serde::{Deserialize, Serialize};

use super::beat_odds::{Case, Intervals, Odds, median};
use super::beat_shape::{LeadMemory, Shapes, log_ratio, measure};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::{Bound, ParamError};
use crate::signal::{
    Beat, BeatClass, BeatKind, ChannelId, ClassedBeat, Epoch, EventTime, Kind, Missing, Reading, Readings,
    Run, Span,
};

/// Parameters of `beat_class`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Least confidence of a QRS complex for it to be classed (0 to 1).
    pub confidence_min: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { confidence_min: 0.3 }
    }
}

const CONFIDENCE_MIN: Bound = Bound { name: "confidence_min", min: 0.0, max: 1.0, unit: "" };

/// How long a beat waits for the next one.
const WAIT: Span = Span::seconds_const(2);
/// Beats that can wait at once.
const WAITING: usize = 24;
/// Beats before the first one is classed.
const LEARNING: u32 = 8;
/// A longer interval is a pause, after which a beat has no interval, in seconds.
const PAUSE_S: f32 = 3.0;
/// Window of the counts, the most beats in it (300 a minute) and the fewest that are counted.
const WINDOW: Span = Span::seconds_const(60);
const RECENT: usize = 301;
const LEAST: usize = 10;
/// The last beat is spoken of for so long.
const FRESH: Span = Span::seconds_const(8);
/// Log odds from which a beat is called so: sensitivity and positive predictivity of patients left out are alike there.
const THRESHOLDS: (f32, f32) = (-1.4, -1.0);
/// How far earlier beats of a shape take the place of a beat's own odds, and how much they add.
const OWN: f32 = 0.5;
const KIN: f32 = 0.7;

/// What is known of the lead in use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Lead {
    channel: ChannelId,
    memory: LeadMemory,
    shapes: Shapes,
    intervals: Intervals,
    waiting: Vec<Beat>,
    /// Time of the beat before the first one that waits.
    last: Option<EventTime>,
    /// Beats seen.
    seen: u32,
    /// Whether the last beat was of a usual shape.
    plain: bool,
}

/// What `beat_class` knows of a patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    lead: Option<Lead>,
    /// Since when the lead has been followed.
    since: Option<EventTime>,
    /// Classes of the last minute.
    recent: VecDeque<ClassedBeat>,
}

struct BeatClasses {
    params: Params,
    state: State,
}

impl BeatClasses {
    fn new(value: &serde_json::Value) -> Result<Self, ParamError> {
        let params: Params = params(value)?;
        CONFIDENCE_MIN.check(params.confidence_min)?;
        Ok(Self { params, state: State::default() })
    }
}

fn probability(log_odds: f32) -> f32 {
    1.0 / (1.0 + expf(-log_odds.clamp(-30.0, 30.0)))
}

impl Lead {
    fn new(run: &Run<'_>) -> Self {
        Self {
            channel: run.channel,
            memory: LeadMemory::new(run.rate, run.start),
            shapes: Shapes::default(),
            intervals: Intervals::default(),
            waiting: Vec::with_capacity(WAITING),
            last: None,
            seen: 0,
            plain: false,
        }
    }

    /// Classes the beats whose time has come, or all of them if nothing more is to be waited for.
    fn settle(&mut self, all: bool, confidence_min: f32, out: &mut Vec<ClassedBeat>) {
        while let Some(first) = self.waiting.first().copied() {
            let next = self.waiting.get(1).map(|b| b.time);
            let waited = next.is_some() || self.memory.end() - first.time >= WAIT;
            if !(all || waited && self.memory.covers(first.time)) {
                return;
            }
            self.waiting.remove(0);
            let (class, confidence) =
                self.class(&first, next, confidence_min).unwrap_or((BeatClass::Unclassified, 0.0));
            out.push(ClassedBeat { channel: first.channel, time: first.time, class, confidence });
        }
    }

    /// Judges a beat and learns from it; `None` if it cannot be told.
    fn class(
        &mut self,
        beat: &Beat,
        next: Option<EventTime>,
        confidence_min: f32,
    ) -> Option<(BeatClass, f32)> {
        let before = self.last.map(|l| (beat.time - l).seconds() as f32);
        let after = next.map_or(WAIT, |n| n - beat.time).seconds() as f32;
        self.last = Some(beat.time);
        let wave = self.memory.beat(beat.time)?;
        let measures = measure(&wave);
        self.seen = self.seen.saturating_add(1);
        let dominant = self.shapes.dominant();
        let usual = dominant.and_then(|d| self.shapes.nearest(&wave, &measures, |i| self.shapes.usual(i, d)));
        let other =
            dominant.and_then(|d| self.shapes.nearest(&wave, &measures, |i| !self.shapes.usual(i, d)));
        let nearest = match (usual, other) {
            (Some(u), Some(o)) if o.1.likeness > u.1.likeness => Some(o),
            (None, o) => o,
            (u, _) => u,
        };
        let before = before.filter(|b| *b < PAUSE_S);
        let odds = before.zip(usual).map(|(before, (u, on_usual))| {
            let all = self.shapes.all();
            let other = other.map(|(i, m)| (&all[i], m));
            let case = Case {
                before,
                intervals: &self.intervals,
                measures: &measures,
                usual: (&all[u], on_usual),
                other,
            };
            case.odds()
        });
        let shape = nearest.filter(|(_, m)| m.alike()).map(|(i, _)| i);
        let seasoned = odds.map(|o| Odds { ventricular: self.seasoned(o.ventricular, shape), ..o });
        let joined = self.shapes.join(&wave, &measures, nearest);
        if let (Some(before), Some(o)) = (before, odds) {
            self.shapes.judged(joined, o.ventricular);
            self.learn(joined, before, after);
        }
        let sure = beat.confidence >= confidence_min && self.seen > LEARNING;
        seasoned.filter(|_| sure).map(|o| verdict(o, beat.confidence))
    }

    /// The log odds with what was said of earlier beats of the same shape.
    fn seasoned(&self, log_odds: f32, shape: Option<usize>) -> f32 {
        let Some(s) = shape.and_then(|i| self.shapes.all().get(i)) else { return log_odds };
        let worth = s.worth();
        (1.0 - OWN * worth) * log_odds + KIN * worth * s.verdict
    }

    /// Notes when a beat came.
    fn learn(&mut self, shape: usize, before: f32, after: f32) {
        let usual = median(&self.intervals.usual);
        self.shapes.timed(shape, log_ratio(before, usual, 0.7), log_ratio(after, usual, 0.7));
        let plain = self.shapes.dominant().is_some_and(|d| self.shapes.usual(shape, d));
        self.intervals.note(before, plain && self.plain);
        self.plain = plain;
    }

    fn sound(&self) -> bool {
        self.channel.row().kind == Kind::Ecg
            && self.memory.sound()
            && self.shapes.sound()
            && self.intervals.sound()
            && self.waiting.len() <= WAITING
    }
}

/// The class, and how likely it is.
fn verdict(odds: Odds, beat_confidence: f32) -> (BeatClass, f32) {
    let v = probability(odds.ventricular - THRESHOLDS.0);
    let s = probability(odds.supraventricular - THRESHOLDS.1);
    let (class, p) = match (v > 0.5, s > 0.5) {
        (true, _) => (BeatClass::Ventricular, v),
        (false, true) => (BeatClass::Supraventricular, s * (1.0 - v)),
        (false, false) => (BeatClass::Normal, (1.0 - v) * (1.0 - s)),
    };
    (class, (p * beat_confidence).clamp(0.0, 1.0))
}

impl State {
    /// Follows the lead in use; where it ends, what waits is settled and all is forgotten.
    fn follow(
        &mut self,
        epoch: &Epoch<'_>,
        chosen: Option<ChannelId>,
        confidence_min: f32,
        out: &mut Readings,
    ) {
        let goes_on = |l: &Lead| Some(l.channel) == chosen && epoch.runs_of(l.channel).next().is_some();
        if let Some(lead) = self.lead.as_mut().filter(|l| !goes_on(l)) {
            lead.settle(true, confidence_min, &mut out.classes);
            self.lead = None;
        }
        let Some(channel) = chosen else { return };
        for run in epoch.runs_of(channel) {
            if let Some(lead) = self.lead.as_mut().filter(|l| !l.memory.continues(run)) {
                lead.settle(true, confidence_min, &mut out.classes);
                self.lead = None;
            }
            if self.lead.is_none() {
                self.since = Some(run.start);
                self.recent.clear();
            }
            self.lead.get_or_insert_with(|| Lead::new(run)).memory.push(run);
        }
    }

    /// Keeps the classes of the last minute.
    fn keep(&mut self, new: &[ClassedBeat], end: EventTime) {
        for c in new.iter().filter(|c| self.since.is_some_and(|s| c.time >= s)) {
            if self.recent.len() == RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(*c);
        }
        while self.recent.front().is_some_and(|c| c.time < end - WINDOW) {
            self.recent.pop_front();
        }
    }
}

/// Ventricular beats in a row: those up to the last beat, and the most.
///
/// ```
/// use auscult_operators::{ecg::beat_class::runs, signal::BeatClass::{Normal as N, Ventricular as V}};
/// assert_eq!(runs([N, V, V, V, N, V].into_iter()), (1, 3));
/// assert_eq!(runs([V, V, N].into_iter()), (0, 2));
/// ```
pub fn runs(classes: impl Iterator<Item = BeatClass>) -> (u32, u32) {
    let (mut now, mut most) = (0, 0);
    for c in classes {
        now = if c == BeatClass::Ventricular { now + 1 } else { 0 };
        most = most.max(now);
    }
    (now, most)
}

impl BeatClasses {
    fn report(&self, epoch: &Epoch<'_>, out: &mut Readings) {
        let end = epoch.end();
        let State { lead, since, recent } = &self.state;
        let classed = recent.iter().filter(|c| c.class != BeatClass::Unclassified);
        let told = classed.clone().count();
        let young = since.is_none_or(|s| end - s < WINDOW);
        let hindrance = match lead {
            None => Some(Missing::NoData),
            Some(_) if young => Some(Missing::Learning),
            Some(_) if recent.len() < LEAST => Some(Missing::TooFew),
            Some(_) if 2 * told < recent.len() => Some(Missing::LowQuality),
            Some(_) => None,
        };
        let quality = classed.clone().map(|c| c.confidence).sum::<f32>() / (recent.len().max(1) as f32);
        let count = |class| classed.clone().filter(|c| c.class == class).count() as f64;
        let (ventricular, supraventricular) =
            (count(BeatClass::Ventricular), count(BeatClass::Supraventricular));
        let (now, most) = runs(recent.iter().map(|c| c.class));
        let last = recent.back().filter(|c| end - c.time <= FRESH);
        let no_beat = if lead.is_none() { Missing::NoData } else { Missing::TooFew };
        let class = last.map_or(Err(no_beat), |c| match c.class {
            BeatClass::Normal => Ok(0.0),
            BeatClass::Supraventricular => Ok(1.0),
            BeatClass::Ventricular => Ok(2.0),
            BeatClass::Paced => Ok(3.0),
            BeatClass::Unclassified => Err(Missing::LowQuality),
        });
        let sure = last.map_or(0.0, |c| c.confidence);
        let of_minute = |x: f64| hindrance.map_or(Ok(x), Err);
        let all = [
            ("ventricular_rate", WINDOW, of_minute(ventricular), quality),
            ("supraventricular_rate", WINDOW, of_minute(supraventricular), quality),
            ("ventricular_share", WINDOW, of_minute(ventricular / told.max(1) as f64), quality),
            ("ventricular_run_longest", WINDOW, of_minute(f64::from(most)), quality),
            ("ventricular_run", FRESH, class.map(|_| f64::from(now)), sure),
            ("last_beat_class", FRESH, class, sure),
        ];
        let channel = lead.as_ref().map(|l| l.channel);
        for (name, window, value, quality) in all {
            let quality = if value.is_ok() { quality.clamp(0.0, 1.0) } else { 0.0 };
            out.push(Reading { name, channel, time: end, window, value, quality });
        }
    }
}

impl Operator for BeatClasses {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let confidence_min = self.params.confidence_min as f32;
        let from = out.classes.len();
        let chosen = out.find("flutter_index").and_then(|r| r.channel);
        self.state.follow(epoch, chosen, confidence_min, out);
        if let Some(lead) = &mut self.state.lead {
            let after = lead.waiting.last().map(|b| b.time).max(lead.last);
            let new =
                |b: &&Beat| b.kind == BeatKind::Qrs && b.channel == lead.channel && Some(b.time) > after;
            let room = WAITING - lead.waiting.len();
            lead.waiting.extend(out.beats.iter().filter(new).take(room).copied());
            lead.settle(false, confidence_min, &mut out.classes);
        } else {
            self.state.since = None;
            self.state.recent.clear();
        }
        self.state.keep(&out.classes[from..], epoch.end());
        self.report(epoch, out);
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let state: State = load_state(SPEC.name, bytes)?;
        if state.recent.len() > RECENT || !state.lead.iter().all(Lead::sound) {
            return Err(StateError { operator: SPEC.name, reason: "lengths do not fit".into() });
        }
        self.state = state;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "beat_class",
    summary: "What each QRS complex means: normal, supraventricular or ventricular",
    description: "Beats of the lead in use that look alike share a shape, six at most; the dominant shape and others \
        that are common and not early are this patient's usual beats. A beat is ventricular by the odds of a \
        logistic regression: how little it is like any usual shape, how early and how wide beats of the unusual \
        shape that it is like come and what pause follows them, how early it comes itself, its area, height and P \
        wave; what was said of earlier beats of its shape counts too. Of the others it is supraventricular if it \
        comes early for a calm rhythm. A beat waits for the next one, for two seconds at most. The first eight \
        beats, beats of little confidence and those at a gap stay unclassified. Everything begins anew with a gap \
        and when another lead is used. The weights are learned from the MIT-BIH development records on which the \
        tests count: with the patient left out, figures were within a percent of those; with half of the patients \
        left out, up to nine percent lower. Limits: aberrantly conducted supraventricular beats look ventricular; \
        supraventricular beats are found poorly, in irregular rhythms hardly; a ventricular rhythm that lasts for \
        minutes, or from the start, becomes the usual one; escape beats of usual width are normal; fusion beats fall \
        on either side. Paced beats are not told apart (no reading of pacing spikes).",
    reads: &[Kind::Ecg],
    writes: &[
        Output {
            name: "ventricular_rate",
            unit: "/min",
            summary: "Ventricular ectopic beats in the last minute",
            feeds: "",
        },
        Output {
            name: "supraventricular_rate",
            unit: "/min",
            summary: "Supraventricular ectopic beats in the last minute",
            feeds: "",
        },
        Output {
            name: "ventricular_share",
            unit: "1",
            summary: "Share of ventricular beats among those classed in the last minute",
            feeds: "",
        },
        Output {
            name: "ventricular_run_longest",
            unit: "1",
            summary: "Most ventricular beats in a row in the last minute: 2 is a couplet, 3 a run",
            feeds: "",
        },
        Output {
            name: "ventricular_run",
            unit: "1",
            summary: "Ventricular beats in a row up to the last beat classed",
            feeds: "",
        },
        Output {
            name: "last_beat_class",
            unit: "1",
            summary: "Class of the last beat: 0 normal, 1 supraventricular, 2 ventricular",
            feeds: "",
        },
    ],
    needs: &["rpeaks"],
    latency: Span::seconds_const(6),
    by_default: false,
    sources: &[
        "ANSI/AAMI EC57:2012 (classes of beats, how they are compared)",
        "de Chazal P et al. IEEE Trans Biomed Eng 2004;51(7):1196-1206. doi:10.1109/TBME.2004.827359 (intervals)",
        "Llamedo M, Martinez JP. IEEE Trans Biomed Eng 2011;58(3):616-625. doi:10.1109/TBME.2010.2068048 (few \
         features, held against other patients)",
        "Moody GB, Mark RG. IEEE Eng Med Biol 2001;20(3):45-50. doi:10.1109/51.932724 (MIT-BIH records)",
    ],
    bounds: &[CONFIDENCE_MIN],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| Ok(Box::new(BeatClasses::new(v)?)),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::ecg::rpeaks;
    use crate::signal::{Hertz, Values};

    /// A lead at 250 Hz: narrow beats every 0.8 s; from the 20th on every tenth one is `early_s` early and, if `wide`,
    /// three times as wide and the other way up.
    fn lead(early_s: f64, wide: bool, seconds: usize) -> Vec<f32> {
        let bump = |t: f64, middle: f64, width: f64| libm::exp(-0.5 * ((t - middle) / width).powi(2));
        (0..seconds * 250)
            .map(|i| {
                let t = i as f64 / 250.0;
                let near = (t / 0.8) as usize;
                (near.saturating_sub(1)..near + 3)
                    .map(|k| {
                        let odd = k >= 20 && k % 10 == 0;
                        let r = 0.4 + 0.8 * k as f64 - if odd { early_s } else { 0.0 };
                        match (odd, wide) {
                            (true, true) => -1.3 * bump(t, r, 0.04) + 0.4 * bump(t, r + 0.25, 0.06),
                            _ => bump(t, r, 0.012) + 0.25 * bump(t, r + 0.27, 0.045),
                        }
                    })
                    .sum::<f64>() as f32
            })
            .collect()
    }

    /// Classes of all beats: normal, supraventricular, ventricular, unclassified.
    fn told(wave: &[f32]) -> [usize; 4] {
        let channel = ChannelId::named("ecg_ii").unwrap();
        let mut chain = [&rpeaks::SPEC, &SPEC].map(|s| (s.build)(&(s.defaults)()).unwrap());
        let (mut out, values, mut counts) = (Readings::default(), Values::default(), [0; 4]);
        for (s, raw) in wave.chunks_exact(250).enumerate() {
            let start = EventTime::from_seconds(s as i64);
            let run = Run { channel, rate: Hertz(250.0), start, reset: s == 0, raw, clean: raw, bridged: 0 };
            out.clear();
            for operator in &mut chain {
                operator.apply(&Epoch { start, runs: &[run], values: &values }, &mut out);
            }
            for c in &out.classes {
                counts[match c.class {
                    BeatClass::Normal => 0,
                    BeatClass::Supraventricular => 1,
                    BeatClass::Ventricular => 2,
                    _ => 3,
                }] += 1;
            }
        }
        counts
    }

    #[test]
    fn early_wide_beats_are_ventricular_and_early_narrow_ones_are_not() {
        let [_, s, v, unknown] = told(&lead(0.3, true, 120));
        assert!((11..=13).contains(&v) && s == 0 && unknown <= 10, "{v} ventricular, {s}, {unknown}");
        let [_, s, v, _] = told(&lead(0.3, false, 120));
        assert!((11..=13).contains(&s) && v == 0, "{s} supraventricular, {v}");
        let [n, s, v, _] = told(&lead(0.0, false, 120));
        assert!(n > 130 && s + v == 0, "{n} normal, {s}, {v}");
    }
}
