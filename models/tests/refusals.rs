//! What must not run does not: wrong hash, wrong shape, wrong unit, no number, weights elsewhere.
//! In: the small graphs of tests/onnx (made by make.py there), each wrong in one way. Out: the refusal and its words.

#![allow(clippy::unwrap_used, reason = "a test may stop at once")]

mod common;

use std::path::Path;

use auscult_models::manifest::{Manifest, MissingPolicy, Output};
use auscult_models::predict::Failure;
use auscult_models::{ModelError, Outcome, Predictor, Registry, Row};
use auscult_operators::signal::Missing;

#[test]
fn a_graph_that_does_not_fit_is_refused_when_opened() {
    assert!(common::open("good", |_| ()).is_ok());
    for (graph, expected) in [
        ("opset_16", "the operator set is 16, expected 17"),
        ("eight_columns", "the input is Float32 [-1, 8], expected float32 [any or 1, 7]"),
        ("float64", "the input is Float64 [-1, 7]"),
        ("two_inputs", "the number of inputs is 2, expected 1"),
        ("nan_always", "was tried on its reference values: the model's output is not a finite number"),
        ("not_a_probability", "outside 0 to 1"),
        ("two_rows_for_one", "computed output shape for this run is {2,1}"),
        ("external_data", "external"),
    ] {
        let message = common::open(graph, |_| ()).expect_err(graph).to_string();
        assert!(message.contains(expected) && message.contains(graph), "{graph}: {message}");
    }
}

/// Where a manifest says that the answer stands.
fn output(manifest: &mut Manifest) -> &mut Output {
    manifest.output.as_mut().unwrap()
}

#[test]
fn an_output_that_is_not_there_is_refused() {
    let named = common::open("good", |m| output(m).name = "risk".into()).unwrap_err().to_string();
    assert!(named.contains("the output is [\"probability\"], expected \"risk\""), "{named}");
    let column = common::open("good", |m| output(m).index = 1).unwrap_err().to_string();
    assert!(column.contains("expected float32 [any or 1, more than 1]"), "{column}");
    let flagged = common::open("good", |m| m.inputs[0].flag = true).unwrap_err().to_string();
    assert!(flagged.contains("expected float32 [any or 1, 8]"), "{flagged}");
}

#[test]
fn a_model_that_cannot_take_missing_values_is_refused_if_it_says_it_can() {
    let absent = |m: &mut auscult_models::manifest::Manifest| {
        m.inputs[0].missing = MissingPolicy::Absent;
        m.inputs[0].fill = None;
    };
    assert!(matches!(
        common::open("good", absent),
        Err(ModelError::Trial { reason: Failure::NotFinite, .. })
    ));
}

#[test]
fn a_nan_for_one_row_fails_that_row_only() {
    let mut model = common::open("nan_sometimes", |_| ()).unwrap();
    let row = |v: f64| Row { inputs: vec![Ok(v); 7] };
    let out = model.predict(&[row(50.0), row(20.0), row(50.0)]);
    assert_eq!(out[1], Outcome::Failed { reason: Failure::NotFinite });
    assert!(matches!(&out[0], Outcome::Probability(p) if p.value == 0.0707), "{:?}", out[0]);
    assert_eq!(out[0], out[2]);
}

#[test]
fn a_bare_ward_bed_is_refused_and_says_what_is_missing() {
    let mut model = common::shipped();
    let mut inputs = vec![Err(Missing::NoData); 7];
    inputs[6] = Ok(60.0);
    let json = serde_json::to_value(&model.predict(&[Row { inputs }])[0]).unwrap();
    assert_eq!(json["refused"]["reason"], "too_few_inputs");
    let first = serde_json::json!({"feature": "heart_rate", "why": "no_data"});
    assert_eq!(json["refused"]["missing_inputs"][0], first);
}

/// Copies the shipped model into a folder under another name and breaks it.
fn broken(root: &Path, name: &str, change: impl Fn(String, &Path) -> String) {
    let folder = root.join(name);
    std::fs::create_dir(&folder).unwrap();
    let (_, text, weights) = Registry::shipped()[0];
    std::fs::write(folder.join("model.onnx"), weights).unwrap();
    let text = text.replacen("name = \"sepsis_vitals\"", &format!("name = \"{name}\""), 1);
    let text = change(text, &folder);
    std::fs::write(folder.join("model.toml"), text).unwrap();
}

#[test]
fn a_folder_gives_the_good_models_and_the_reason_for_each_other() {
    let root = tempfile::tempdir().unwrap();
    broken(root.path(), "a_good", |t, _| t);
    broken(root.path(), "b_flipped", |t, f| {
        let mut weights = std::fs::read(f.join("model.onnx")).unwrap();
        weights[1000] ^= 1;
        std::fs::write(f.join("model.onnx"), weights).unwrap();
        t
    });
    broken(root.path(), "c_unit", |t, _| t.replace("\"mm[Hg]\"", "\"kPa\""));
    broken(root.path(), "d_unknown", |t, _| t.replace("\"spo2\"", "\"oxygen\""));
    broken(root.path(), "e_twice", |t, _| t.replace("e_twice", "a_good"));
    broken(root.path(), "f_gone", |t, f| {
        std::fs::remove_file(f.join("model.onnx")).unwrap();
        t
    });
    broken(root.path(), "g_link", |t, f| {
        std::fs::remove_file(f.join("model.onnx")).unwrap();
        std::os::unix::fs::symlink("../a_good/model.onnx", f.join("model.onnx")).unwrap();
        t
    });
    broken(root.path(), "h_out", |t, _| t.replace("\"model.onnx\"", "\"../a_good/model.onnx\""));

    let registry = Registry::read(root.path()).unwrap();
    assert_eq!(registry.packages().iter().map(|p| p.manifest.name.as_str()).collect::<Vec<_>>(), ["a_good"]);
    assert!(registry.find("a_good").unwrap().open(common::runtime()).is_ok());
    let told: Vec<_> = registry.refused.iter().map(|e| e.to_string()).collect();
    let expected = [
        "b_flipped/model.onnx has sha256 ",
        "inputs[3].unit is \"kPa\", expected \"mm[Hg]\"",
        "inputs[1].feature is \"oxygen\", expected the name of a channel or reading",
        "a model named a_good was read before",
        "f_gone/model.onnx: No such file",
        "g_link/model.onnx: is a symbolic link",
        "file is \"../a_good/model.onnx\", expected a plain file name",
    ];
    assert_eq!(told.len(), expected.len(), "{told:#?}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.contains(expected), "{told}: expected {expected}");
    }
}

#[test]
fn cut_weights_do_not_load() {
    let (_, text, weights) = Registry::shipped()[0];
    let cut = &weights[..weights.len() / 2];
    let text = text.replace(&common::sha256(weights), &common::sha256(cut));
    let manifest = auscult_models::manifest::Manifest::parse(&text, "cut").unwrap();
    let package = auscult_models::Package::new(manifest, cut.to_vec(), "").unwrap();
    assert!(matches!(package.open(common::runtime()), Err(ModelError::Load { .. })));
}

#[test]
fn five_hundred_damaged_files_end_in_an_answer_or_a_refusal() {
    let good = std::fs::read(common::file("onnx/nan_sometimes.onnx")).unwrap();
    let manifest = common::package("nan_sometimes", |_| ()).manifest;
    let (mut state, mut opened, mut refused) = (7_u64, 0, 0);
    let mut next = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    for _ in 0..500 {
        let mut bytes = good.clone();
        for _ in 0..=next(3) {
            let at = next(bytes.len());
            bytes[at] ^= 1 << next(8);
        }
        let mut manifest = manifest.clone();
        manifest.sha256 = common::sha256(&bytes);
        match auscult_models::Package::new(manifest, bytes, "").unwrap().open(common::runtime()) {
            Ok(_) => opened += 1,
            Err(_) => refused += 1,
        }
    }
    // Names and single weights may be damaged without harm; most damage must be seen.
    assert!(opened > 0 && refused > 300, "{opened} opened, {refused} refused");
}
