//! What the tests of models share.
//! In: the shipped manifest and the small graphs of `tests/onnx`. Out: packages, opened models, and folders on disk.

#![allow(dead_code, clippy::unwrap_used, reason = "each test binary uses a part; a test may stop at once")]

use std::path::{Path, PathBuf};

use auscult_models::manifest::{Manifest, MissingPolicy};
use auscult_models::{Model, ModelError, Package, Registry, Runtime, Search};

/// ONNX Runtime itself: these tests are worth nothing without it, so its absence is a failure.
pub fn runtime() -> &'static Runtime {
    Runtime::start(&Search::default()).unwrap_or_else(|e| panic!("{e}"))
}

pub fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(name)
}

pub fn shipped() -> Model {
    Registry::embedded().find("sepsis_vitals").unwrap().open(runtime()).unwrap()
}

/// A graph of `tests/onnx` with a manifest that fits it (every missing input is filled), then changed.
pub fn package(graph: &str, change: impl Fn(&mut Manifest)) -> Package {
    let weights = std::fs::read(file("onnx").join(format!("{graph}.onnx"))).unwrap();
    let mut m = Registry::embedded().find("sepsis_vitals").unwrap().manifest.clone();
    m.name = graph.into();
    m.at_least = 0;
    for input in &mut m.inputs {
        input.missing = MissingPolicy::Fill;
        input.fill = Some(input.reference);
    }
    change(&mut m);
    m.sha256 = sha256(&weights);
    Package::new(m, weights, "").unwrap()
}

pub fn open(graph: &str, change: impl Fn(&mut Manifest)) -> Result<Model, ModelError> {
    package(graph, change).open(runtime())
}

pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    auscult_models::onnxruntime::fetch::hex(&sha2::Sha256::digest(bytes))
}
