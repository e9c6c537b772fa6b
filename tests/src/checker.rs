//! Nothing lost, nothing doubled: compares what a reader saw with what an uninterrupted run says.
//! In: two histories of one topic, each in the order of its log. Out: every damage, by its kind.
//! A history names each output by its id; the body is compared byte for byte, and the order patient by patient.

use std::collections::BTreeMap;
use std::fmt;

use crate::kafka::Message;

/// One output as a reader saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Its deterministic id.
    pub id: String,
    /// Whose it is: order holds within this.
    pub patient: String,
    /// What it says.
    pub body: String,
}

/// What can be wrong with a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Damage {
    /// The uninterrupted run says it, the reader did not see it.
    Lost,
    /// The reader saw it more than once.
    Doubled,
    /// Two outputs of one patient came in another order.
    Reordered,
    /// It bears a right id and another body or patient.
    Altered,
    /// The uninterrupted run never says it.
    Invented,
}

/// One damage and the id of the output that it befell.
pub type Finding = (Damage, String);

impl Told {
    /// An output of a topic: `ce_id` names it; a dead letter is named by its place in the input.
    pub fn of(message: &Message) -> Self {
        let header = |name: &str| message.header(name).unwrap_or_default();
        let id = message.header("ce_id").unwrap_or_else(|| {
            format!("{}/{}", header("auscult_input_partition"), header("auscult_input_offset"))
        });
        let mut body = String::from_utf8_lossy(message.value.as_deref().unwrap_or_default()).into_owned();
        body.push_str(&header("auscult_reject_code"));
        Self { id, patient: message.key_text(), body }
    }

    /// A whole topic.
    pub fn all(messages: &[Message]) -> Vec<Self> {
        messages.iter().map(Self::of).collect()
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", format!("{self:?}").to_lowercase())
    }
}

/// Every damage of what was `seen`, given what is `expected`; empty if the two histories are the same.
pub fn compare(expected: &[Told], seen: &[Told]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let wanted: BTreeMap<&str, &Told> = expected.iter().map(|t| (t.id.as_str(), t)).collect();
    if wanted.len() != expected.len() {
        // The measure itself is bent: no verdict may rest on it.
        findings.push((Damage::Doubled, "in the uninterrupted run".to_owned()));
    }
    let mut first: BTreeMap<&str, &Told> = BTreeMap::new();
    let mut order: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for told in seen {
        let Some(right) = wanted.get(told.id.as_str()) else {
            findings.push((Damage::Invented, told.id.clone()));
            continue;
        };
        if **right != *told {
            findings.push((Damage::Altered, told.id.clone()));
        }
        if first.insert(&told.id, told).is_some() {
            findings.push((Damage::Doubled, told.id.clone()));
        } else {
            order.entry(&right.patient).or_default().push(&told.id);
        }
    }
    let mut right_order: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for told in expected {
        if first.contains_key(told.id.as_str()) {
            right_order.entry(&told.patient).or_default().push(&told.id);
        } else {
            findings.push((Damage::Lost, told.id.clone()));
        }
    }
    for (patient, ids) in &order {
        let right = right_order.get(patient).map_or(&[][..], Vec::as_slice);
        if let Some((found, _)) = ids.iter().zip(right).find(|(a, b)| a != b) {
            findings.push((Damage::Reordered, (*found).to_owned()));
        }
    }
    findings
}

/// What a reader of uncommitted data may see, who drops doubles by id: nothing altered, nothing invented, nothing lost.
/// Order and number are not promised to it, since aborted transactions are among what it reads.
pub fn compare_uncommitted(expected: &[Told], seen: &[Told]) -> Vec<Finding> {
    let mut findings = compare(expected, seen);
    findings.retain(|(damage, _)| matches!(damage, Damage::Lost | Damage::Altered | Damage::Invented));
    findings
}

/// Findings in one line: how many of each kind, and the first id of each.
pub fn summary(findings: &[Finding]) -> String {
    let mut kinds: BTreeMap<Damage, (usize, &str)> = BTreeMap::new();
    for (damage, id) in findings {
        kinds.entry(*damage).or_insert((0, id)).0 += 1;
    }
    let parts: Vec<String> = kinds.iter().map(|(d, (n, id))| format!("{n} {d} (first {id})")).collect();
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn history() -> Vec<Told> {
        let told = |n: usize| Told {
            id: format!("id-{n}"),
            patient: format!("p{}", n % 3),
            body: format!("{{\"n\":{n}}}"),
        };
        (0..12).map(told).collect()
    }

    fn damages(seen: &[Told]) -> Vec<Finding> {
        compare(&history(), seen)
    }

    #[test]
    fn a_clean_history_passes() {
        assert_eq!(damages(&history()), []);
        // Patients may come in another order among themselves: they may lie in different partitions.
        let mut other = history();
        other.sort_by_key(|t| t.patient.clone());
        assert_eq!(damages(&other), []);
        assert_eq!(compare_uncommitted(&history(), &history()), []);
    }

    #[test]
    fn each_damage_is_flagged_by_its_name() {
        let cut: Vec<Told> = [&history()[..5], &history()[6..]].concat();
        assert_eq!(damages(&cut), [(Damage::Lost, "id-5".into())]);

        let doubled = [history(), vec![history()[4].clone()]].concat();
        assert_eq!(damages(&doubled), [(Damage::Doubled, "id-4".into())]);

        let mut swapped = history();
        swapped.swap(1, 4);
        assert_eq!(damages(&swapped), [(Damage::Reordered, "id-4".into())]);

        let mut altered = history();
        altered[7].body = "{\"n\":8}".into();
        assert_eq!(damages(&altered), [(Damage::Altered, "id-7".into())]);
        let mut moved = history();
        moved[7].patient = "p0".into();
        assert_eq!(damages(&moved), [(Damage::Altered, "id-7".into())]);

        let mut invented = history();
        invented.push(Told { id: "id-99".into(), ..history()[0].clone() });
        assert_eq!(damages(&invented), [(Damage::Invented, "id-99".into())]);
    }

    #[test]
    fn several_damages_do_not_hide_each_other() {
        let mut seen = history();
        seen.swap(0, 3);
        seen[10].body.push('x');
        seen.push(seen[1].clone());
        seen.remove(6);
        let mut kinds: Vec<Damage> = damages(&seen).into_iter().map(|f| f.0).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, [Damage::Lost, Damage::Doubled, Damage::Reordered, Damage::Altered]);
        assert_eq!(compare(&[], &history()).len(), 12);
        assert_eq!(compare(&history(), &[]).len(), 12);
    }

    #[test]
    fn a_measure_that_names_two_things_alike_gives_no_verdict() {
        let twice = [history(), vec![history()[0].clone()]].concat();
        assert!(!compare(&twice, &history()).is_empty());
    }

    #[test]
    fn a_reader_of_uncommitted_data_forgives_doubles_only() {
        let mut seen = [history(), vec![history()[4].clone()]].concat();
        assert_eq!(compare_uncommitted(&history(), &seen), []);
        seen[12].body.push('x');
        assert_eq!(compare_uncommitted(&history(), &seen), [(Damage::Altered, "id-4".into())]);
        assert_eq!(compare_uncommitted(&history(), &seen[1..]).len(), 2);
        assert_eq!(summary(&damages(&seen)), "1 doubled (first id-4), 1 altered (first id-4)");
    }
}
