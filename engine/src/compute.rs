//! Hop 4: the plan over sealed epochs: conditioning in lanes across patients, then per-patient operators and scores.
//! In: work items in log order. Out: for each, readings, beats and score evaluations.

use std::ops::Range;

use auscult_operators::filter::dispatch::Far;
use auscult_operators::filter::{Cascade, CascadeState, Conditioning, Job, cascade_for, filter_many};
use auscult_operators::operator::Spec;
use auscult_operators::score::ScoreResult;
use auscult_operators::signal::frame::DeviceStatus;
use auscult_operators::signal::{
    ChannelId, Epoch, EventTime, Hertz, Kind, Observed, Origin, Reading, Readings, Run, Span, Values,
};

use crate::align::{RunMeta, Sealed};
use crate::infer::{self, Due, Models};
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
    /// Where what is read of the patient next lies.
    pub far: Far,
}

impl Computed {
    /// Rules see the patient itself, until the same call gives it back.
    fn exchange(&mut self, patient: &mut Patient) {
        self.standby = patient.standby;
        std::mem::swap(&mut self.waves, &mut patient.waves);
        std::mem::swap(&mut self.values, &mut patient.values);
    }
}

/// What computing keeps from chunk to chunk: nothing of it is a patient's.
#[derive(Default)]
pub(crate) struct Chains {
    /// The chains in use, one for each kind of channel and rate met so far.
    list: Vec<(Kind, Hertz, Option<Cascade>)>,
    /// Of each operator the readings that feed a quantity.
    feeds: Vec<Vec<(&'static str, ChannelId)>>,
    /// Memory for runs.
    runs: Vec<Run<'static>>,
}

impl Chains {
    pub(crate) fn of(plan: &Plan) -> Self {
        let feeds = |spec: &Spec| {
            let fed = spec.writes.iter().filter(|o| !o.feeds.is_empty());
            fed.filter_map(|o| Some((o.name, ChannelId::named(o.feeds)?))).collect()
        };
        let feeds = plan.operators.iter().map(|(spec, _)| feeds(spec)).collect();
        Self { feeds, ..Self::default() }
    }

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
    // By chain; what is not the first of its channel waits.
    let (mut firsts, mut later): (Vec<Vec<Lane<'_>>>, Vec<Lane<'_>>) = (Vec::new(), Vec::new());
    for (w, c) in work.iter().zip(computed.iter_mut()) {
        let Item::Epoch(sealed) = &w.item else { continue };
        // Whatever stands there is written over.
        c.clean.resize(sealed.raw.len(), 0.0);
        let mut rest = c.clean.as_mut_slice();
        for run in &sealed.runs {
            let (output, tail) = rest.split_at_mut(run.range.len());
            rest = tail;
            let chain = chains.position(run.channel.row().kind, run.rate, &plan.conditioning);
            let input = &sealed.raw[run.range.clone()];
            if chains.list[chain].2.is_none() {
                output.copy_from_slice(input);
                continue;
            }
            let (slot, round) = patients[w.patient].next_turn(run.channel);
            let lane = Lane { chain, patient: w.patient, slot, round, reset: run.reset, input, output };
            if round > 1 {
                later.push(lane);
                continue;
            }
            while firsts.len() <= chain {
                firsts.push(Vec::with_capacity(2 * work.len()));
            }
            firsts[chain].push(lane);
        }
    }
    let mut states: Vec<CascadeState> = Vec::new();
    firsts.iter_mut().for_each(|group| filter(chains, patients, group, &mut states));
    later.sort_by_key(|l| (l.round, l.chain));
    for group in later.chunk_by_mut(|a, b| (a.round, a.chain) == (b.round, b.chain)) {
        filter(chains, patients, group, &mut states);
    }
}

/// Runs lanes of one chain, each of another channel or patient.
fn filter(chains: &Chains, patients: &mut [Patient], group: &mut [Lane<'_>], states: &mut Vec<CascadeState>) {
    let Some(cascade) = group.first().and_then(|l| chains.list[l.chain].2.as_ref()) else { return };
    states.clear();
    states.extend(group.iter().map(|l| match l.reset {
        true => CascadeState::default(),
        false => patients[l.patient].chains[l.slot].state,
    }));
    let lanes = group.iter_mut().zip(&mut *states);
    let mut jobs: Vec<Job<'_>> =
        lanes.map(|(l, state)| Job { input: l.input, output: &mut *l.output, state }).collect();
    filter_many(cascade, &mut jobs);
    for (l, state) in group.iter().zip(&*states) {
        let chain = &mut patients[l.patient].chains[l.slot];
        (chain.state, chain.turn) = (*state, 0);
    }
}

/// Operators, scores, models and what `judge` makes of them, in log order, group by group while their patients are at
/// hand.
pub(crate) fn compute(
    plan: &Plan,
    (chains, models): (&mut Chains, &mut Models),
    patients: &mut [Patient],
    work: &mut [Work],
    computed: &mut [Computed],
    mut judge: impl FnMut(&mut Patient, &mut Work, &mut Computed),
) {
    let mut done = 0;
    while done < work.len() {
        let to = done + group(&work[done..]);
        let (works, outs) = (&mut work[done..to], &mut computed[done..to]);
        for (w, c) in works.iter_mut().zip(outs.iter_mut()) {
            c.readings.clear();
            c.scores.clear();
            c.due.clear();
            if let Item::Epoch(sealed) = &mut w.item {
                observe(&mut patients[w.patient], sealed);
            }
        }
        operate(chains, patients, works, outs);
        for (w, c) in works.iter_mut().zip(outs.iter_mut()) {
            let Item::Epoch(sealed) = &w.item else { continue };
            let (patient, end) = (&patients[w.patient], sealed.start + Span::EPOCH);
            for (spec, params) in &plan.scores {
                c.scores.push((spec.assess)(&patient.values, end, params));
            }
            infer::due(plan, patient, &c.readings, end, &mut c.due);
        }
        infer::infer(models, outs);
        for (w, c) in works.iter_mut().zip(outs) {
            let patient = &mut patients[w.patient];
            c.exchange(patient);
            judge(patient, w, c);
            c.exchange(patient);
        }
        done = to;
    }
}

/// Items that go through one operator after the other, so that its instructions are still at hand for the next item.
const GROUP: usize = 16;

/// How many of the items may go together: of one patient no more than one.
fn group(work: &[Work]) -> usize {
    let new = |at: &usize| !work[..*at].iter().any(|before| before.patient == work[*at].patient);
    (0..work.len().min(GROUP)).take_while(new).count()
}

/// Stores what was observed, each value with the time until which it may be used.
fn observe(patient: &mut Patient, sealed: &Sealed) {
    for o in &sealed.observations {
        let Some(value) = o.value else {
            patient.values.clear(o.channel, o.observed_at);
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

/// One item on its way through the operators.
struct Part<'a> {
    patient: usize,
    start: EventTime,
    runs: Range<usize>,
    readings: &'a mut Readings,
    /// How far its notes of where its memory lies were used.
    noted: usize,
    /// Those for the next epoch.
    far: &'a mut Far,
}

/// Runs the operators over epochs of different patients, one operator after the other, and stores what they feed.
fn operate(chains: &mut Chains, patients: &mut [Patient], work: &[Work], computed: &mut [Computed]) {
    let mut runs: Vec<Run<'_>> = emptied(std::mem::take(&mut chains.runs));
    let mut parts: Vec<Part<'_>> = Vec::with_capacity(work.len());
    for (w, c) in work.iter().zip(computed) {
        let Item::Epoch(sealed) = &w.item else { continue };
        let Computed { clean, readings, far, .. } = c;
        let (patient, from) = (&mut patients[w.patient], runs.len());
        for r in &sealed.runs {
            let (raw, clean) = (&sealed.raw[r.range.clone()], &clean[r.range.clone()]);
            let RunMeta { channel, rate, start, reset, bridged, .. } = *r;
            let run = Run { channel, rate, start, reset, raw, clean, bridged };
            patient.saw_wave(channel, run.time_of(raw.len()));
            runs.push(run);
        }
        far.clear();
        patient.far_hops(far);
        far.end_part();
        let (noted, runs) = (patient.far.second(), from..runs.len());
        parts.push(Part { patient: w.patient, start: sealed.start, runs, readings, noted, far });
    }
    (0..AHEAD.min(parts.len())).for_each(|at| ask(&mut parts[at], patients));
    for (k, feeds) in chains.feeds.iter().enumerate() {
        for at in 0..parts.len() {
            // Of the last items those come next that are first with the next operator.
            let ahead = (at + AHEAD) % parts.len();
            ask(&mut parts[ahead], patients);
            let Part { patient, start, runs: span, readings, far, .. } = &mut parts[at];
            let Patient { operators, values, .. } = &mut patients[*patient];
            let before = readings.items.len();
            operators[k].apply(&Epoch { start: *start, runs: &runs[span.clone()], values }, readings);
            far.add(&*operators[k]);
            operators[k].far(*start + Span::EPOCH + Span::EPOCH, far);
            far.end_part();
            if feeds.is_empty() {
                continue;
            }
            for reading in &readings.items[before..] {
                feed(values, feeds, reading);
            }
        }
    }
    for Part { patient, far, .. } in parts {
        std::mem::swap(&mut patients[patient].far, far);
    }
    chains.runs = emptied(runs);
}

/// Items ahead for which memory is asked.
const AHEAD: usize = 2;

/// Asks for the memory of an item's next operator: of most beds it lies far away.
fn ask(part: &mut Part<'_>, patients: &[Patient]) {
    part.noted = patients[part.patient].far.fetch_from(part.noted);
}

/// The memory of a list, for a list of the same shape.
fn emptied<'a>(mut list: Vec<Run<'_>>) -> Vec<Run<'a>> {
    list.clear();
    list.into_iter().map_while(|_| None).collect()
}

/// A reading of good quality becomes a derived value of the quantity that its card says it feeds.
fn feed(values: &mut Values, feeds: &[(&str, ChannelId)], reading: &Reading) {
    let Ok(value) = reading.value else { return };
    let Some((_, channel)) = feeds.iter().find(|f| f.0 == reading.name).copied() else { return };
    let valid_until = reading.time + DERIVED_HOLD.min(channel.row().hold);
    let (observed_at, quality) = (reading.time, reading.quality);
    values.store(channel, Observed { value, observed_at, valid_until, quality, origin: Origin::Derived });
}
