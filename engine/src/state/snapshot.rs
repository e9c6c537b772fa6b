//! One patient's snapshot: its whole state in named sections.
//! In: a patient and its place in the log. Out: the record's value; and back, a patient that goes on with the same
//! bits.
//!
//! Each section bears a fingerprint of the configuration it depends on. After a change of configuration the sections
//! that still fit are taken over, the others start anew, and the number of these is told.

use std::borrow::Cow;

use auscult_operators::signal::{EventTime, PatientId};
use serde::{Deserialize, Serialize};

use super::envelope::{self, Unreadable, digest, read};
use crate::patient::{Patient, Saved};
use crate::plan::Plan;

/// Where a snapshot stands in the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    /// It holds every record below this offset.
    pub offset: i64,
    /// Partition time before the record at this offset.
    pub time: Option<EventTime>,
    /// Offset of the patient's first record.
    pub first: i64,
    /// Whose snapshot it is: a record that stands under another's key is nobody's.
    pub patient: u64,
}

#[derive(Serialize, Deserialize)]
struct Section<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    print: u64,
    bytes: Cow<'a, [u8]>,
}

#[derive(Serialize, Deserialize)]
struct Written<'a> {
    header: Header,
    #[serde(borrow)]
    sections: Vec<Section<'a>>,
}

/// The sections of a plan: names and fingerprints.
pub(crate) struct Sections {
    chains: u64,
    operators: Vec<(String, u64)>,
    scores: Vec<(String, u64)>,
    models: Vec<(String, u64)>,
    rules: Vec<String>,
}

impl Sections {
    pub(crate) fn of(plan: &Plan) -> Self {
        let conditioning = serde_json::to_vec(&plan.conditioning).unwrap_or_default();
        let operator = |(spec, params): &(&auscult_operators::operator::Spec, serde_json::Value)| {
            (format!("operator:{}", spec.name), digest(&[params.to_string().as_bytes()]))
        };
        Self {
            chains: digest(&[&conditioning]),
            operators: plan.operators.iter().map(operator).collect(),
            scores: plan
                .scores
                .iter()
                .map(|(s, _)| (format!("score:{}", s.name), digest(&[s.table_version.as_bytes()])))
                .collect(),
            models: plan
                .models
                .iter()
                .map(|m| (format!("model:{}", m.identity.name), digest(&[m.identity.sha256.as_bytes()])))
                .collect(),
            // A rule whose limits were changed goes on with its alert, and judges it by the new ones.
            rules: plan.rules.iter().map(|r| format!("rule:{}", r.name)).collect(),
        }
    }

    /// Writes a patient.
    pub(crate) fn save(&self, header: Header, patient: &Patient) -> Vec<u8> {
        let mut sections = vec![section("patient", 0, &patient.saved())];
        sections.push(section("chains", self.chains, &patient.chains));
        for ((name, print), operator) in self.operators.iter().zip(&patient.operators) {
            let mut bytes = Vec::new();
            operator.save(&mut bytes);
            sections.push(Section { name: name.into(), print: *print, bytes: bytes.into() });
        }
        for ((name, print), told) in self.scores.iter().zip(&patient.scores) {
            sections.push(section(name, *print, told));
        }
        for ((name, print), model) in self.models.iter().zip(&patient.models) {
            sections.push(section(name, *print, &(&model.at, &model.outcome)));
        }
        for (name, rule) in self.rules.iter().zip(&patient.rules) {
            sections.push(section(name, 0, rule));
        }
        envelope::seal(envelope::SNAPSHOT, &Written { header, sections })
    }

    /// Reads a patient from a record whose header was read before; with it, how many sections started anew because
    /// their configuration has changed.
    pub(crate) fn load(&self, id: &str, bytes: &[u8], plan: &Plan) -> Result<Loaded, Unreadable> {
        let written: Written<'_> = envelope::reopen(bytes)?;
        let find = |name: &str, print: u64| {
            written.sections.iter().find(|s| s.name == name && s.print == print).map(|s| &*s.bytes)
        };
        let saved: Saved = read(find("patient", 0).ok_or_else(|| content("no section `patient`"))?)?;
        let mut patient = Patient::new(PatientId::new(id), plan, EventTime::default(), written.header.first)
            .map_err(|e| content(&e.to_string()))?;
        patient.take(saved);
        let mut anew = 0;
        match find("chains", self.chains) {
            Some(bytes) => patient.chains = read(bytes)?,
            None => anew += 1,
        }
        for ((name, print), operator) in self.operators.iter().zip(&mut patient.operators) {
            match find(name, *print) {
                Some(bytes) => operator.load(bytes).map_err(|e| content(&e.to_string()))?,
                None => anew += 1,
            }
        }
        for ((name, print), told) in self.scores.iter().zip(&mut patient.scores) {
            match find(name, *print) {
                Some(bytes) => *told = read(bytes)?,
                None => anew += 1,
            }
        }
        for ((name, print), model) in self.models.iter().zip(&mut patient.models) {
            match find(name, *print) {
                Some(bytes) => (model.at, model.outcome) = read(bytes)?,
                None => anew += 1,
            }
        }
        for (name, rule) in self.rules.iter().zip(&mut patient.rules) {
            match find(name, 0) {
                Some(bytes) => *rule = read(bytes)?,
                None => anew += 1,
            }
        }
        Ok(Loaded { header: written.header, patient, anew })
    }

    /// Reads where a snapshot stands, without building the patient, and that it is the one of this patient.
    pub(crate) fn header(id: &[u8], bytes: &[u8]) -> Result<Header, Unreadable> {
        let header = envelope::open::<Written<'_>>(envelope::SNAPSHOT, bytes)?.header;
        if header.patient != print(id) {
            return Err(content("it stands under the key of another patient"));
        }
        Ok(header)
    }
}

/// Fingerprint of a patient.
pub(crate) fn print(id: &[u8]) -> u64 {
    digest(&[id])
}

/// Which snapshots stand: how many, in which slots of which patients, and of which offsets, each folded into one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Standing {
    pub(crate) count: u64,
    pub(crate) slots: u64,
    pub(crate) offsets: u64,
}

impl Standing {
    /// Adds one snapshot; 0 for an offset that is not known.
    pub(crate) fn add(&mut self, patient: u64, slot: usize, offset: i64) {
        let place = patient.rotate_left(7 + slot as u32);
        self.count += 1;
        self.slots ^= place.wrapping_mul(0xd6e8_feb8_6659_fd93);
        let mixed = place ^ (offset as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.offsets ^= mixed.wrapping_mul(0xd6e8_feb8_6659_fd93);
    }

    /// Whether the same slots are filled.
    pub(crate) fn same_slots(&self, other: &Self) -> bool {
        (self.count, self.slots) == (other.count, other.slots)
    }
}

/// A patient as read.
pub(crate) struct Loaded {
    pub(crate) header: Header,
    pub(crate) patient: Patient,
    pub(crate) anew: usize,
}

fn section<'a>(name: &'a str, print: u64, value: &impl Serialize) -> Section<'a> {
    let bytes = match postcard::to_stdvec(value) {
        Ok(bytes) => bytes,
        Err(e) => unreachable!("state is plain data in memory: {e}"),
    };
    Section { name: name.into(), print, bytes: bytes.into() }
}

fn content(reason: &str) -> Unreadable {
    Unreadable::Content(reason.into())
}
