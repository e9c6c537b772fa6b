//! Page of the scores: bands, levels and boundary vectors, from the very tables that are evaluated.
//! In: the registry. Out: Markdown.

use auscult_operators::score::table::{Band, BandTable, Resolution};
use auscult_operators::score::{self, QUALITY_FLOOR, ScoreInput, ScoreSpec};

use super::markdown::{code, head, list, parameters, seconds, table};

/// `scores.md`.
pub(super) fn page() -> String {
    let about = format!(
        "Published tables that turn the values of one patient into points, a level and what to do. Parameters go under \
         `[scores.NAME]`.\n\n\
         **Missing values.** What is missing, older than it may be, implausible, or of a quality below {QUALITY_FLOOR} \
         has no points: it is neither 0 nor the last value. The result is then `partial`, has no total, and gives the \
         lowest and highest total and level over everything the missing values could be. Who the score is not made for \
         gets no score but the reason (`invalid`). Whatever was assumed of a patient stands in the result."
    );
    let mut out = head("Scores", &about);
    for spec in score::SCORES {
        out += &card(spec);
    }
    out
}

fn card(s: &ScoreSpec) -> String {
    let mut out = format!(
        "## {}\n\n{} Tables: {}. Name in configuration: `{}`.\n\n{}\n\n",
        s.title, s.summary, s.table_version, s.name, s.description
    );
    out += &list([
        format!("Range: {} to {}", s.range.0, s.range.1),
        format!("For whom: {}", s.population),
        format!("Fractions: {}", s.fractions),
        format!("A single part with {} points calls for action whatever the total is.", s.red_at),
    ]);
    out += "### Inputs\n\n";
    out += &table(
        &["Input", "Role", "Channels, preferred first, and how long a value counts", "Meaning"],
        s.inputs.iter().map(|i| input(i)),
    );
    let defaults = serde_json::to_value(score::Params::default()).unwrap_or_default();
    out += &parameters(schemars::schema_for!(score::Params).as_value(), &defaults, &[]);
    out += "### Bands\n\nBoth ends belong to the band.\n\n";
    s.tables.iter().for_each(|t| out += &bands(t));
    out += "### Levels\n\n";
    let level = |l: &score::LevelSpec| vec![code(l.name), l.when.into(), l.response.into()];
    out += &table(&["Level", "When", "Response"], s.levels.iter().map(level));
    out += "### Boundary vectors\n\nOne step below, on and above every edge, for checking another implementation \
            against this one.\n\n";
    out += &table(
        &["Parameter", "Value: points"],
        s.tables.iter().map(|t| vec![t.parameter.into(), vectors(t)]),
    );
    out += "### Sources\n\n";
    out + &list(s.sources)
}

fn input(i: &ScoreInput) -> Vec<String> {
    let channels = i.channels.iter().map(|channel| {
        let row = channel.row();
        let age = i.max_age.map_or(row.hold, |max| max.min(row.hold));
        format!("`{}` ({})", row.name, seconds(age.seconds()))
    });
    let channels: Vec<String> = channels.collect();
    vec![code(i.name), format!("{:?}", i.role).to_lowercase(), channels.join(", "), i.summary.into()]
}

fn bands(t: &BandTable) -> String {
    let points: Vec<String> = t.bands.iter().map(|b| b.points.to_string()).collect();
    let step = if t.resolution == Resolution::Whole { "whole" } else { "to 0.1" };
    let title = format!("{}, {} ({step})", t.parameter, t.unit);
    let mut columns = vec![title.as_str()];
    let ranges: Vec<String> = t.bands.iter().map(|b| band(t, b)).collect();
    columns.extend(ranges.iter().map(String::as_str));
    table(&columns, [std::iter::once("points".to_string()).chain(points).collect::<Vec<_>>()])
}

fn band(t: &BandTable, b: &Band) -> String {
    let show = |steps| match t.resolution {
        Resolution::Whole => format!("{:.0}", t.resolution.value(steps)),
        Resolution::Tenth => format!("{:.1}", t.resolution.value(steps)),
    };
    match (b.from, b.to) {
        (None, None) => "any".into(),
        (None, Some(to)) => format!("≤ {}", show(to)),
        (Some(from), None) => format!("≥ {}", show(from)),
        (Some(from), Some(to)) if from == to => show(from),
        (Some(from), Some(to)) => format!("{} to {}", show(from), show(to)),
    }
}

fn vectors(t: &BandTable) -> String {
    let all: Vec<String> =
        t.boundary_vectors().iter().map(|b| format!("{}: {}", b.value, b.points)).collect();
    all.join("; ")
}
