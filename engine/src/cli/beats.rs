//! `auscult beats`: beat annotations of recordings, by the very same walk.
//! In: WFDB records. Out: annotation files that any EC57 scorer reads.

use std::path::PathBuf;
use std::sync::Arc;

use auscult_datasets::read::wfdb::annotations::{Annotation, Annotations};
use auscult_datasets::recording::{Recording, frames};
use auscult_datasets::write::wfdb::write_annotations;
use auscult_operators::signal::{BeatKind, EventTime, Kind, PatientId, SourceId};
use serde_json::json;

use super::say;
use crate::check;
use crate::config::Config;
use crate::effects::Effect;
use crate::error::RunError;
use crate::local::Local;

/// Arguments of `auscult beats`.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Recordings: WFDB records or headers.
    #[arg(required = true)]
    records: Vec<PathBuf>,
    /// Folder for the annotation files.
    #[arg(long)]
    out: PathBuf,
    /// Extension of the annotation files.
    #[arg(long, default_value = "auscult")]
    extension: String,
    /// Lead by channel name, such as `ecg_ii`; the first ECG signal by default; `auto` for the best at any time.
    #[arg(long)]
    lead: Option<String>,
}

/// Runs it.
pub(super) fn run(args: &Args) -> Result<(), RunError> {
    std::fs::create_dir_all(&args.out).map_err(RunError::io("create folder", &args.out))?;
    for path in &args.records {
        let recording = auscult_datasets::open(path).map_err(|e| RunError::Data(e.to_string()))?;
        let annotations = annotate(&recording, args.lead.as_deref())?;
        let name = path.file_stem().map_or_else(|| recording.name.clone(), |s| s.to_string_lossy().into());
        let file = args.out.join(format!("{name}.{}", args.extension));
        write_annotations(&file, &annotations).map_err(|e| RunError::Data(e.to_string()))?;
        say::line(format_args!("{name}: {} beats", annotations.items.len()))?;
    }
    Ok(())
}

fn annotate(recording: &Recording, lead: Option<&str>) -> Result<Annotations, RunError> {
    let is_ecg = |w: &&auscult_datasets::recording::RecordedWave| {
        w.mapping.as_ref().is_ok_and(|m| m.channel.row().kind == Kind::Ecg)
    };
    let wave = recording
        .waves
        .iter()
        .find(is_ecg)
        .ok_or_else(|| RunError::Data(format!("record {} has no ECG signal", recording.name)))?;
    let first = wave.mapping.as_ref().map_or("auto", |m| m.channel.row().name);
    let mut config = Config::default();
    config.models.run.clear();
    config.rules.clear();
    config.http.live = false;
    config.operators.insert("rpeaks".into(), json!({"lead": lead.unwrap_or(first)}));
    let mut plan = check::plan(&config, "", "--lead", true).map_err(RunError::Config)?;
    plan.beats = true;
    let mut local = Local::new(&Arc::new(plan), 1, 100);
    let start = EventTime::from_seconds(1_577_836_800);
    let (patient, source) = (PatientId::new(&recording.name), SourceId("beats".into()));
    let mut out = Annotations::default();
    let mut take = |effects: crate::effects::Effects| {
        for (_, effect) in effects.list {
            let Effect::Beats(_, beats) = effect else { continue };
            for beat in beats.iter().filter(|b| b.kind == BeatKind::Qrs) {
                let sample = ((beat.time - start).seconds() * wave.rate.get()).round() as i64;
                out.items.extend(Annotation::new(sample.max(0), 'N'));
            }
        }
    };
    for frame in frames(recording, patient, source, 0, start, 1.0) {
        if let Some((_, effects)) = local.append(&frame) {
            take(effects);
        }
    }
    local.stop().into_iter().for_each(|(_, effects)| take(effects));
    out.items.sort_by_key(|a| a.sample);
    Ok(out)
}
