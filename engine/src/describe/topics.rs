//! Page of the topics.
//! In: the table of topics. Out: Markdown.

use super::markdown::{code, head, table};
use crate::topics::{TOPICS, Topic};

/// `topics.md`.
pub(super) fn page() -> String {
    let about = "Every name carries the prefix `kafka.prefix`. With `kafka.create_topics = true` a missing topic is \
                 created with the settings shown and `kafka.replication` replicas. Topics marked *transaction* are \
                 written in the transaction that commits the consumed offsets: read them with \
                 `isolation.level=read_committed`.";
    let mut out = head("Topics", about);
    out += &table(
        &["Topic", "Direction", "Key", "Value", "Transaction", "Partitions", "Settings"],
        TOPICS.iter().map(row),
    );
    for t in TOPICS {
        out += &format!("## {}\n\n{}.\n\n", t.name, t.summary);
        let headers = t.headers.iter().flat_map(|group| *group);
        let rows: Vec<Vec<String>> = headers.map(|(name, what)| vec![code(name), (*what).into()]).collect();
        if rows.is_empty() {
            out += "No headers.\n\n";
        } else {
            out += &table(&["Header", "Value"], rows);
        }
    }
    out
}

fn row(t: &Topic) -> Vec<String> {
    let settings: Vec<String> = t.settings.iter().map(|(k, v)| format!("`{k}={v}`")).collect();
    vec![
        code(t.name),
        if t.input { "in" } else { "out" }.into(),
        t.key.into(),
        t.value.into(),
        if t.transactional { "yes" } else { "no" }.into(),
        if t.wide { "`kafka.partitions`" } else { "1" }.into(),
        settings.join(", "),
    ]
}
