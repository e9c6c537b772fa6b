//! Pages of the plain tables: channels, limits, metrics, reject codes.
//! In: the tables. Out: Markdown.

use auscult_operators::signal::{CHANNELS, Channel};

use super::markdown::{code, head, kind_of, list, seconds, table};
use crate::{decode, limits, metrics};

/// `channels.md`.
pub(super) fn channels() -> String {
    let about = "The one clinical table. A frame names a channel by its MDC code (ISO/IEEE 11073-10101), or by label, \
                 alias or name; units are UCUM codes, and any unit that converts is accepted. A value outside the \
                 plausible range is not used.";
    let mut out = head("Channels", about);
    let row = |c: &Channel| {
        let mdc = if c.mdc == 0 { String::new() } else { c.mdc.to_string() };
        let labels = if c.aliases.is_empty() {
            c.label.into()
        } else {
            format!("{}, {}", c.label, c.aliases.replace('|', ", "))
        };
        vec![
            code(c.name),
            labels,
            mdc,
            c.loinc.into(),
            kind_of(c.kind),
            code(c.unit.ucum()),
            format!("{} to {}", c.plausible.0, c.plausible.1),
            seconds(c.hold.seconds()),
        ]
    };
    for (title, about, wave) in [
        (
            "Waveforms",
            "*Bridged* is the longest gap that is filled; after a longer one every state starts anew.",
            true,
        ),
        ("Numbers", "*Valid* is how long a value may be used after it was observed.", false),
    ] {
        let last = if wave { "Bridged" } else { "Valid" };
        out += &format!("## {title}\n\n{about}\n\n");
        out += &table(
            &["Name", "Labels", "MDC", "LOINC", "Kind", "Unit", "Plausible", last],
            CHANNELS.iter().filter(|c| c.kind.is_wave() == wave).map(row),
        );
    }
    out + "An absent MDC or LOINC code was not confirmed, and is not guessed.\n"
}

/// `limits.md`.
pub(super) fn limits() -> String {
    let mut out = head("Limits", "Every bound of the engine, and what happens beyond it.");
    out += &table(
        &["Limit", "Greatest", "Unit", "Beyond it"],
        limits::ALL.iter().map(|l| vec![code(l.name), l.max.to_string(), l.unit.into(), l.beyond.into()]),
    );
    out
}

/// `metrics.md`.
pub(super) fn metrics() -> String {
    let about = "Served at `/metrics` in the Prometheus text format. No label holds a patient. `frames in = processed \
                 + duplicate + late + rejected` holds at every scrape.";
    let labels = labels();
    let mut out = head("Metrics", about);
    let rows = |metrics: &'static [(&str, &str)]| {
        let labels = &labels;
        metrics.iter().map(move |(name, help)| {
            let (kind, values) = labels.iter().find(|l| l.0 == *name).map_or(("", ""), |l| (&*l.1, &*l.2));
            vec![code(name), kind.into(), values.into(), (*help).into()]
        })
    };
    let columns = &["Metric", "Type", "Labels", "Meaning"];
    out += &table(columns, rows(metrics::METRICS));
    out += "## The watchdog\n\nServed by `auscult watch --listen`.\n\n";
    out + &table(columns, rows(metrics::WATCH_METRICS))
}

/// Name, type and labels of each metric, as an exported page has them.
fn labels() -> Vec<(String, String, String)> {
    let mut status = metrics::Status::default();
    status.accounts.rejected("CODE");
    status.lag.insert(0, 0);
    status.held = metrics::BEHIND.iter().map(|name| (*name, 0.0)).collect();
    let mut watched = metrics::Watched::default();
    watched.alarms.push((crate::watch::Kind::Dead, "0".into()));
    watched.silence.push(("0".into(), 0.0));
    let page = metrics::page(&status) + &metrics::watch_page(&watched);
    let types = page.lines().filter_map(|l| l.strip_prefix("# TYPE ")?.split_once(' '));
    types
        .map(|(name, kind)| {
            let mut values: Vec<String> = page
                .lines()
                .filter_map(|l| l.strip_prefix(name)?.strip_prefix('{')?.split_once('}'))
                .map(|(label, _)| {
                    code(
                        &label
                            .replace("\"CODE\"", "...")
                            .replace("\"0\"", "...")
                            .replace("\"engine.dead\"", "...")
                            .replace('"', ""),
                    )
                })
                .collect();
            values.dedup();
            (name.to_owned(), kind.to_owned(), values.join(", "))
        })
        .collect()
}

/// `codes.md`.
pub(super) fn codes() -> String {
    let about = "Why a record went to the dead-letter topic: the header `auscult_reject_code`, and the label `code` of \
                 `auscult_rejects_total`. Codes are stable. Words in capitals are [limits](limits.md).";
    let mut out = head("Reject codes", about);
    out += &table(&["Code", "Meaning"], decode::CODES.iter().map(|(c, why)| vec![code(c), (*why).into()]));
    out += "## Exit codes of the command line\n\n";
    out + &list([
        "0: done",
        "1: the work failed",
        "2: the command line asks for something that does not go together",
        "65: an input cannot be read",
        "69: the broker or an address is not available, or a crash loop was stopped",
        "78: the configuration cannot be used",
    ])
}
