//! Models: from what is known of a patient to a probability, or to the reason why there is none.
//!
//! Reading order: [`manifest`] (what a model says of itself), [`registry`] (which models there are), [`features`]
//! (readings to rows), [`predict`] (rows to outcomes), [`backend_onnx`] (the only file that knows ONNX Runtime),
//! [`onnxruntime`] (where its library comes from), [`logistic`] (weights that stand in the manifest).
//!
//! Nothing here knows Kafka, async or a patient's name. Files are read when a registry is read; after that, an
//! outcome is a function of its row.
//!
//! ```
//! use auscult_models::{Outcome, Predictor, Registry, Row, Runtime, Search};
//! use auscult_operators::signal::Missing;
//!
//! let runtime = Runtime::start(&Search::default())?;
//! let registry = Registry::embedded();
//! let mut model = registry.find("sepsis_vitals").unwrap().open(runtime)?;
//! assert!(model.identity().runtime.starts_with("onnxruntime 1."));
//!
//! // Heart rate, SpO2, temperature, systolic and mean pressure, respiration, age: no temperature is known.
//! let row = Row { inputs: vec![Ok(112.0), Ok(94.0), Err(Missing::NoData), Ok(101.0), Ok(70.0), Ok(24.0), Ok(70.0)] };
//! let Outcome::Probability(p) = model.predict(&[row]).remove(0) else { panic!("refused") };
//! assert!(p.value > 0.0 && p.value < 1.0);
//! assert_eq!(p.missing_inputs[0].feature, "temperature");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod backend_onnx;
pub mod features;
pub mod graph_file;
pub mod logistic;
pub mod manifest;
pub mod onnxruntime;
pub mod predict;
pub mod registry;

pub use backend_onnx::{Library, Runtime, RuntimeError};
pub use onnxruntime::Search;
pub use predict::{Driver, Model, ModelIdentity, Outcome, Predictor, Probability, Row};
pub use registry::{Card, ModelError, Package, Registry};
