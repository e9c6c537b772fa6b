//! One patient's state: all that the hops remember of one bed.
//! In: changed by the hops, one patient at a time. Out: nothing of it is shared between patients.

use auscult_operators::filter::CascadeState;
use auscult_operators::filter::dispatch::Far;
use auscult_operators::operator::Operator;
use auscult_operators::params::ParamError;
use auscult_operators::signal::{ChannelId, EventTime, PatientId, Values};
use serde::{Deserialize, Serialize};

use crate::align::{Evidence, Timeline};
use crate::infer::ModelResult;
use crate::plan::Plan;
use crate::risk::RuleState;
use crate::state;

/// Epochs whose place in the log is remembered, for the evidence of events.
const EVIDENCE_EPOCHS: usize = 10;

/// One snapshot that stands in the state topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Kept {
    /// It holds every record below this offset.
    pub offset: i64,
    /// Offset of the first record that changed the patient since, if any.
    pub since: Option<i64>,
}

/// Where a patient stands in the log, and which of its snapshots are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Fingerprint of the patient, by which its snapshots are told from those of others.
    pub print: u64,
    /// Offset of its first record: what happens to several patients at one record happens in this order.
    pub first: i64,
    /// Its snapshots, by slot.
    pub kept: [Option<Kept>; 2],
}

impl Place {
    /// Notes that a record has changed the patient.
    pub fn touch(&mut self, offset: i64) {
        for kept in self.kept.iter_mut().flatten().filter(|k| offset >= k.offset) {
            kept.since.get_or_insert(offset);
        }
    }

    /// The patient's own turn among so many that come one after the other, from 0: what is done of each patient once in
    /// a while is spread so, and falls to the same turn in every run. The only way in which that is decided.
    ///
    /// ```
    /// use auscult::patient::Place;
    /// let place = Place { print: 130, first: 0, kept: [None; 2] };
    /// assert_eq!((place.turn(60), place.turn(1), place.turn(0)), (10, 0, 0));
    /// ```
    pub fn turn(&self, turns: u64) -> u64 {
        self.print % turns.max(1)
    }

    /// The latest snapshot.
    pub fn newest(&self) -> Option<Kept> {
        self.kept.iter().flatten().copied().max_by_key(|k| k.offset)
    }

    /// The offset from which the log must be read to recover the patient, if snapshots above `most` must not be used:
    /// that of the first change since the latest one, or the patient's first record. `None` if nothing has changed.
    pub fn needs(&self, most: i64) -> Option<i64> {
        let usable = self.kept.iter().flatten().filter(|k| k.offset <= most);
        usable.max_by_key(|k| k.offset).map_or(Some(self.first), |k| k.since)
    }

    /// The slot of the next snapshot: that of the older one.
    pub fn next_slot(&self) -> usize {
        let at = |slot: usize| self.kept[slot].map(|k| k.offset);
        usize::from(at(0) > at(1))
    }
}

/// What is written of a patient beside the sections that depend on configuration, by value or by reference.
pub(crate) type Saved = (
    EventTime,
    [bool; 3],
    Values,
    Vec<(ChannelId, EventTime)>,
    ([Evidence; EVIDENCE_EPOCHS], usize),
    Timeline,
);

/// State of one channel's conditioning chain.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Chain {
    /// Which channel.
    pub channel: ChannelId,
    /// What the filters remember.
    pub state: CascadeState,
    /// How many of its runs wait in the chunk being computed.
    pub turn: u32,
}

/// The last telling of one score.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToldScore {
    /// When, if ever.
    pub at: Option<EventTime>,
    /// What it said, see `ScoreResult::saying`.
    pub saying: Box<[u8]>,
}

/// What is remembered of one bed.
pub struct Patient {
    /// Who.
    pub id: PatientId,
    /// Where in the log.
    pub place: Place,
    /// Event-time order.
    pub timeline: Timeline,
    /// Partition time of the last frame that was taken in.
    pub last_heard: EventTime,
    /// Whether the patient has been told silent.
    pub silent: bool,
    /// Whether what had arrived was sealed because the patient had gone quiet.
    pub flushed: bool,
    /// Whether its equipment is set aside on purpose.
    pub standby: bool,
    /// Last values.
    pub values: Values,
    /// Conditioning chain of each channel, in the order in which they were first met.
    pub chains: Vec<Chain>,
    /// Operators, in graph order.
    pub operators: Vec<Box<dyn Operator>>,
    /// When each waveform last had a sample, in channel order.
    pub waves: Vec<(ChannelId, EventTime)>,
    /// What each score last told.
    pub scores: Vec<ToldScore>,
    /// Last outcome of each model.
    pub models: Vec<ModelResult>,
    /// Where each rule stands.
    pub rules: Vec<RuleState>,
    /// Where what is read of it next lies. Not part of its state.
    pub far: Far,
    evidence: [Evidence; EVIDENCE_EPOCHS],
    evidence_at: usize,
}

impl Patient {
    /// A patient never heard of.
    ///
    /// # Errors
    /// [`ParamError`] if the plan holds parameters that an operator refuses; `check` finds those first.
    pub fn new(id: PatientId, plan: &Plan, now: EventTime, first: i64) -> Result<Self, ParamError> {
        Ok(Self {
            place: Place { print: state::print(id.expose().as_bytes()), first, kept: [None; 2] },
            id,
            timeline: Timeline::default(),
            last_heard: now,
            // Until the first frame is taken in.
            silent: true,
            flushed: true,
            standby: false,
            values: Values::default(),
            chains: Vec::new(),
            operators: plan.build_operators()?,
            waves: Vec::new(),
            scores: vec![ToldScore::default(); plan.scores.len()],
            models: plan.models.iter().map(ModelResult::waiting).collect(),
            rules: vec![RuleState::default(); plan.rules.len()],
            far: Far::default(),
            evidence: Default::default(),
            evidence_at: 0,
        })
    }

    /// Notes where all lies that is read of it beside its operators.
    pub(crate) fn far_hops(&self, to: &mut Far) {
        self.timeline.far(to);
        self.values.far(to);
        to.add(&self.chains[..]);
        to.add(&self.operators[..]);
        to.add(&self.waves[..]);
        to.add(&self.scores[..]);
        self.scores.iter().for_each(|s| to.add(&*s.saying));
        to.add(&self.models[..]);
        to.add(&self.rules[..]);
        // That of the next epoch is remembered here.
        to.add(&self.evidence[(self.evidence_at + 1) % EVIDENCE_EPOCHS].sources[..]);
    }

    /// What is written of it, beside its sections.
    pub(crate) fn saved(&self) -> impl Serialize {
        let flags = [self.silent, self.flushed, self.standby];
        let evidence = (&self.evidence, self.evidence_at);
        (self.last_heard, flags, &self.values, &self.waves, evidence, &self.timeline)
    }

    /// Takes over what was written.
    pub(crate) fn take(&mut self, saved: Saved) {
        (
            self.last_heard,
            [self.silent, self.flushed, self.standby],
            self.values,
            self.waves,
            (self.evidence, self.evidence_at),
            self.timeline,
        ) = saved;
    }

    /// When it is to be looked at, unless it is silent.
    pub fn deadline(&self, plan: &Plan) -> Option<EventTime> {
        let wait = if self.flushed { plan.silent } else { plan.quiet };
        (!self.silent).then(|| self.last_heard + wait)
    }

    /// Remembers the place in the log of one epoch, and gives that of the one that is forgotten for it.
    pub fn remember(&mut self, evidence: &mut Evidence) {
        self.evidence_at = (self.evidence_at + 1) % EVIDENCE_EPOCHS;
        std::mem::swap(&mut self.evidence[self.evidence_at], evidence);
    }

    /// The place in the log of the last ten epochs.
    pub fn recent_evidence(&self) -> Evidence {
        let mut all = Evidence::default();
        for e in &self.evidence {
            all.merge(e);
        }
        all
    }

    /// The chain of a channel and the turn of its next run.
    pub fn next_turn(&mut self, channel: ChannelId) -> (usize, u32) {
        // Channels are only ever appended: the slots of runs that wait stay what they are.
        let at = self.chains.iter().position(|c| c.channel == channel).unwrap_or_else(|| {
            self.chains.push(Chain { channel, state: CascadeState::default(), turn: 0 });
            self.chains.len() - 1
        });
        self.chains[at].turn += 1;
        (at, self.chains[at].turn)
    }

    /// Notes that a waveform had a sample at `t`.
    pub fn saw_wave(&mut self, channel: ChannelId, t: EventTime) {
        match self.waves.binary_search_by_key(&channel, |w| w.0) {
            Ok(at) => self.waves[at].1 = self.waves[at].1.max(t),
            Err(at) => self.waves.insert(at, (channel, t)),
        }
    }
}
