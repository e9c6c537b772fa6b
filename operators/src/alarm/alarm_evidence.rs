//! Whether ECG, pulse wave and arterial pressure together bear out a life-threatening arrhythmia.
//! In: QRS complexes, pulses and their quality, the flutter index. Out: evidence from 0 to 1 for asystole, extreme
//! bradycardia, extreme tachycardia, ventricular tachycardia and ventricular fibrillation in the last 16 s.

use serde::{Deserialize, Serialize};

use super::beat_trains::{Seen, Stretch, Train, WINDOW};
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{Beat, BeatKind, Epoch, EventTime, Kind, Missing, Reading, Readings, Span};

/// Parameters of `alarm_evidence`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Without a QRS complex for this long there is an asystole (s).
    pub asystole_s: f64,
    /// Five beats slower than this are an extreme bradycardia (/min).
    pub bradycardia_below: f64,
    /// Seventeen beats faster than this are an extreme tachycardia (/min).
    pub tachycardia_above: f64,
    /// Five beats faster than this, and than what is usual, may be a ventricular tachycardia (/min).
    pub vt_above: f64,
    /// And faster than what is usual by this factor (1).
    pub vt_ratio: f64,
}

impl Default for Params {
    fn default() -> Self {
        // The definitions are 4 s, 40, 140 and 100 a minute: a beat that the detector adds or misses, or a rate that
        // has just changed, must not speak against an alarm.
        Self {
            asystole_s: 3.5,
            bradycardia_below: 50.0,
            tachycardia_above: 125.0,
            vt_above: 105.0,
            vt_ratio: 1.2,
        }
    }
}

const BOUNDS: &[Bound] = &[
    Bound { name: "asystole_s", min: 2.0, max: 10.0, unit: "s" },
    Bound { name: "bradycardia_below", min: 20.0, max: 60.0, unit: "/min" },
    Bound { name: "tachycardia_above", min: 100.0, max: 200.0, unit: "/min" },
    Bound { name: "vt_above", min: 90.0, max: 150.0, unit: "/min" },
    Bound { name: "vt_ratio", min: 1.0, max: 2.0, unit: "1" },
];

/// No signal shows it.
const NOT_THERE: f64 = 0.0;
/// One signal shows it, and another one that can be believed does not.
const REFUTED: f64 = 0.25;
/// One signal shows it, and no other one can say.
const ALONE: f64 = 0.5;
/// Two signals show it.
const BORNE_OUT: f64 = 1.0;

/// Beats are settled so long after their time, as a rule.
const SETTLED: Span = Span::from_micros(500_000);
/// A pulse follows its QRS complex by this at most.
const ARRIVAL: Span = Span::from_micros(600_000);
/// A pulse wave without a pulse for so long stands still (s).
const STANDSTILL_S: f64 = 2.5;
/// A pulse that the pulse wave shows well has at least this share of the usual height.
const WHOLE_PULSE: f64 = 0.6;
/// Pulse rates above this speak against an extreme bradycardia (/min).
const NO_BRADYCARDIA: f64 = 60.0;
/// A flutter index above this is seen as fibrillation.
const FLUTTER: f64 = 0.5;

/// What `alarm_evidence` knows of a patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    since: Option<EventTime>,
    qrs: Train,
    /// Of the PPG, and of the arterial pressure.
    pulses: [Train; 2],
    /// When the flutter index was high last.
    flutter: Option<EventTime>,
}

struct AlarmEvidence {
    params: Params,
    state: State,
}

/// The quality of the best channel of a kind in this epoch.
fn quality(out: &Readings, kinds: &[Kind]) -> Option<f64> {
    let of =
        |r: &&Reading| r.name == "signal_quality" && r.channel.is_some_and(|c| kinds.contains(&c.row().kind));
    out.items.iter().filter(of).filter_map(|r| r.value.ok()).reduce(f64::max)
}

impl State {
    fn follow(&mut self, epoch: &Epoch<'_>, out: &Readings) {
        let end = epoch.end();
        let wave = |r: &crate::signal::Run<'_>| {
            matches!(r.channel.row().kind, Kind::Ecg | Kind::Ppg | Kind::Pressure)
        };
        if !epoch.runs.iter().any(|r| wave(r) && !r.raw.is_empty()) {
            *self = Self::default();
            return;
        }
        self.since.get_or_insert(epoch.start);
        let seen = |b: &Beat| Seen { time: b.time, height: b.amplitude };
        let qrs = out.beats.iter().filter(|b| b.kind == BeatKind::Qrs).map(seen);
        self.qrs.follow(end, qrs, quality(out, &[Kind::Ecg]));
        for (train, kind) in self.pulses.iter_mut().zip([Kind::Ppg, Kind::Pressure]) {
            let of = |b: &&Beat| b.kind == BeatKind::Pulse && b.channel.row().kind == kind;
            // Of two lines with the same pulses those of the first one count.
            let first = out.beats.iter().find(of).map(|b| b.channel);
            let pulses = out.beats.iter().filter(of).filter(|b| Some(b.channel) == first).map(seen);
            train.follow(end, pulses, quality(out, &[kind]));
        }
        if out.find("flutter_index").and_then(|r| r.value.ok()).is_some_and(|f| f > FLUTTER) {
            self.flutter = Some(end);
        }
    }

    /// Pulse trains that can be believed.
    fn believed(&self) -> impl Iterator<Item = &Train> {
        self.pulses.iter().filter(|p| p.can_be_believed())
    }

    fn asystole(&self, end: EventTime, p: &Params) -> f64 {
        let (from, to) = self.qrs.longest_pause(end - WINDOW, end - SETTLED);
        if (to - from).seconds() < p.asystole_s {
            return NOT_THERE;
        }
        let (from, to) = (from + SETTLED, (to + SETTLED).min(end - SETTLED));
        let pause = |train: &Train| {
            let (a, b) = train.longest_pause(from, to);
            (b - a).seconds()
        };
        self.weigh(|train| pause(train) < STANDSTILL_S)
    }

    fn bradycardia(&self, p: &Params) -> f64 {
        let lowest = |train: &Train| train.rates(5).map(|(low, _)| low.per_minute);
        let slow = |train: &Train| lowest(train).is_some_and(|r| r < p.bradycardia_below);
        if slow(&self.qrs) {
            return self.weigh(|train| lowest(train).is_some_and(|r| r >= NO_BRADYCARDIA));
        }
        if self.believed().any(slow) { ALONE } else { NOT_THERE }
    }

    fn tachycardia(&self, p: &Params) -> f64 {
        let fast =
            |train: &Train| train.rates(17).is_some_and(|(_, high)| high.per_minute > p.tachycardia_above);
        // Weak pulses are missed while the heart races: too few of them say nothing.
        match (fast(&self.qrs), self.believed().any(fast)) {
            (true, true) => BORNE_OUT,
            (true, false) => ALONE,
            (false, true) if self.qrs.rates(17).is_none() => ALONE,
            _ => NOT_THERE,
        }
    }

    fn vt(&self, p: &Params) -> f64 {
        let Some((_, fastest)) = self.qrs.rates(5) else { return NOT_THERE };
        let usual = self.qrs.usual().map_or(0.0, |u| u.per_minute);
        if fastest.per_minute <= p.vt_above || fastest.per_minute <= p.vt_ratio * usual {
            return NOT_THERE;
        }
        self.weigh(|train| goes_on(train, &fastest))
    }

    fn vf(&self, end: EventTime) -> f64 {
        if self.flutter.is_none_or(|f| end - f > WINDOW) {
            return NOT_THERE;
        }
        let even = |train: &Train| {
            let usual = train.usual().map_or(0.0, |u| 60.0 / u.per_minute);
            let (a, b) = train.longest_pause(end - WINDOW, end - SETTLED - SETTLED);
            (b - a).seconds() < 1.5 * usual
        };
        self.weigh(even)
    }

    /// What is left of a finding of the ECG once the pulses that can be believed are asked.
    fn weigh(&self, speaks_against: impl Fn(&Train) -> bool) -> f64 {
        let mut believed = self.believed().peekable();
        if believed.peek().is_none() {
            return ALONE;
        }
        if believed.any(speaks_against) { REFUTED } else { BORNE_OUT }
    }
}

/// Whether whole pulses go on at least as often as usual while the ECG runs fast.
fn goes_on(train: &Train, fast: &Stretch<'_>) -> bool {
    let Some(usual) = train.usual() else { return false };
    let (from, to) = (fast.first(), fast.last() + ARRIVAL);
    let pulses = train.between(from, to);
    let expected = ((to - from).seconds() * usual.per_minute / 60.0).floor().max(1.0);
    let whole = pulses.iter().filter(|p| f64::from(p.height.abs()) >= WHOLE_PULSE * usual.height).count();
    whole == pulses.len() && whole as f64 >= expected
}

impl Operator for AlarmEvidence {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let Self { params, state } = self;
        state.follow(epoch, out);
        let end = epoch.end();
        let missing = match state.since {
            None => Some(Missing::NoData),
            Some(since) if end - since < WINDOW => Some(Missing::Learning),
            _ => None,
        };
        let trust = state.pulses.iter().map(|p| p.quality).fold(state.qrs.quality, f32::max);
        for (name, evidence) in [
            ("asystole_evidence", state.asystole(end, params)),
            ("bradycardia_evidence", state.bradycardia(params)),
            ("tachycardia_evidence", state.tachycardia(params)),
            ("vt_evidence", state.vt(params)),
            ("vf_evidence", state.vf(end)),
        ] {
            let value = missing.map_or(Ok(evidence), Err);
            let quality = if value.is_ok() { trust.clamp(0.0, 1.0) } else { 0.0 };
            out.push(Reading { name, channel: None, time: end, window: WINDOW, value, quality });
        }
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let state: State = load_state(SPEC.name, bytes)?;
        if !state.pulses.iter().chain([&state.qrs]).all(Train::sound) {
            return Err(StateError {
                operator: SPEC.name,
                reason: "beats are out of order or too many".into(),
            });
        }
        self.state = state;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "alarm_evidence",
    summary: "Whether several signals together bear out asystole, extreme rates, ventricular tachycardia or flutter",
    description: "Looks at the last 16 s and yields, for each condition, 0 if no signal shows it, 0.25 if one \
        shows it and another one that can be believed does not, 0.5 if one shows it and no other one can say, \
        1 if two show it. From 0.5 on the condition should be taken for real. The QRS complexes are those of \
        rpeaks; the pulses of PPG and arterial pressure are believed while their running quality is at least \
        0.7 and eight of them have been seen. Asystole is refuted by pulses without a pause of 2.5 s; \
        bradycardia by five pulses in a row at 60 a minute or more; ventricular tachycardia, which is five \
        beats faster than usual, by pulses of at least 0.6 of the usual height at the usual rate meanwhile; \
        fibrillation by even pulses. An extreme tachycardia is never refuted, since weak pulses are missed. \
        The limits are those of the definitions with a margin, so that doubt speaks for the alarm. A \
        ventricular tachycardia that has gone on for more than a minute has become usual and is not seen; \
        neither is one whose beats are wide but not faster than usual. It judges an alarm of a monitor, and \
        should not raise one alone.",
    reads: &[Kind::Ecg, Kind::Ppg, Kind::Pressure],
    writes: &[
        Output::new("asystole_evidence", "1", "Evidence for an asystole in the last 16 s: from 0.5 on, real"),
        Output::new("bradycardia_evidence", "1", "Evidence for an extreme bradycardia"),
        Output::new("tachycardia_evidence", "1", "Evidence for an extreme tachycardia"),
        Output::new("vt_evidence", "1", "Evidence for a ventricular tachycardia"),
        Output::new("vf_evidence", "1", "Evidence for ventricular flutter or fibrillation"),
    ],
    needs: &["rpeaks"],
    latency: Span::ZERO,
    by_default: false,
    sources: &[
        "Clifford GD et al. Comput Cardiol 2015;42:273-276 (definitions of the five arrhythmias, data)",
        "Aboukhalil A et al. J Biomed Inform 2008;41:442-451. doi:10.1016/j.jbi.2008.03.003 (pulses and alarms)",
    ],
    bounds: BOUNDS,
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| {
        let params: Params = params(v)?;
        let p = &params;
        let found = [p.asystole_s, p.bradycardia_below, p.tachycardia_above, p.vt_above, p.vt_ratio];
        for (bound, found) in BOUNDS.iter().zip(found) {
            bound.check(found)?;
        }
        Ok(Box::new(AlarmEvidence { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{ChannelId, Hertz, Run, Values};

    /// A signal: its channel, the times of its beats in seconds, their height, its quality.
    type Signal<'a> = (&'a str, &'a dyn Fn(f64) -> bool, f32, f64);

    /// Beats every 0.8 s, and every 0.35 s where `fast`, as long as `beats` says so; evidence at the end.
    fn evidence(seconds: i64, fast: &dyn Fn(f64) -> bool, signals: &[Signal<'_>], name: &str) -> Reading {
        let mut op = (SPEC.build)(&(SPEC.defaults)()).unwrap();
        let (mut out, values, raw) = (Readings::default(), Values::default(), [0.0; 10]);
        let mut times = vec![];
        let mut t = 0.3;
        while t < seconds as f64 {
            times.push(t);
            t += if fast(t) { 0.35 } else { 0.8 };
        }
        for s in 0..seconds {
            out.clear();
            let start = EventTime::from_seconds(s);
            let mut runs = vec![];
            for (name, beats, height, quality) in signals {
                let channel = ChannelId::named(name).unwrap();
                runs.push(Run {
                    channel,
                    rate: Hertz(10.0),
                    start,
                    reset: s == 0,
                    raw: &raw,
                    clean: &raw,
                    bridged: 0,
                });
                let kind = if channel.row().kind == Kind::Ecg { BeatKind::Qrs } else { BeatKind::Pulse };
                for t in times.iter().filter(|t| (s as f64..s as f64 + 1.0).contains(*t) && beats(**t)) {
                    let time = EventTime::from_micros((t * 1e6) as i64);
                    out.beats.push(Beat { kind, channel, time, amplitude: *height, confidence: 1.0 });
                }
                let (window, value) = (Span::EPOCH, Ok(*quality));
                let (time, channel) = (start + Span::EPOCH, Some(channel));
                out.push(Reading { name: "signal_quality", channel, time, window, value, quality: 1.0 });
            }
            op.apply(&Epoch { start, runs: &runs, values: &values }, &mut out);
        }
        *out.find(name).unwrap()
    }

    const ALWAYS: &dyn Fn(f64) -> bool = &|_| true;
    const NEVER: &dyn Fn(f64) -> bool = &|_| false;

    #[test]
    fn an_asystole_is_borne_out_or_refuted_by_pulses() {
        let until_50: &dyn Fn(f64) -> bool = &|t| t < 50.0;
        for (pulses, quality, expected) in
            [(until_50, 1.0, BORNE_OUT), (ALWAYS, 1.0, REFUTED), (ALWAYS, 0.2, ALONE), (NEVER, 1.0, ALONE)]
        {
            let signals = [("ecg_ii", until_50, 1.0, 1.0), ("ppg", pulses, 1.0, quality)];
            assert_eq!(evidence(56, NEVER, &signals, "asystole_evidence").value, Ok(expected));
        }
        let beating = [("ecg_ii", ALWAYS, 1.0, 1.0)];
        assert_eq!(evidence(56, NEVER, &beating, "asystole_evidence").value, Ok(NOT_THERE));
    }

    #[test]
    fn a_fast_run_is_refuted_by_whole_pulses_at_the_usual_rate() {
        let run: &dyn Fn(f64) -> bool = &|t| (50.0..53.0).contains(&t);
        let before: &dyn Fn(f64) -> bool = &|t| !(50.0..54.0).contains(&t);
        // In a true one the pulses fail; here all QRS complexes that are too many are artefacts between pulses.
        for (pulses, expected) in [(before, BORNE_OUT), (ALWAYS, REFUTED)] {
            let signals = [("ecg_ii", ALWAYS, 1.0, 1.0), ("abp", pulses, 40.0, 1.0)];
            assert_eq!(evidence(57, run, &signals, "vt_evidence").value, Ok(expected));
        }
        assert_eq!(evidence(57, NEVER, &[("ecg_ii", ALWAYS, 1.0, 1.0)], "vt_evidence").value, Ok(NOT_THERE));
    }

    #[test]
    fn rates_are_those_of_beats_in_a_row() {
        let ecg = [("ecg_ii", ALWAYS, 1.0, 1.0)];
        let fast: &dyn Fn(f64) -> bool = &|t| t > 45.0;
        assert_eq!(evidence(56, fast, &ecg, "tachycardia_evidence").value, Ok(ALONE));
        assert_eq!(evidence(56, NEVER, &ecg, "tachycardia_evidence").value, Ok(NOT_THERE));
        // Every other beat: 37.5 a minute.
        let other: &dyn Fn(f64) -> bool = &|t| ((t - 0.3) / 0.8).round() as i64 % 2 == 0;
        let slow = [("ecg_ii", other, 1.0, 1.0)];
        assert_eq!(evidence(56, NEVER, &slow, "bradycardia_evidence").value, Ok(ALONE));
        let refuted = [("ecg_ii", other, 1.0, 1.0), ("ppg", ALWAYS, 1.0, 1.0)];
        assert_eq!(evidence(56, NEVER, &refuted, "bradycardia_evidence").value, Ok(REFUTED));
    }

    #[test]
    fn at_first_it_says_nothing() {
        let ecg = [("ecg_ii", ALWAYS, 1.0, 1.0)];
        let early = evidence(10, NEVER, &ecg, "vf_evidence");
        assert_eq!((early.value, early.quality), (Err(Missing::Learning), 0.0));
        assert_eq!(evidence(10, NEVER, &[], "vf_evidence").value, Err(Missing::NoData));
    }
}
