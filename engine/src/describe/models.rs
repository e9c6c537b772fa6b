//! Page of the shipped models, from their manifests.
//! In: the registry. Out: Markdown; measured figures stand in each model's own card, not here.

use auscult_models::Registry;
use auscult_models::manifest::{Input, Manifest, Threshold};
use auscult_operators::signal::ChannelId;

use super::markdown::{code, head, list, seconds, table};

/// `models.md`.
pub(super) fn page() -> String {
    let about = "Models shipped with Auscult. A model is a folder with a manifest (`model.toml`, whose keys are in \
                 `docs/schema/model_manifest.json`), weights and a card; `models.folder` names a folder of your own. A \
                 model without enough inputs refuses to answer, which is never a low probability. None of them is a \
                 medical device.";
    let mut out = head("Models", about);
    for package in Registry::embedded().packages() {
        out += &card(&package.manifest);
    }
    out
}

fn card(m: &Manifest) -> String {
    let text = |t: &str| t.split_whitespace().collect::<Vec<_>>().join(" ");
    let mut out = format!("## {}\n\n{}.\n\n", m.name, m.summary.trim_end_matches('.'));
    out += &list([
        format!("Version: {}", m.version),
        format!(
            "Format: {} (operator set {}), sha256 `{}`",
            format!("{:?}", m.kind).to_uppercase(),
            m.opset,
            m.sha256
        ),
        format!(
            "Evaluated every {} s of event time, for every patient{}",
            m.evaluate_every_s,
            if m.staggered { ", at seconds of its own" } else { "" }
        ),
        format!("Looks ahead: {} h", m.horizon_h),
        format!("Must beat: `{}`", m.baseline),
        format!("Answers with at least {} inputs, not counting what is known of the patient", m.at_least),
        format!("Intended use: {}", text(&m.intended_use)),
        format!("Training data: {}", text(&m.training_data)),
        format!("Licence: {}", text(&m.licence)),
        format!("Limits: {}", text(&m.limits)),
        format!("Measured: [card](../../models/zoo/{}/CARD.md)", m.name),
    ]);
    out += &table(&["Input", "Unit", "Counts for", "When missing", "Reference"], m.inputs.iter().map(input));
    let threshold = |t: &Threshold| vec![t.name.clone(), t.probability.to_string(), t.note.clone()];
    if !m.thresholds.is_empty() {
        out += &table(
            &["Threshold", "Probability", "What it costs and yields"],
            m.thresholds.iter().map(threshold),
        );
    }
    out
}

fn input(i: &Input) -> Vec<String> {
    let names: Vec<String> = i.features().map(code).collect();
    let hold = ChannelId::named(&i.feature).map(|c| c.row().hold.seconds());
    let age = match (i.max_age_s, hold) {
        (Some(max), Some(hold)) => seconds(max.min(hold)),
        (Some(one), None) | (None, Some(one)) => seconds(one),
        (None, None) => "its epoch".into(),
    };
    let missing = format!("{:?}", i.missing).to_lowercase();
    vec![
        names.join(" or "),
        code(&i.unit),
        age,
        i.fill.map_or(missing.clone(), |f| format!("{missing} {f}")),
        i.reference.to_string(),
    ]
}
