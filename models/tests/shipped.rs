//! The shipped models: every folder is built in, its card tells what was measured, the runtime tells what it is.
//! In: models/zoo. Out: agreement of folder, program, card and measurement.

#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod common;

use std::path::Path;

use auscult_models::{Predictor, Registry, RuntimeError, Search};

fn zoo() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("zoo")
}

#[test]
fn every_folder_of_the_zoo_is_built_in() {
    let (disk, built) = (Registry::read(&zoo()).unwrap(), Registry::embedded());
    assert!(disk.refused.is_empty() && built.refused.is_empty(), "{:?} {:?}", disk.refused, built.refused);
    assert_eq!(disk.cards(), built.cards());
    for card in built.cards() {
        assert_eq!(Registry::shipped().iter().filter(|s| s.0 == card.manifest.name).count(), 1);
        assert!(card.bytes < 400_000 && card.page.len() > 1000, "{}", card.manifest.name);
    }
}

#[test]
fn the_card_tells_what_was_measured() {
    for card in Registry::embedded().cards() {
        let text = std::fs::read_to_string(zoo().join(&card.manifest.name).join("measured.json")).unwrap();
        let measured: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(measured["sha256"], card.manifest.sha256.as_str());
        for (hospital, figures) in measured["hospital"].as_object().unwrap() {
            for key in ["auroc", "news2_auroc", "auprc", "patients", "hours", "calibration_slope"] {
                let figure = figures[key].to_string();
                assert!(
                    card.page.contains(&figure),
                    "hospital {hospital}: {key} {figure} is not on the card"
                );
            }
            assert!(figures["auroc"].as_f64() > figures["news2_auroc"].as_f64());
        }
    }
}

#[test]
fn the_identity_names_weights_and_runtime() {
    let model = common::shipped();
    let library = common::runtime().library();
    assert_eq!(model.identity().runtime, format!("onnxruntime {}", library.version));
    assert!(library.version.starts_with("1.") && library.path.is_file() && library.sha256.len() == 64);
    assert!(library.build.contains("git-commit-id"), "{}", library.build);
    let json = serde_json::to_value(model.identity()).unwrap();
    assert_eq!(json["sha256"], common::sha256(Registry::shipped()[0].2));
}

#[test]
fn a_named_library_that_is_not_there_is_an_error_even_if_another_could_serve() {
    let search = Search { path: Some("no/such/libonnxruntime.so".into()), no_fetch: true };
    let e = auscult_models::Runtime::start(&search).unwrap_err();
    assert!(matches!(&e, RuntimeError::Named(m) if m.contains("no/such/libonnxruntime.so")), "{e}");
}
