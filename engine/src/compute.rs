//! Hop 4: the plan over sealed epochs: conditioning in lanes across patients, then per-patient operators and scores.
//! In: work items in log order. Out: for each, readings, beats and score evaluations.

use auscult_operators::filter::{Cascade, CascadeState, Conditioning, Job, cascade_for, filter_many};
use auscult_operators::operator::Spec;
use auscult_operators::score::ScoreResult;
use auscult_operators::signal::frame::DeviceStatus;
use auscult_operators::signal::{
    ChannelId, Epoch, EventTime, Hertz, Kind, Observed, Origin, Reading, Readings, Run, Span, Values,
};

use crate::align::Sealed;
use crate::infer::{self, Due};
use crate::patient::Patient;
use crate::plan::Plan;
use crate::worker::{Item, Work};

/// How long a value derived from a waveform may be used: a waveform is there all the time, or it is not.
const DERIVED_HOLD: Span = Span::seconds_const(10);

/// What one work item yielded. Kept from chunk to chunk for its memory.
#[derive(Default)]
pub(crate) struct Computed {
    /// Conditioned samples, as `Sealed::raw`.
    pub clean: Vec<f32>,
    /// What the operators said.
    pub readings: Readings,
    /// What the scores said.
    pub scores: Vec<ScoreResult>,
    /// What one score says, for comparison with what it said last.
    pub saying: Vec<u8>,
    /// Models due at this epoch.
    pub due: Vec<Due>,
    /// Last sample time of each waveform, as of this epoch.
    pub waves: Vec<(ChannelId, EventTime)>,
    /// Whether the equipment was set aside, as of this epoch.
    pub standby: bool,
    /// Values as of the end of this epoch.
    pub values: Values,
}

impl Computed {
    /// Rules are judged after the whole chunk is computed: they see the patient as of this item.
    fn remember(&mut self, plan: &Plan, patient: &Patient) {
        if plan.rules.is_empty() && !plan.live {
            // Nobody looks.
            return;
        }
        self.waves.clone_from(&patient.waves);
        self.standby = patient.standby;
        self.values.clone_from(&patient.values);
    }
}

/// The chains in use, one for each kind of channel and rate met so far.
#[derive(Default)]
pub(crate) struct Chains {
    list: Vec<(Kind, Hertz, Option<Cascade>)>,
}

impl Chains {
    fn position(&mut self, kind: Kind, rate: Hertz, params: &Conditioning) -> usize {
        if let Some(at) = self.list.iter().position(|c| c.0 == kind && c.1 == rate) {
            return at;
        }
        self.list.push((kind, rate, cascade_for(kind, rate, params)));
        self.list.len() - 1
    }
}

/// One run on its way through the lanes.
struct Lane<'a> {
    chain: usize,
    patient: usize,
    slot: usize,
    round: u32,
    reset: bool,
    input: &'a [f32],
    output: &'a mut [f32],
}

/// Runs the conditioning chain of every run, many patients side by side. The runs of one channel of one patient
/// follow one another: round `n` takes the `n`-th of each.
pub(crate) fn condition(
    plan: &Plan,
    chains: &mut Chains,
    patients: &mut [Patient],
    work: &[Work],
    computed: &mut Vec<Computed>,
) {
    computed.resize_with(computed.len().max(work.len()), Computed::default);
    let mut lanes: Vec<Lane<'_>> = Vec::with_capacity(8 * work.len());
    for (w, c) in work.iter().zip(computed.iter_mut()) {
        let Item::Epoch(sealed) = &w.item else { continue };
        // Every sample is written below: those of a chain by its filters, all others as they are.
        c.clean.resize(sealed.raw.len(), 0.0);
        let mut rest = c.clean.as_mut_slice();
        for run in &sealed.runs {
            let (output, tail) = rest.split_at_mut(run.range.len());
            rest = tail;
            let chain = chains.position(run.channel.row().kind, run.rate, &plan.conditioning);
            if chains.list[chain].2.is_none() {
                output.copy_from_slice(&sealed.raw[run.range.clone()]);
                continue;
            }
            let (slot, round) = patients[w.patient].next_turn(run.channel);
            let input = &sealed.raw[run.range.clone()];
            lanes.push(Lane { chain, patient: w.patient, slot, round, reset: run.reset, input, output });
        }
    }
    lanes.sort_by_key(|l| (l.round, l.chain));
    let mut states: Vec<CascadeState> = Vec::new();
    for group in lanes.chunk_by_mut(|a, b| (a.round, a.chain) == (b.round, b.chain)) {
        let Some(cascade) = group.first().and_then(|l| chains.list[l.chain].2.as_ref()) else { continue };
        states.clear();
        states.extend(group.iter().map(|l| match l.reset {
            true => CascadeState::default(),
            false => patients[l.patient].chains[l.slot].state,
        }));
        let mut jobs: Vec<Job<'_>> = group
            .iter_mut()
            .zip(&mut states)
            .map(|(l, state)| Job { input: l.input, output: &mut *l.output, state })
            .collect();
        filter_many(cascade, &mut jobs);
        for (l, state) in group.iter().zip(&states) {
            let chain = &mut patients[l.patient].chains[l.slot];
            (chain.state, chain.turn) = (*state, 0);
        }
    }
}

/// Operators, scores and the question which models are due, patient by patient, in log order.
pub(crate) fn compute(plan: &Plan, patients: &mut [Patient], work: &mut [Work], computed: &mut [Computed]) {
    for (w, c) in work.iter_mut().zip(computed) {
        let patient = &mut patients[w.patient];
        c.readings.clear();
        c.scores.clear();
        c.due.clear();
        let Item::Epoch(sealed) = &mut w.item else {
            c.remember(plan, patient);
            continue;
        };
        observe(patient, sealed);
        operate(plan, patient, sealed, c);
        let end = sealed.start + Span::EPOCH;
        for (spec, params) in &plan.scores {
            c.scores.push((spec.evaluate_with)(&patient.values, end, params));
        }
        infer::due(plan, patient, &c.readings, end, &mut c.due);
        c.remember(plan, patient);
    }
}

/// Stores what was observed, each value with the time until which it may be used.
fn observe(patient: &mut Patient, sealed: &Sealed) {
    for o in &sealed.observations {
        let Some(value) = o.value else {
            // An absence told late does not undo what was observed since.
            if patient.values.last(o.channel).is_none_or(|v| v.observed_at <= o.observed_at) {
                patient.values.clear(o.channel);
            }
            continue;
        };
        let valid_until = o.observed_at + o.channel.row().hold;
        let quality = o.quality;
        let seen =
            Observed { value, observed_at: o.observed_at, valid_until, quality, origin: Origin::Reported };
        patient.values.store(o.channel, seen);
    }
    for device in &sealed.devices {
        patient.standby = matches!(device, DeviceStatus::Standby);
    }
}

/// Runs the operators over one epoch and stores what they feed.
fn operate(plan: &Plan, patient: &mut Patient, sealed: &Sealed, c: &mut Computed) {
    let runs: Vec<Run<'_>> = sealed
        .runs
        .iter()
        .map(|r| Run {
            channel: r.channel,
            rate: r.rate,
            start: r.start,
            reset: r.reset,
            raw: &sealed.raw[r.range.clone()],
            clean: &c.clean[r.range.clone()],
            bridged: r.bridged,
        })
        .collect();
    for r in &runs {
        patient.saw_wave(r.channel, r.time_of(r.raw.len()));
    }
    for ((spec, _), operator) in plan.operators.iter().zip(&mut patient.operators) {
        let before = c.readings.items.len();
        let epoch = Epoch { start: sealed.start, runs: &runs, values: &patient.values };
        operator.apply(&epoch, &mut c.readings);
        for reading in &c.readings.items[before..] {
            feed(&mut patient.values, spec, reading);
        }
    }
}

/// A reading of good quality becomes a derived value of the quantity that its card says it feeds.
fn feed(values: &mut Values, spec: &Spec, reading: &Reading) {
    let Ok(value) = reading.value else { return };
    let Some(output) = spec.writes.iter().find(|o| o.name == reading.name && !o.feeds.is_empty()) else {
        return;
    };
    let Some(channel) = ChannelId::named(output.feeds) else { return };
    let valid_until = reading.time + DERIVED_HOLD.min(channel.row().hold);
    let (observed_at, quality) = (reading.time, reading.quality);
    values.store(channel, Observed { value, observed_at, valid_until, quality, origin: Origin::Derived });
}
