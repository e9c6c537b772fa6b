//! Apnoea: how long since the last breath, as far as live sensors would have shown one.
//! In: breaths of `breaths` and `capnogram`, `breath_doubt`. Out: seconds without a breath, seconds without exhaled
//! carbon dioxide, and a code.

use serde::{Deserialize, Serialize};

use crate::operator::{Operator, Output, Spec, StateError, defaults, load_state, params, save_state};
use crate::params::Bound;
use crate::signal::{BeatKind, Epoch, EventTime, Graded, Kind, Missing, Readings, Span};

/// Parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Apnoea from this long without a breath (s); 10 for the rule of the AASM.
    pub apnoea_s: f64,
}

impl Default for Params {
    fn default() -> Self {
        Self { apnoea_s: 20.0 }
    }
}

const APNOEA: Bound = Bound { name: "apnoea_s", min: 10.0, max: 60.0, unit: "s" };

/// A sensor must have shown this many breaths before their absence says anything.
const BREATHS_MIN: u8 = 4;

/// What one sensor has shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Witness {
    /// Breaths since the start, few are enough.
    breaths: u8,
    /// The last breath, or the end of doubt.
    since: EventTime,
    /// Whether `since` is a breath, or only the end of a time in which one could have been hidden.
    seen: bool,
    ever: bool,
}

impl Witness {
    fn restart(&mut self, at: EventTime) {
        *self = Self { breaths: 0, since: at, seen: false, ever: true };
    }

    fn breathe(&mut self, at: EventTime) {
        self.breaths = self.breaths.saturating_add(1);
        (self.since, self.seen) = (self.since.max(at), true);
    }

    fn without(&self, now: EventTime, doubted: bool) -> Graded {
        if !self.ever {
            return Graded::missing(Missing::NoData);
        }
        if self.breaths < BREATHS_MIN {
            return Graded::missing(Missing::Learning);
        }
        if doubted {
            return Graded::missing(Missing::LowQuality);
        }
        let quality = if self.seen { 0.9 } else { 0.6 };
        Graded::of((now - self.since).seconds().max(0.0), quality, 0.0)
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct State {
    chest: Witness,
    gas: Witness,
}

struct Apnoea {
    params: Params,
    state: State,
}

/// Follows one kind of sensor; says how long it has shown no breath.
fn follow(witness: &mut Witness, kind: Kind, epoch: &Epoch<'_>, out: &Readings, doubted: bool) -> Graded {
    let runs = || epoch.runs.iter().filter(|r| r.channel.row().kind == kind && !r.raw.is_empty());
    if let Some(run) = runs().rfind(|r| r.reset || !witness.ever) {
        witness.restart(run.start);
    }
    for b in out.beats.iter().filter(|b| b.kind == BeatKind::Breath && b.channel.row().kind == kind) {
        // Exhaled gas is told when it has ended: until then the patient breathed out.
        witness.breathe(if kind == Kind::Capnogram { epoch.start } else { b.time });
    }
    if runs().next().is_none() {
        return Graded::missing(if witness.ever { Missing::Stale } else { Missing::NoData });
    }
    if doubted {
        (witness.since, witness.seen) = (epoch.end(), false);
    }
    witness.without(epoch.end(), doubted)
}

/// No breath by any sensor that can tell: the shortest time of those that speak.
fn shortest(a: Graded, b: Graded) -> Graded {
    match (a.value, b.value) {
        (Ok(x), Ok(y)) => {
            if x <= y {
                a
            } else {
                b
            }
        }
        (Ok(_), _) => a,
        (_, Ok(_)) => b,
        (Err(Missing::NoData), _) => b,
        _ => a,
    }
}

impl Operator for Apnoea {
    fn apply(&mut self, epoch: &Epoch<'_>, out: &mut Readings) {
        let State { chest, gas } = &mut self.state;
        let doubt = out.find("breath_doubt").and_then(|r| r.value.ok());
        let by_chest = follow(chest, Kind::Respiration, epoch, out, doubt.is_some_and(|d| d > 0.5));
        let of_gas = |r: &&crate::signal::Reading| {
            r.name == "quality_state" && r.channel.is_some_and(|c| c.row().kind == Kind::Capnogram)
        };
        // Saturated or missing; gas that stays at zero is what apnoea looks like.
        let state = out.items.iter().find(of_gas).and_then(|r| r.value.ok());
        let by_gas = follow(gas, Kind::Capnogram, epoch, out, state.is_some_and(|s| s == 2.0 || s == 4.0));
        if !chest.ever && !gas.ever {
            return;
        }
        let least = shortest(by_chest, by_gas);
        let (limit, long) =
            (self.params.apnoea_s, |g: &Graded| g.value.is_ok_and(|s| s >= self.params.apnoea_s));
        let code = match least.value {
            Ok(s) if s >= limit => Graded::of(1.0, least.quality, 0.0),
            Ok(_) if long(&by_gas) => Graded::of(2.0, 0.7, 0.0),
            Ok(_) => Graded::of(0.0, least.quality, 0.0),
            Err(why) => Graded::missing(why),
        };
        let (end, window) = (epoch.end(), Span::EPOCH);
        out.push(least.reading("since_last_breath", None, end, window));
        if gas.ever {
            out.push(by_gas.reading("since_last_co2", None, end, window));
        }
        out.push(code.reading("apnoea", None, end, Span::from_seconds(limit)));
    }

    fn save(&self, out: &mut Vec<u8>) {
        save_state(&self.state, out);
    }

    fn load(&mut self, bytes: &[u8]) -> Result<(), StateError> {
        self.state = load_state(SPEC.name, bytes)?;
        Ok(())
    }
}

/// The card.
pub static SPEC: Spec = Spec {
    name: "apnoea",
    summary: "Time since the last breath, and apnoea",
    description: "since_last_breath is the time since any live sensor, chest or gas, last showed a breath; \
        since_last_co2 the time since gas was last exhaled. apnoea is 1 from 20 s without any breath on (10 s by the \
        AASM), 2 where the gas shows none for as long while the chest still moves (a closed airway, or a lost \
        sampling line), else 0. A sensor counts once it has shown four breaths since its start or last gap. While \
        movement or a dead sensor could hide or feign breaths it is absent, and after that the time counts from the \
        end of the doubt: then it is the least that it can be, of quality 0.6. A breath of the chest is told some \
        two seconds after its top, exhaled gas when it has ended. A chest that moves without air, and slow movement \
        like breathing, hide apnoea where there is no gas.",
    reads: &[Kind::Respiration, Kind::Capnogram],
    writes: &[
        Output { name: "since_last_breath", unit: "s", summary: "Time since the last breath", feeds: "" },
        Output { name: "since_last_co2", unit: "s", summary: "Time since gas was last exhaled", feeds: "" },
        Output {
            name: "apnoea",
            unit: "{code}",
            summary: "0 breathing, 1 no breath, 2 chest moves without exhaled gas",
            feeds: "",
        },
    ],
    needs: &["breaths", "capnogram"],
    latency: Span::seconds_const(15),
    by_default: false,
    sources: &[
        "Berry RB et al. Rules for scoring respiratory events in sleep: update of the 2007 AASM manual. J Clin Sleep \
         Med 2012;8:597-619. doi:10.5664/jcsm.2172 (10 s)",
        "ISO 80601-2-55:2018 (respiratory gas monitors: time without a breath)",
    ],
    bounds: &[APNOEA],
    schema: || schemars::schema_for!(Params),
    defaults: defaults::<Params>,
    build: |value| {
        let params: Params = params(value)?;
        APNOEA.check(params.apnoea_s)?;
        Ok(Box::new(Apnoea { params, state: State::default() }))
    },
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop")]
#[path = "apnoea_tests.rs"]
mod tests;
