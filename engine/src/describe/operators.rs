//! Page of the operators, from their cards.
//! In: the registry. Out: Markdown, in graph order.

use auscult_operators::operator::{Output, Spec};
use auscult_operators::registry::OPERATORS;

use super::markdown::{code, head, kind_of, list, parameters, seconds, table};

/// `operators.md`.
pub(super) fn page() -> String {
    let about = "Computations over one patient's epochs (whole seconds of event time), in graph order: each may read \
                 what those before it wrote. All are causal. *Latency* is the longest time between a sample, or an \
                 earlier operator's output, and the reading it first shows in, beyond its epoch. An output that \
                 *feeds* a quantity stands in for it where no monitor reports one. Parameters go under \
                 `[operators.NAME]`.";
    let mut out = head("Operators", about);
    out += &table(
        &["Operator", "Summary"],
        OPERATORS.iter().map(|s| vec![format!("[{0}](#{0})", s.name), s.summary.into()]),
    );
    OPERATORS.iter().for_each(|s| out += &card(s));
    out
}

fn card(s: &Spec) -> String {
    let mut out = format!("## {}\n\n{}.\n\n{}\n\n", s.name, s.summary.trim_end_matches('.'), s.description);
    let kinds: Vec<String> = s.reads.iter().map(|k| kind_of(*k)).collect();
    let reads = if kinds.is_empty() { "earlier readings and values".into() } else { kinds.join(", ") };
    let works_on = s.needs.iter().map(|n| format!("Works on: [{n}](#{n})"));
    let runs =
        if s.by_default { "unless `pipeline.disabled` names it" } else { "if `pipeline.enabled` names it" };
    let latency = format!("Latency: {}", seconds(s.latency.seconds()));
    out += &list(works_on.chain([format!("Reads: {reads}"), latency, format!("Runs: {runs}")]));
    let output = |o: &Output| vec![code(o.name), code(o.unit), code(o.feeds), o.summary.into()];
    if s.writes.is_empty() {
        out += "Writes beats only.\n\n";
    } else {
        out += &table(&["Output", "Unit", "Feeds", "Meaning"], s.writes.iter().map(output));
    }
    out += &parameters((s.schema)().as_value(), &(s.defaults)(), &s.bounds.iter().collect::<Vec<_>>());
    if !s.sources.is_empty() {
        out += "Sources:\n\n";
        out += &list(s.sources);
    }
    out
}
