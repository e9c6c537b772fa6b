//! The alert state machine: the same for every rule.
//! In: the verdict of one epoch and the commands of people. Out: transitions of one long-lived alert.
//!
//! Inactive → pending (the condition must persist for `for_s`) → active → clearing (it must be gone for
//! `keep_for_s`) → ended, or latched until acknowledged. Unknown neither starts nor ends an alert, until it has
//! lasted so long that the alert means nothing any more.

use auscult_operators::signal::frame::Action;
use auscult_operators::signal::{EventTime, Span};
use serde::{Deserialize, Serialize};

use super::event::{AlertState, Category, Phase, Priority};
use super::judge::{Condition, Facts, Verdict};

/// How often an alert that goes on gives a sign of life.
pub const CONTINUE: Span = Span::seconds_const(60);
/// How long an active alert outlives its input.
pub const UNKNOWN_MAX: Span = Span::seconds_const(600);

/// A rule as it runs.
pub struct Rule {
    /// Name.
    pub name: String,
    /// The condition.
    pub condition: Box<dyn Condition>,
    /// The condition must hold this long before the alert starts.
    pub persist: Span,
    /// The condition must be gone this long before the alert ends or falls in rank.
    pub keep: Span,
    /// Whether the alert stays until acknowledged.
    pub latch: bool,
    /// Derived from harm and onset.
    pub priority: Priority,
    /// What it speaks of.
    pub category: Category,
    /// Judged only when the patient falls silent and when it speaks again.
    pub on_silence: bool,
}

/// An alert that is on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// When it started: part of its id.
    pub started: EventTime,
    /// Transitions so far.
    pub revision: u32,
    /// What was last found.
    pub facts: Facts,
    /// Whether somebody has acknowledged it at this rank.
    pub acknowledged: bool,
    /// Whether the condition is gone and the alert is kept for acknowledgement.
    pub latched: bool,
    not_met_since: Option<EventTime>,
    lower_since: Option<EventTime>,
    unknown_since: Option<EventTime>,
    last_sign: EventTime,
}

/// Where one rule stands for one patient.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleState {
    pending_since: Option<EventTime>,
    /// The alert, if it is on. Most rules of most patients have none, so it has its own memory.
    pub alert: Option<Box<Alert>>,
    paused_until: Option<EventTime>,
}

/// One transition, to be told.
#[derive(Clone, Debug, PartialEq)]
pub struct Transition {
    /// Phase it tells.
    pub phase: Phase,
    /// State after it.
    pub state: AlertState,
    /// When.
    pub at: EventTime,
    /// The alert as it stands after it (its last standing, at the end).
    pub alert: Alert,
    /// Why it ended, if that is not plain.
    pub note: &'static str,
}

impl RuleState {
    /// Takes in one verdict. At most one transition comes of it.
    pub fn advance(&mut self, rule: &Rule, verdict: Verdict, now: EventTime) -> Option<Transition> {
        if self.paused_until.is_some_and(|end| now >= end) {
            self.paused_until = None;
        }
        match self.alert.as_mut() {
            Some(alert) => {
                let (phase, ends, note) = alert.advance(rule, verdict, now)?;
                let told = alert.tell(phase, now, note, ends);
                if ends {
                    self.alert = None;
                }
                Some(told)
            }
            None => self.wait(rule, verdict, now),
        }
    }

    /// Takes in a command that concerns this rule.
    pub fn command(&mut self, action: Action, for_s: f64, now: EventTime) -> Option<Transition> {
        if action == Action::Pause {
            self.paused_until = Some(now + Span::from_seconds(for_s));
            return None;
        }
        let alert = self.alert.as_mut()?;
        if alert.acknowledged {
            return None;
        }
        alert.acknowledged = true;
        let over = alert.latched;
        let told = alert.tell(if over { Phase::End } else { Phase::Update }, now, "acknowledged", over);
        if over {
            self.alert = None;
        }
        Some(told)
    }

    /// Ends whatever is on: the patient is no longer monitored.
    pub fn end(&mut self, now: EventTime) -> Option<Transition> {
        self.pending_since = None;
        let mut alert = self.alert.take()?;
        Some(alert.tell(Phase::End, now, "monitoring ended", true))
    }

    /// Whether the rule is on, so that a condition may apply its clearing limit.
    pub fn active(&self) -> bool {
        self.alert.as_ref().is_some_and(|a| !a.latched)
    }

    fn wait(&mut self, rule: &Rule, verdict: Verdict, now: EventTime) -> Option<Transition> {
        let facts = match verdict {
            Verdict::Met(facts) => facts,
            Verdict::NotMet => {
                self.pending_since = None;
                return None;
            }
            Verdict::Unknown(_) => return None,
        };
        let since = *self.pending_since.get_or_insert(now);
        if now - since < rule.persist || self.paused_until.is_some() {
            return None;
        }
        self.pending_since = None;
        let mut alert = Alert {
            started: now,
            revision: 0,
            facts: *facts,
            acknowledged: false,
            latched: false,
            not_met_since: None,
            lower_since: None,
            unknown_since: None,
            last_sign: now,
        };
        let told = alert.tell(Phase::Start, now, "", false);
        self.alert = Some(Box::new(alert));
        Some(told)
    }
}

impl Alert {
    fn advance(
        &mut self,
        rule: &Rule,
        verdict: Verdict,
        now: EventTime,
    ) -> Option<(Phase, bool, &'static str)> {
        match verdict {
            Verdict::Met(facts) => self.met(rule, *facts, now).map(|phase| (phase, false, "")),
            Verdict::NotMet => {
                self.unknown_since = None;
                let since = *self.not_met_since.get_or_insert(now);
                if self.latched || now - since < rule.keep {
                    return None;
                }
                if rule.latch && !self.acknowledged {
                    self.latched = true;
                    return Some((Phase::Update, false, "the condition is over"));
                }
                Some((Phase::End, true, ""))
            }
            // A latched alert waits for a person, not for its input.
            Verdict::Unknown(_) if self.latched => None,
            Verdict::Unknown(_) => {
                let since = *self.unknown_since.get_or_insert(now);
                if now - since < UNKNOWN_MAX {
                    return None;
                }
                Some((Phase::End, true, "its input has been missing for ten minutes"))
            }
        }
    }

    fn met(&mut self, rule: &Rule, facts: Facts, now: EventTime) -> Option<Phase> {
        self.unknown_since = None;
        self.not_met_since = None;
        let again = std::mem::take(&mut self.latched);
        if facts.rank > self.facts.rank {
            // An acknowledgement of the milder condition does not hide the worse one.
            self.acknowledged = false;
            self.lower_since = None;
            self.facts = facts;
            return Some(Phase::Escalate);
        }
        if facts.rank < self.facts.rank && !again {
            let since = *self.lower_since.get_or_insert(now);
            if now - since < rule.keep {
                return None;
            }
            self.lower_since = None;
            self.facts = facts;
            return Some(Phase::Deescalate);
        }
        self.lower_since = None;
        self.facts = facts;
        if again {
            return Some(Phase::Update);
        }
        (now - self.last_sign >= CONTINUE).then_some(Phase::Continue)
    }

    fn tell(&mut self, phase: Phase, at: EventTime, note: &'static str, over: bool) -> Transition {
        self.revision += 1;
        // Silence is told at a time ahead of the last epoch: what follows is not told at an earlier one.
        let at = at.max(self.last_sign);
        self.last_sign = at;
        let state = match (over, self.latched) {
            (true, _) => AlertState::Inactive,
            (false, true) => AlertState::Latched,
            (false, false) => AlertState::Active,
        };
        Transition { phase, state, at, alert: self.clone(), note }
    }
}

#[cfg(test)]
mod tests;
