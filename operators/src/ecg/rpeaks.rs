//! R peaks of the patient: one QRS detector per ECG lead, beats of the lead that detects best.
//! In: raw ECG runs in mV. Out: beats with time, height in mV and confidence; per lead how far noise hides QRS
//! complexes and whether the waves are those of flutter.
//!
//! A beat is written in the epoch in which it is settled, up to [`MAX_DELAY_S`](super::qrs::MAX_DELAY_S) after its
//! own time. Only where another lead takes over, beats that it had settled meanwhile follow late, by three seconds at
//! most: that is the latency that the card declares.

use serde::{Deserialize, Serialize};

use super::leads::{Lead, weigh};
use super::qrs::QrsDetector;
use crate::filter::dispatch::Far;
use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::{Bound, ParamError};
use crate::signal::{Beat, ChannelId, Epoch, EventTime, Kind, Missing, Reading, Readings, Run, Span};

/// Parameters of `rpeaks`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Channel name of the one lead to use, or `auto` for the lead that detects best.
    pub lead: String,
    /// Most leads that are watched at once (the first ones in the order of the channel table).
    pub leads_max: u32,
}

impl Default for Params {
    fn default() -> Self {
        Self { lead: "auto".into(), leads_max: 2 }
    }
}

const LEADS_MAX: Bound = Bound { name: "leads_max", min: 1.0, max: 12.0, unit: "" };

/// Weight of one epoch in the merit of a lead: about ten seconds decide.
const MERIT_WEIGHT: f32 = 0.1;
/// Another lead must have this much more merit before it takes over.
const MERIT_MARGIN: f32 = 0.15;
/// Beats of two leads closer together than this are one heart beat.
const SAME_BEAT: Span = Span::from_micros(150_000);
/// How long peaks of leads that are not in use are kept for a change of lead.
const KEEP: Span = Span::seconds_const(3);
/// The longest time between two samples, at 100 Hz.
const ONE_SAMPLE: Span = Span::from_micros(10_000);

/// What `rpeaks` knows of a patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    /// Ordered by channel.
    leads: Vec<Lead>,
    chosen: Option<ChannelId>,
    /// Channel and time of the last beat written.
    written: Option<(ChannelId, EventTime)>,
}

struct RPeaks {
    lead: Option<ChannelId>,
    leads_max: usize,
    state: State,
}

impl RPeaks {
    fn new(value: &serde_json::Value) -> Result<Self, ParamError> {
        let p: Params = params(value)?;
        let leads_max = LEADS_MAX.check(f64::from(p.leads_max))? as usize;
        let lead =
            match p.lead.as_str() {
                "auto" => None,
                name => {
                    let known = ChannelId::named(name).filter(|c| c.row().kind == Kind::Ecg);
                    Some(known.ok_or_else(|| {
                        ParamError::Shape(format!("lead is {name}, which is no ECG channel"))
                    })?)
                }
            };
        Ok(Self { lead, leads_max, state: State::default() })
    }

    /// Gives a run to its lead; a reset, another rate or a new channel starts a detector.
    fn take(&mut self, run: &Run<'_>) {
        if self.lead.is_some_and(|l| l != run.channel) || !QrsDetector::supports(run.rate) {
            return;
        }
        let leads = &mut self.state.leads;
        let at = leads.partition_point(|l| l.channel < run.channel);
        if leads.get(at).is_none_or(|l| l.channel != run.channel) {
            if leads.len() >= self.leads_max {
                return;
            }
            leads.insert(at, Lead::new(run));
        } else if run.reset || leads[at].rate != run.rate.get() {
            leads[at].restart(run);
        }
        leads[at].take(run);
    }

    /// Moves the merit of each lead towards the confidence of its beats in this epoch. A lead that is silent while
    /// another one beats has none; while all are silent nothing is learned.
    fn grade(&mut self, out: &Readings) {
        let any = self.state.leads.iter().any(|l| l.settled > 0);
        for l in self.state.leads.iter_mut().filter(|l| l.present && any) {
            let confidence = if l.settled > 0 { l.confidence / l.settled as f32 } else { 0.0 };
            let quality = match out.find_on("signal_quality", l.channel).map(|r| r.value) {
                Some(Ok(q)) => q.clamp(0.0, 1.0) as f32,
                Some(Err(_)) => 0.0,
                None => 1.0,
            };
            l.merit += MERIT_WEIGHT * (confidence * quality - l.merit);
        }
    }

    /// The lead for the beats to come: the one in use unless it is gone, or another one is clearly better now or
    /// in the long run.
    fn choose(&self) -> Option<ChannelId> {
        let present = || self.state.leads.iter().filter(|l| l.present);
        // Of equal leads the first one wins, so the order of the table decides.
        let best = present().reduce(|a, b| if b.merit > a.merit { b } else { a });
        let used = present().find(|l| Some(l.channel) == self.state.chosen);
        let Some(best) = best else { return self.state.chosen };
        let as_good = |l: &&Lead| best.merit <= l.merit + MERIT_MARGIN;
        let Some(used) = used.or_else(|| present().find(as_good)) else { return Some(best.channel) };
        if best.merit > used.merit + MERIT_MARGIN {
            return Some(best.channel);
        }
        let surest = present().filter(as_good).fold(used, |a, b| if b.surer_than(a) { b } else { a });
        Some(surest.channel)
    }

    /// Writes what the lead in use, and where it doubts another one, settles after the last beat written.
    fn write(&mut self, out: &mut Readings) {
        let State { leads, chosen, written } = &mut self.state;
        let Some(at) = leads.iter().position(|l| Some(l.channel) == *chosen) else { return };
        let others = (0..leads.len()).filter(|&o| o != at && leads[o].present);
        let other = others.reduce(|a, b| if leads[b].merit > leads[a].merit { b } else { a });
        let tell = |beat: Beat| {
            let new = written.is_none_or(|(channel, time)| {
                beat.time > if channel == beat.channel { time } else { time + SAME_BEAT }
            });
            if new {
                *written = Some((beat.channel, beat.time));
                out.beats.push(beat);
            }
        };
        match other.map(|o| leads.get_disjoint_mut([at, o])) {
            Some(Ok([lead, other])) => lead.decide(Some(other), tell),
            _ => leads[at].decide(None, tell),
        }
    }

    fn report(&self, epoch: &Epoch<'_>, out: &mut Readings) {
        let lead = self.state.leads.iter().find(|l| l.present && Some(l.channel) == self.state.chosen);
        let noise = lead.map_or(Err(Missing::NoData), |l| l.detector.noise().ok_or(Missing::Learning));
        let flutter = lead.map_or(Err(Missing::NoData), |l| Ok(l.detector.flutter()));
        for (name, value) in [("qrs_noise", noise), ("flutter_index", flutter)] {
            out.push(Reading {
                name,
                channel: lead.map(|l| l.channel),
                time: epoch.end(),
                window: Span::EPOCH,
                value: value.map(f64::from),
                quality: lead.map_or(0.0, |l| l.merit),
            });
        }
    }
}

impl Operator for RPeaks {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        // Event time has leapt: what waited would be told long after it happened.
        self.state.leads.retain(|l| l.end + Span::EPOCH >= epoch.start);
        for l in &mut self.state.leads {
            l.begin();
        }
        for run in epoch.runs.iter().filter(|r| r.channel.row().kind == Kind::Ecg) {
            self.take(run);
        }
        // A lead that has stopped settles at once: whatever comes next stands beyond a gap that is not bridged.
        for l in &mut self.state.leads {
            if !l.present || l.end + l.channel.row().hold + ONE_SAMPLE < epoch.end() {
                l.stop();
            }
        }
        // What the lead in use has settled is written before another lead may take over: nothing is lost between.
        self.write(out);
        self.grade(out);
        weigh(&mut self.state.leads);
        self.state.chosen = self.choose();
        self.write(out);
        self.report(epoch, out);
        let oldest = epoch.end() - KEEP;
        self.state.leads.retain(|l| l.present);
        for l in &mut self.state.leads {
            l.forget(oldest);
        }
    }

    fn far(&self, _next: EventTime, to: &mut Far) {
        to.add(&self.state.leads[..]);
        self.state.leads.iter().for_each(|l| l.far(to));
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        let state: State = load_state(SPEC.name, bytes)?;
        let ordered = state.leads.windows(2).all(|w| w[0].channel < w[1].channel);
        if !ordered || state.leads.len() > self.leads_max || !state.leads.iter().all(Lead::sound) {
            return Err(StateError { operator: SPEC.name, reason: "lengths do not fit".into() });
        }
        self.state = state;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "rpeaks",
    summary: "R peaks: the QRS complexes of the ECG lead that shows them best",
    description: "One causal detector per lead. Peaks of slope energy (8 to 25 Hz) are judged a quarter of a second \
        later by their odds of being QRS complexes: size against the QRS complexes and rejected peaks before, \
        prominence over the 0.6 s around, and whether a beat is due. T waves, P waves and bursts of noise fail the \
        prominence; an overdue beat needs less. R waves of either polarity are placed at the main deflection. Smooth, \
        restless waves (flutter, fibrillation) are counted in flutter_index and yield no beats above one half: very \
        fast, sine-like ventricular tachycardia can look the same. With lead = \"auto\" the lead speaks that \
        errs least, by its own odds and where it shows nothing while another one is sure, with hysteresis; where it is \
        not sure itself another lead is heard, by as much as it can be trusted, and may take a beat away or lend one \
        of its own. A change of lead neither doubles nor drops a beat. \
        Leads sampled below 100 Hz or above 1000 Hz are not used.",
    reads: &[Kind::Ecg],
    writes: &[
        Output {
            name: "qrs_noise",
            unit: "1",
            summary: "Slope energy of the last second over that of a QRS complex: from 0.6 on, beats may be hidden",
            feeds: "",
        },
        Output {
            name: "flutter_index",
            unit: "1",
            summary: "Share of smooth, restless waves among the last ones: above 0.5 no beats are reported",
            feeds: "",
        },
    ],
    needs: &[],
    latency: KEEP,
    by_default: true,
    sources: &[
        "Pan J, Tompkins WJ. IEEE Trans Biomed Eng 1985;32(3):230-236. doi:10.1109/TBME.1985.325532 (slope energy)",
        "Hamilton PS. Comput Cardiol 2002;29:101-104. doi:10.1109/CIC.2002.1166717 (levels of QRS and noise peaks)",
        "Zong W, Moody GB, Jiang D. Comput Cardiol 2003;30:737-740. doi:10.1109/CIC.2003.1291261 (adaptive level)",
        "ANSI/AAMI EC57:2012 (how it is measured)",
    ],
    bounds: &[LEADS_MAX],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |v| Ok(Box::new(RPeaks::new(v)?)),
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
mod tests {
    use super::*;
    use crate::signal::{Hertz, Values};

    const RATE: f64 = 250.0;

    /// Height of a lead's R waves in an epoch; `None` without samples.
    type Height<'a> = &'a dyn Fn(i64) -> Option<f32>;

    /// A lead of one beat every 0.8 s, R waves of `height` mV at 0.4 s, 1.2 s, ...
    fn wave(i: i64, height: f32) -> f32 {
        let from_r = (i.rem_euclid(200) - 100).abs() as f32;
        height * (1.0 - from_r / 8.0).max(0.0)
    }

    fn build(lead: &str) -> Box<dyn Operator> {
        (SPEC.build)(&serde_json::json!({ "lead": lead })).unwrap()
    }

    /// Runs epochs `from..to` with the given leads (channel, height by second, reset at this epoch).
    fn run(
        op: &mut dyn Operator,
        epochs: std::ops::Range<i64>,
        leads: &[(&str, Height<'_>)],
        reset: impl Fn(i64) -> bool,
    ) -> Vec<(i64, Readings)> {
        let values = Values::default();
        epochs
            .map(|e| {
                let data: Vec<(ChannelId, Vec<f32>)> = leads
                    .iter()
                    .filter_map(|(name, height)| {
                        let h = height(e)?;
                        let mv = (e * 250..(e + 1) * 250).map(|i| wave(i, h)).collect();
                        Some((ChannelId::named(name).unwrap(), mv))
                    })
                    .collect();
                let runs: Vec<Run<'_>> = data
                    .iter()
                    .map(|(channel, mv)| Run {
                        channel: *channel,
                        rate: Hertz(RATE),
                        start: EventTime::from_seconds(e),
                        reset: reset(e),
                        raw: mv,
                        clean: mv,
                        bridged: 0,
                    })
                    .collect();
                let mut out = Readings::default();
                op.apply(
                    &Epoch { start: EventTime::from_seconds(e), runs: &runs, values: &values },
                    &mut out,
                );
                (e, out)
            })
            .collect()
    }

    fn beats(out: &[(i64, Readings)]) -> Vec<Beat> {
        out.iter().flat_map(|(_, r)| r.beats.clone()).collect()
    }

    fn gaps(beats: &[Beat]) -> Vec<f64> {
        beats.windows(2).map(|w| (w[1].time - w[0].time).seconds()).collect()
    }

    #[test]
    fn beats_bear_their_own_time_and_height() {
        let mut op = build("auto");
        let out = run(op.as_mut(), 0..20, &[("ecg_ii", &|_| Some(1.0))], |e| e == 0);
        let found = beats(&out);
        assert!(found.len() >= 24, "{found:?}");
        for (k, b) in found.iter().enumerate() {
            assert_eq!(b.time, EventTime::from_micros(400_000 + 800_000 * k as i64));
            assert!((0.7..1.1).contains(&b.amplitude) && b.confidence > 0.9, "{b:?}");
        }
        for (e, r) in &out {
            let late = r.beats.iter().map(|b| (EventTime::from_seconds(e + 1) - b.time).seconds());
            assert!(late.fold(0.0, f64::max) < 1.0 + super::super::qrs::MAX_DELAY_S);
        }
        assert_eq!(out[0].1.find("qrs_noise").unwrap().value, Err(Missing::Learning));
        let noise = out[10].1.find("qrs_noise").unwrap();
        assert!(noise.value.unwrap() < 0.4, "{noise:?}");
        assert_eq!(out[10].1.find("flutter_index").unwrap().value, Ok(0.0));
    }

    #[test]
    fn a_named_lead_equals_the_detector_alone() {
        let mut op = build("ecg_ii");
        let out =
            run(op.as_mut(), 0..30, &[("ecg_ii", &|_| Some(1.0)), ("ecg_v1", &|_| Some(2.0))], |e| e == 0);
        let mut detector = QrsDetector::new(Hertz(RATE));
        let mut alone = Vec::new();
        let mv: Vec<f32> = (0..7500).map(|i| wave(i, 1.0)).collect();
        detector.push(&mv, &mut |b| alone.push((b.sample_index, b.amplitude, b.confidence)));
        let found = beats(&out);
        let index = |b: &Beat| (b.time.micros() as f64 * RATE / 1e6).round() as i64;
        assert!(found.iter().all(|b| b.channel == ChannelId::named("ecg_ii").unwrap()));
        assert_eq!(found.iter().map(|b| (index(b), b.amplitude, b.confidence)).collect::<Vec<_>>(), alone);
    }

    #[test]
    fn a_change_of_lead_neither_doubles_nor_drops() {
        // Lead II goes flat at 30 s and comes back at 60 s; then V1 is taken off altogether.
        let ii = |e: i64| Some(if (30..60).contains(&e) { 0.0 } else { 1.0 });
        let v1 = |e: i64| (e < 90).then_some(0.8);
        let mut op = build("auto");
        let out = run(op.as_mut(), 0..120, &[("ecg_ii", &ii), ("ecg_v1", &v1)], |e| e == 0);
        let found = beats(&out);
        let used: std::collections::BTreeSet<_> = found.iter().map(|b| b.channel.row().name).collect();
        assert_eq!(used.into_iter().collect::<Vec<_>>(), ["ecg_ii", "ecg_v1"]);
        let wrong: Vec<f64> = gaps(&found).into_iter().filter(|g| (g - 0.8).abs() > 0.02).collect();
        // Until the flat lead has lost its merit its beats are missing: one pause of a few seconds, no doubling.
        assert!(wrong.len() <= 1 && wrong.iter().all(|g| (1.0..6.0).contains(g)), "{wrong:?}");
        // Taking off the lead in use, with the other at hand, costs nothing.
        assert!(found.iter().any(|b| b.time > EventTime::from_seconds(118)));
    }

    #[test]
    fn a_gap_settles_what_waits_and_starts_anew() {
        let mut op = build("auto");
        let ii = |e: i64| (!(11..13).contains(&e)).then_some(1.0);
        let out = run(op.as_mut(), 0..20, &[("ecg_ii", &ii)], |e| e == 0 || e == 13);
        let found = beats(&out);
        // R waves at 10.8 s, not yet settled when the gap begins, and at 13.2 s after it.
        assert!(found.iter().any(|b| b.time == EventTime::from_micros(10_800_000)), "{found:?}");
        assert!(found.iter().any(|b| b.time == EventTime::from_micros(13_200_000)), "{found:?}");
        assert!(found.iter().all(|b| !(11..13).contains(&(b.time.micros() / 1_000_000))));
        assert_eq!(out[11].1.find("qrs_noise").unwrap().value, Err(Missing::NoData));
        assert_eq!(out[13].1.find("qrs_noise").unwrap().value, Err(Missing::Learning));
    }

    #[test]
    fn a_reset_without_a_silent_second_starts_anew() {
        let mut op = build("auto");
        let out = run(op.as_mut(), 0..8, &[("ecg_ii", &|_| Some(1.0))], |e| e == 0 || e == 3);
        let at_2_8 = beats(&out).iter().filter(|b| b.time == EventTime::from_micros(2_800_000)).count();
        assert_eq!(at_2_8, 1, "the beat that waited when the grid was broken");
        assert_eq!(out[3].1.find("qrs_noise").unwrap().value, Err(Missing::Learning));
    }

    #[test]
    fn the_state_is_small() {
        let mut op = build("auto");
        let leads: [(&str, Height<'_>); 2] = [("ecg_ii", &|_| Some(1.0)), ("ecg_v1", &|_| Some(0.8))];
        run(op.as_mut(), 0..100, &leads, |e| e == 0);
        let mut bytes = Vec::new();
        op.save(&mut bytes);
        assert!(bytes.len() < 8192, "{} bytes for two leads at 250 Hz", bytes.len());
    }

    #[test]
    fn saved_anywhere_it_goes_on_with_the_same_bits() {
        let ii = |e: i64| (e != 12).then_some(if e % 20 > 14 { 0.05 } else { 1.0 });
        let leads: [(&str, Height<'_>); 2] = [("ecg_ii", &ii), ("ecg_v1", &|_| Some(0.8))];
        let reset = |e: i64| e == 0 || e == 13;
        let expected = run(build("auto").as_mut(), 0..40, &leads, reset);
        let mut op = build("auto");
        for (e, want) in &expected {
            let got = run(op.as_mut(), *e..e + 1, &leads, reset);
            assert_eq!(&got[0].1, want, "epoch {e}");
            let mut bytes = Vec::new();
            op.save(&mut bytes);
            op = build("auto");
            op.load(&bytes).unwrap();
            assert!(op.load(&bytes[..bytes.len() / 2]).is_err());
        }
    }

    #[test]
    fn bad_parameters_and_rates() {
        let error = |v: serde_json::Value| (SPEC.build)(&v).err().unwrap().to_string();
        assert_eq!(error(serde_json::json!({ "leads_max": 0 })), "leads_max is 0, outside 1..=12 ");
        assert_eq!(error(serde_json::json!({ "lead": "abp" })), "lead is abp, which is no ECG channel");
        assert!(error(serde_json::json!({ "leed": "auto" })).contains("unknown field"));
        let mv = [0.0f32; 50];
        let run = Run {
            channel: ChannelId::named("ecg_ii").unwrap(),
            rate: Hertz(50.0),
            start: EventTime::from_seconds(0),
            reset: true,
            raw: &mv,
            clean: &mv,
            bridged: 0,
        };
        let mut out = Readings::default();
        let (runs, values) = ([run], Values::default());
        build("auto")
            .apply(&Epoch { start: EventTime::from_seconds(0), runs: &runs, values: &values }, &mut out);
        assert_eq!(out.find("qrs_noise").unwrap().value, Err(Missing::NoData));
    }
}
