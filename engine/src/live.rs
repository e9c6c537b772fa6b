//! The live ward view: what a person at the dashboard sees of each bed.
//! In: one glance a patient and epoch, made by the risk hop when somebody may look. Out: JSON for the page, made when
//! somebody does look: values with their age, scores, risks, open alerts, the newest samples; a value past its validity
//! is not among them.

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use auscult_models::Outcome;
use auscult_operators::score::{ScoreResult, Status};
use auscult_operators::signal::{ChannelId, EventTime, Kind, Missing, Origin, PatientId};
use serde::{Serialize, Serializer};

use crate::align::Sealed;
use crate::compute::Computed;
use crate::patient::Patient;
use crate::plan::Plan;
use crate::risk::{Category, Priority, deterministic_id};

/// Strips are thinned to about this rate: finer than a screen shows.
const STRIP_RATE_HZ: f64 = 125.0;
/// Beds whose strips are kept; further beds show numbers only.
pub const STRIP_BEDS_MAX: usize = 64;

/// What is shown of one bed for one epoch.
#[derive(Clone, Debug)]
pub struct Glance {
    /// Whose bed.
    pub patient: PatientId,
    /// End of the epoch.
    pub event_time: EventTime,
    /// Values by the name under which the page shows them.
    pub values: Numbers,
    /// The early-warning score.
    pub news2: ScoreShown,
    /// The first model.
    pub model: ModelShown,
    /// Open alerts.
    pub alerts: Vec<AlertShown>,
    /// Bigger is more urgent.
    pub urgency: i64,
    /// New samples.
    pub strips: Vec<Strip>,
    /// Whether this glance says that nothing came.
    pub silent: bool,
}

/// One value, or why there is none.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Number {
    /// To one decimal place; none unless the state is `valid`.
    pub value: Option<f64>,
    /// UCUM code.
    pub unit: &'static str,
    /// `valid`, `stale` or `absent`.
    pub state: &'static str,
    /// Since it was observed.
    pub age_s: Option<f64>,
    /// `reported` or `derived`.
    pub origin: Option<&'static str>,
    /// 0 to 1.
    pub quality: Option<f32>,
    /// Why there is none.
    pub reason: Option<Missing>,
}

/// The values that are shown of each bed.
#[derive(Clone, Debug)]
pub struct Numbers([Number; SHOWN.len()]);

impl Numbers {
    /// The value that is shown under this name.
    pub fn get(&self, name: &str) -> Option<&Number> {
        SHOWN.iter().zip(&self.0).find(|(row, _)| row.0 == name).map(|(_, number)| number)
    }
}

impl Serialize for Numbers {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(SHOWN.iter().map(|row| row.0).zip(&self.0))
    }
}

/// A score in short.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ScoreShown {
    /// `complete`, `partial`, `invalid`; `absent` if there is no such score.
    pub status: &'static str,
    /// As [`ScoreResult::total`], and so on.
    pub total: Option<i64>,
    /// Lowest total that is possible.
    pub low: Option<i64>,
    /// Highest total that is possible.
    pub high: Option<i64>,
    /// Name of the level.
    pub level: Option<&'static str>,
    /// Name of the mildest level that is possible.
    pub level_low: Option<&'static str>,
    /// Name of the gravest level that is possible.
    pub level_high: Option<&'static str>,
    /// Inputs that leave it open.
    pub missing: Vec<&'static str>,
    /// Why it does not apply.
    pub reason: Option<String>,
}

/// A model in short.
#[derive(Clone, Debug, Serialize)]
pub struct ModelShown {
    /// Its name.
    #[serde(serialize_with = "text")]
    pub name: Option<Arc<str>>,
    /// What it said, if that still holds.
    pub probability: Option<f64>,
    /// `ok`, `waiting`, `refused`, `failed` or `unavailable`.
    pub state: &'static str,
    /// Why there is no probability; empty if there is one.
    pub reason: String,
}

fn text<S: Serializer>(text: &Option<Arc<str>>, to: S) -> Result<S::Ok, S::Error> {
    text.as_deref().serialize(to)
}

/// An open alert.
#[derive(Clone, Debug, Serialize)]
pub struct AlertShown {
    alert_id: String,
    rule: String,
    kind: String,
    priority: Priority,
    category: Category,
    since_ms: i64,
    text: String,
    state: &'static str,
}

/// New samples of one channel, thinned.
#[derive(Clone, Debug, Serialize)]
pub struct Strip {
    /// Channel name.
    pub channel: &'static str,
    /// Label as on a monitor.
    pub label: &'static str,
    /// UCUM code.
    pub unit: &'static str,
    /// Rate after thinning.
    pub rate_hz: f64,
    /// Time of the first sample, milliseconds since 1970.
    pub start_ms: f64,
    /// Suggested lower end of the scale.
    pub low: f64,
    /// Suggested upper end of the scale.
    pub high: f64,
    /// Value of one step.
    pub scale: f64,
    /// Samples in steps.
    pub samples: Vec<i32>,
}

/// What the page calls a value, and the channels it may come from, the best first.
const SHOWN: [(&str, &[&str]); 8] = [
    ("heart_rate", &["heart_rate", "pulse_rate"]),
    ("pulse_rate", &["pulse_rate"]),
    ("spo2", &["spo2"]),
    ("resp_rate", &["resp_rate"]),
    ("blood_pressure_sys", &["abp_sys", "nibp_sys"]),
    ("blood_pressure_mean", &["abp_mean", "nibp_mean"]),
    ("blood_pressure_dia", &["abp_dia", "nibp_dia"]),
    ("temperature", &["temperature"]),
];

/// Channels by row of [`SHOWN`].
static CHANNELS: LazyLock<[Vec<ChannelId>; SHOWN.len()]> =
    LazyLock::new(|| SHOWN.map(|(_, from)| from.iter().filter_map(|n| ChannelId::named(n)).collect()));
/// An arterial line.
static LINE: LazyLock<Vec<ChannelId>> =
    LazyLock::new(|| ["abp_sys", "abp_mean", "abp_dia"].into_iter().filter_map(ChannelId::named).collect());

/// Looks at one bed.
pub(crate) fn glance(
    plan: &Plan,
    patient: &Patient,
    sealed: &Sealed,
    c: &Computed,
    now: EventTime,
    with_strips: bool,
) -> Glance {
    // One source for all three pressures: an arterial line that is read stands alone, even where a part of it cannot
    // be believed, and is never mixed with the cuff.
    let by_line = LINE
        .iter()
        .any(|id| matches!(c.values.at(*id, now), Ok(_) | Err(Missing::Implausible | Missing::LowQuality)));
    let values = CHANNELS.each_ref().map(|from| {
        let of_line = by_line && from.first().is_some_and(|id| LINE.contains(id));
        number(c, if of_line { &from[..1] } else { from }, now)
    });
    let news2 = c.scores.iter().find(|s| s.score == "news2");
    let open: Vec<_> =
        plan.rules.iter().zip(&patient.rules).filter_map(|(r, s)| s.alert.as_ref().map(|a| (r, a))).collect();
    let loudest =
        open.iter().filter(|(_, a)| !a.acknowledged).map(|(r, _)| weight(r.priority, r.category)).max();
    let probability = patient.models.first().and_then(|m| match m.current(now) {
        Some(Outcome::Probability(p)) => Some(p.value),
        _ => None,
    });
    let level = news2.and_then(|s| s.level_low).map_or(0, |l| i64::from(l.rank));
    let points = news2.and_then(|s| s.low).unwrap_or(0);
    let urgency =
        loudest.unwrap_or(0) * 1000 + level * 100 + points * 10 + (probability.unwrap_or(0.0) * 9.0) as i64;
    let alerts = open
        .iter()
        .map(|(rule, alert)| {
            let started = alert.started.micros().to_le_bytes();
            let id = deterministic_id(&[patient.id.expose().as_bytes(), rule.name.as_bytes(), &started]);
            let state = match (alert.latched, alert.acknowledged) {
                (true, _) => "latched",
                (false, true) => "acknowledged",
                (false, false) => "active",
            };
            AlertShown {
                alert_id: id,
                rule: rule.name.clone(),
                kind: alert.facts.kind.clone(),
                priority: rule.priority,
                category: rule.category,
                since_ms: alert.started.millis(),
                text: alert.facts.text.clone(),
                state,
            }
        })
        .collect();
    Glance {
        patient: patient.id.clone(),
        event_time: now,
        values: Numbers(values),
        news2: news2.map_or_else(|| ScoreShown { status: "absent", ..ScoreShown::default() }, score),
        model: model(plan, patient, now),
        alerts,
        urgency,
        strips: if with_strips { strips(sealed, c) } else { Vec::new() },
        silent: false,
    }
}

fn weight(priority: Priority, category: Category) -> i64 {
    let technical = i64::from(category != Category::Technical);
    match priority {
        Priority::High => 6 + technical,
        Priority::Medium => 4 + technical,
        Priority::Low => 2 + technical,
        Priority::Advisory => 1,
    }
}

fn number(c: &Computed, from: &[ChannelId], now: EventTime) -> Number {
    let ids = || from.iter().copied();
    let unit = |id: Option<ChannelId>| id.map_or("1", |id| id.row().unit.ucum());
    if let Some((id, v)) = ids().find_map(|id| c.values.at(id, now).ok().map(|v| (id, v))) {
        return Number {
            value: Some((v.value * 10.0).round() / 10.0),
            unit: unit(Some(id)),
            state: "valid",
            age_s: Some((now - v.observed_at).seconds()),
            origin: Some(if v.origin == Origin::Derived { "derived" } else { "reported" }),
            quality: Some(v.quality),
            reason: None,
        };
    }
    let stale = ids().any(|id| c.values.last(id).is_some());
    Number {
        value: None,
        unit: unit(ids().next()),
        state: if stale { "stale" } else { "absent" },
        age_s: None,
        origin: None,
        quality: None,
        reason: ids().filter_map(|id| c.values.at(id, now).err()).next_back(),
    }
}

fn score(s: &ScoreResult) -> ScoreShown {
    let status = match s.status {
        Status::Complete => "complete",
        Status::Partial => "partial",
        Status::Invalid => "invalid",
    };
    ScoreShown {
        status,
        total: s.total,
        low: s.low,
        high: s.high,
        level: s.level.map(|l| l.name),
        level_low: s.level_low.map(|l| l.name),
        level_high: s.level_high.map(|l| l.name),
        missing: s.missing.clone(),
        reason: s.reason.clone(),
    }
}

fn model(plan: &Plan, patient: &Patient, now: EventTime) -> ModelShown {
    let name = plan.models.first().map(|m| m.name());
    let (probability, state, reason) = match patient.models.first() {
        None => (None, "unavailable", "no model planned".to_owned()),
        Some(m) => match (&m.unavailable, m.current(now)) {
            (Some(why), _) => (None, "unavailable", why.clone()),
            (None, None) => (None, "waiting", "first evaluation to come".to_owned()),
            (None, Some(Outcome::Probability(p))) => (Some(p.value), "ok", String::new()),
            (None, Some(Outcome::Refused { missing_inputs, .. })) => {
                let names: Vec<&str> = missing_inputs.iter().map(|i| i.feature.as_str()).collect();
                (None, "refused", format!("missing: {}", names.join(", ")))
            }
            (None, Some(Outcome::Failed { reason })) => (None, "failed", reason.to_string()),
        },
    };
    ModelShown { name, probability, state, reason }
}

/// The first ECG lead and the first PPG, or pressure where there is none of those.
fn strips(sealed: &Sealed, c: &Computed) -> Vec<Strip> {
    let first = |kind: Kind| sealed.runs.iter().map(|r| r.channel).find(|ch| ch.row().kind == kind);
    let second = first(Kind::Ppg).or_else(|| first(Kind::Pressure));
    let channels = [first(Kind::Ecg), second];
    let runs = channels.iter().flatten().flat_map(|ch| sealed.runs.iter().filter(move |r| r.channel == *ch));
    runs.map(|run| {
        let row = run.channel.row();
        let every = ((run.rate.get() / STRIP_RATE_HZ).round() as usize).max(1);
        // Pressure is shown as it is, so that its level can be read; the others as conditioned.
        let source = if row.kind == Kind::Pressure { &sealed.raw } else { &c.clean };
        let samples = &source[run.range.clone()];
        let (low, high, scale) = match row.kind {
            Kind::Ecg => (-1.0, 2.0, 0.005),
            Kind::Pressure => (40.0, 180.0, 0.25),
            _ => scale_of(samples),
        };
        let thinned = samples.chunks(every).map(|c| {
            // The sample furthest from the chunk's first keeps R waves from being thinned away.
            let far = |x: &f32| (x - c[0]).abs();
            let pick = c.iter().copied().max_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or(0.0);
            (f64::from(pick) / scale).round() as i32
        });
        Strip {
            channel: row.name,
            label: row.label,
            unit: row.unit.ucum(),
            rate_hz: run.rate.get() / every as f64,
            start_ms: run.start.micros() as f64 / 1000.0,
            low,
            high,
            scale,
            samples: thinned.collect(),
        }
    })
    .collect()
}

/// A scale for signals of arbitrary size: the next of 1, 2 and 5 times a power of ten with room to spare, so that it
/// seldom changes.
fn scale_of(samples: &[f32]) -> (f64, f64, f64) {
    let most = samples.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    let most = f64::from(most.max(1e-6)) * 1.05;
    let power = 10f64.powi(most.log10().floor() as i32);
    let nice = [1.0, 2.0, 5.0, 10.0].into_iter().map(|n| n * power).find(|n| *n >= most).unwrap_or(most);
    (-nice, nice, nice / 1000.0)
}

#[derive(Serialize)]
struct Bed<'a> {
    patient: &'a str,
    urgency: i64,
    event_ms: i64,
    silent_s: f64,
    values: &'a Numbers,
    news2: &'a ScoreShown,
    model: &'a ModelShown,
    alerts: &'a [AlertShown],
    strips: &'a [Strip],
}

#[derive(Serialize)]
struct Message<'a> {
    sequence: u64,
    server_ms: i64,
    beds: Vec<Bed<'a>>,
}

/// The beds that are on show.
#[derive(Debug, Default)]
pub struct Ward {
    beds: BTreeMap<PatientId, (Box<Glance>, EventTime)>,
    /// Strips gathered since the last message, by bed.
    strips: BTreeMap<PatientId, Vec<Strip>>,
    sequence: u64,
}

impl Ward {
    /// Takes in a glance. `heard` is the partition time: how silent a bed is counts by the log's clock.
    pub fn take(&mut self, mut glance: Box<Glance>, heard: EventTime) {
        let strips = std::mem::take(&mut glance.strips);
        let shown = self.strips.len() < STRIP_BEDS_MAX || self.strips.contains_key(&glance.patient);
        if shown && !strips.is_empty() {
            let waiting = self.strips.entry(glance.patient.clone()).or_default();
            waiting.extend(strips);
            // Nobody looks: keep the newest few seconds.
            if waiting.len() > 16 {
                waiting.drain(..waiting.len() - 16);
            }
        }
        match self.beds.get_mut(&glance.patient) {
            // Silence is no sign of life.
            Some((bed, _)) if glance.silent => *bed = glance,
            Some(bed) => *bed = (glance, heard),
            None => drop(self.beds.insert(glance.patient.clone(), (glance, heard))),
        }
    }

    /// The message for the page, as JSON: everything as of now, and the strips since the last message.
    pub fn message(&mut self, server_ms: i64, partition_time: Option<EventTime>) -> String {
        self.sequence += 1;
        let strips = std::mem::take(&mut self.strips);
        let beds = self.beds.values().map(|(g, heard)| Bed {
            patient: g.patient.expose(),
            urgency: g.urgency,
            event_ms: g.event_time.millis(),
            silent_s: partition_time.map_or(0.0, |t| (t - *heard).seconds().max(0.0)),
            values: &g.values,
            news2: &g.news2,
            model: &g.model,
            alerts: &g.alerts,
            strips: strips.get(&g.patient).map_or(&[], Vec::as_slice),
        });
        let message = Message { sequence: self.sequence, server_ms, beds: beds.collect() };
        serde_json::to_string(&message).unwrap_or_default()
    }

    /// Event time of the newest glance of a patient.
    pub fn event_time(&self, patient: &str) -> Option<EventTime> {
        self.beds.get(&PatientId::new(patient)).map(|b| b.0.event_time)
    }

    /// Beds on show.
    pub fn len(&self) -> usize {
        self.beds.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.beds.is_empty()
    }
}
