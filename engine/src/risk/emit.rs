//! The hop itself: scores that changed, rules judged, transitions written as events.
//! In: work items with what they yielded, in log order. Out: score and risk events with their evidence.

use auscult_operators::signal::{EventTime, Kind, Readings, Span};

use super::event::{
    EvidenceBody, INTENDED_USE, Phase, RiskEvent, ScoreEvent, SourceRange, Window, deterministic_id,
};
use super::judge::Look;
use super::machine::{Rule, Transition};
use crate::align::{Evidence, Sealed};
use crate::compute::Computed;
use crate::effects::{Effect, Effects};
use crate::live;
use crate::patient::{Patient, ToldScore};
use crate::plan::Plan;
use crate::worker::{Item, Work};

/// A score that does not change is told again once in this time, each patient's at a moment of its own: beds that were
/// plugged in together, or a house whose engine was switched on, must not speak all in the same second for ever.
const SCORE_REPEAT: Span = Span::seconds_const(60);
/// Only a patient with a waveform this recent is expected to speak all the time.
const SPEAKS: Span = Span::seconds_const(60);

/// The effects, and the record that causes those of the item at hand.
struct Told<'a> {
    offset: i64,
    effects: &'a mut Effects,
}

impl Told<'_> {
    fn push(&mut self, effect: Effect) {
        self.effects.push(self.offset, effect);
    }
}

/// Judges one item. Items come in log order.
pub(crate) fn judge(
    plan: &Plan,
    patient: &mut Patient,
    work: &mut Work,
    computed: &mut Computed,
    effects: &mut Effects,
) {
    let effects = &mut Told { offset: work.offset, effects };
    match &mut work.item {
        Item::Epoch(sealed) => {
            let with_strips = work.patient < plan.strip_beds;
            epoch(plan, patient, sealed, computed, with_strips, effects)
        }
        Item::Silence { span, newest } => silence(plan, patient, *span, *newest, computed, effects),
    }
}

fn epoch(
    plan: &Plan,
    patient: &mut Patient,
    sealed: &mut Sealed,
    c: &mut Computed,
    with_strips: bool,
    effects: &mut Told<'_>,
) {
    let now = sealed.start + Span::EPOCH;
    patient.remember(&mut sealed.evidence);
    if plan.predictions && !c.due.is_empty() {
        let said = c.due.iter().filter_map(|d| d.prediction(plan)).collect();
        effects.push(Effect::Predictions(patient.id.clone(), now, said));
    }
    for due in c.due.drain(..) {
        let model = due.model;
        patient.models[model].take(due, now);
    }
    tell_scores(plan, patient, c, now, effects);
    for command in &sealed.commands {
        for (at, rule) in plan.rules.iter().enumerate().filter(|(_, r)| r.name == command.rule) {
            if let Some(t) = patient.rules[at].command(command.action, command.for_s, now) {
                tell(plan, patient, rule, &t, effects);
            }
        }
    }
    let heard = !(sealed.runs.is_empty() && sealed.observations.is_empty() && sealed.devices.is_empty());
    // A second without data says nothing about silence: only data ends it.
    for (at, rule) in plan.rules.iter().enumerate().filter(|(_, r)| heard || !r.on_silence) {
        let active = patient.rules[at].active();
        let look = Look {
            now,
            values: &c.values,
            readings: &c.readings,
            scores: &c.scores,
            models: &patient.models,
            waves: &c.waves,
            silent: None,
            standby: c.standby,
        };
        let verdict = rule.condition.judge(&look, active);
        let told = patient.rules[at].advance(rule, verdict, now);
        if let Some(t) = told {
            tell(plan, patient, rule, &t, effects);
        }
    }
    if sealed.ended {
        for (at, rule) in plan.rules.iter().enumerate() {
            if let Some(t) = patient.rules[at].end(now) {
                tell(plan, patient, rule, &t, effects);
            }
        }
    }
    if plan.features && !c.readings.items.is_empty() {
        effects.push(Effect::Features(patient.id.clone(), now, c.readings.items.clone()));
    }
    if plan.beats && !c.readings.beats.is_empty() {
        effects.push(Effect::Beats(patient.id.clone(), c.readings.beats.clone()));
    }
    if plan.live {
        effects.push(Effect::Glance(Box::new(live::glance(plan, patient, sealed, c, now, with_strips))));
    }
}

/// The patient has fallen silent by the log's own time. Event time stands where it stood; the event bears the time
/// at which the silence had lasted as long as the configuration allows.
fn silence(
    plan: &Plan,
    patient: &mut Patient,
    span: Span,
    newest: EventTime,
    c: &Computed,
    effects: &mut Told<'_>,
) {
    let speaks = c.waves.iter().any(|w| newest - w.1 < SPEAKS && w.0.row().kind != Kind::Motion);
    if !speaks || c.standby {
        return;
    }
    let now = newest + span;
    let readings = Readings::default();
    for (at, rule) in plan.rules.iter().enumerate().filter(|(_, r)| r.on_silence) {
        let look = Look {
            now,
            values: &c.values,
            readings: &readings,
            scores: &[],
            models: &[],
            waves: &c.waves,
            silent: Some(span),
            standby: false,
        };
        let verdict = rule.condition.judge(&look, false);
        let told = patient.rules[at].advance(rule, verdict, now);
        if let Some(t) = told {
            tell(plan, patient, rule, &t, effects);
        }
    }
    if plan.live {
        let glance = live::glance(plan, patient, &Sealed::default(), c, now, false);
        effects.push(Effect::Glance(Box::new(live::Glance { silent: true, ..glance })));
    }
}

/// Tells each score that says something new, and every score once a minute of event time.
fn tell_scores(plan: &Plan, patient: &mut Patient, c: &mut Computed, now: EventTime, effects: &mut Told<'_>) {
    let Computed { scores, saying, .. } = c;
    for (at, (result, (spec, _))) in scores.iter().zip(&plan.scores).enumerate() {
        let last = &mut patient.scores[at];
        saying.clear();
        result.saying(saying);
        let turn = patient.place.turn(SCORE_REPEAT.micros().unsigned_abs());
        let stretch = |t| repeat_stretch(t, Span::from_micros(turn.cast_signed()));
        if last.at.is_some_and(|t| stretch(t) == stretch(now)) && *last.saying == **saying {
            continue;
        }
        *last = ToldScore { at: Some(now), saying: saying.as_slice().into() };
        let us = now.micros();
        let event = ScoreEvent {
            id: deterministic_id(&[
                patient.id.expose().as_bytes(),
                result.score.as_bytes(),
                &us.to_le_bytes(),
            ]),
            patient: patient.id.expose().into(),
            event_time_us: us,
            result: result.clone().advised(spec),
            config_hash: plan.config_hash.clone(),
            build: plan.build.into(),
            intended_use: INTENDED_USE.into(),
        };
        effects.push(Effect::Score(Box::new(event), patient.recent_evidence()));
    }
}

/// The stretch of event time in which a score that does not change is told once. It begins at the patient's turn.
fn repeat_stretch(t: EventTime, turn: Span) -> i64 {
    (t - turn).micros().div_euclid(SCORE_REPEAT.micros())
}

/// Writes one transition as an event.
fn tell(plan: &Plan, patient: &Patient, rule: &Rule, t: &Transition, effects: &mut Told<'_>) {
    let evidence = patient.recent_evidence();
    let event = risk_event(plan, patient, rule, t, &evidence);
    effects.push(Effect::Event(Box::new(event), evidence));
}

fn risk_event(plan: &Plan, patient: &Patient, rule: &Rule, t: &Transition, evidence: &Evidence) -> RiskEvent {
    let facts = &t.alert.facts;
    let started = t.alert.started.micros().to_le_bytes();
    let alert_id = deterministic_id(&[patient.id.expose().as_bytes(), rule.name.as_bytes(), &started]);
    let id = deterministic_id(&[alert_id.as_bytes(), &t.alert.revision.to_le_bytes()]);
    let text = match (t.note, t.phase) {
        ("", Phase::End) => format!("over: {}", facts.text),
        ("", _) => facts.text.clone(),
        (note, _) => format!("{}: {note}", facts.text),
    };
    let sources = evidence.sources.iter().map(|(source, first, last)| SourceRange {
        source: source.to_string(),
        first_sequence: *first,
        last_sequence: *last,
    });
    RiskEvent {
        id,
        alert_id,
        revision: t.alert.revision,
        patient: patient.id.expose().into(),
        rule: rule.name.clone(),
        kind: facts.kind.clone(),
        phase: t.phase,
        state: t.state,
        acknowledged: t.alert.acknowledged,
        priority: rule.priority,
        category: rule.category,
        text,
        event_time_us: t.at.micros(),
        window: Window::ending(t.at, facts.window),
        value: facts.value,
        unit: facts.unit.clone(),
        threshold: facts.threshold,
        probability: facts.probability,
        interval: facts.interval,
        confidence: facts.confidence,
        completeness: facts.completeness.clone(),
        drivers: facts.drivers.clone(),
        recommendation: facts.recommendation.clone(),
        evidence: EvidenceBody { sources: sources.collect(), inputs: facts.inputs.clone() },
        decider: facts.decider.clone(),
        config_hash: plan.config_hash.clone(),
        build: plan.build.into(),
        intended_use: INTENDED_USE.into(),
    }
}
