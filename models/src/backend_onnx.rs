//! The ONNX back end: the only file that knows ONNX Runtime and the `ort` crate.
//! In: the bytes of a graph, rows of float32 columns. Out: one number a row, or why there is none.
//!
//! One thread, fixed shapes, basic graph optimisation only: the same row gives the same bits on one machine.

use std::path::PathBuf;
use std::sync::{Mutex, OnceLock, PoisonError};

use ort::environment::Environment;
use ort::ep::CPU;
use ort::logging::LogLevel;
use ort::memory::Allocator;
use ort::session::{
    HasSelectedOutputs, OutputSelector, RunOptions, Session, builder::GraphOptimizationLevel,
};
use ort::value::{Outlet, Tensor, TensorElementType};
use serde::Serialize;
use thiserror::Error;

use crate::graph_file;
use crate::manifest::Manifest;
use crate::onnxruntime::{self, FindError, Origin, Search, fetch};
use crate::predict::{Failure, Network};
use crate::registry::ModelError;

/// The shared library that is loaded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Library {
    /// Where it lies.
    pub path: PathBuf,
    /// Where it was looked for.
    pub origin: Origin,
    /// Its version, from its own symbol table.
    pub version: String,
    /// sha256 of the file.
    pub sha256: String,
    /// What the running library says of its build.
    pub build: String,
}

/// Why ONNX Runtime could not be started.
#[derive(Debug, Error)]
pub enum RuntimeError {
    /// A library that a person named cannot be used.
    #[error("ONNX Runtime: {0}")]
    Named(String),
    /// No library was found; everything that was tried.
    #[error("no ONNX Runtime on this machine: {}; {}", tried.join("; "), fetch::BY_HAND)]
    NotFound {
        /// What was found and why it was of no use.
        tried: Vec<String>,
    },
    /// Another library runs in this process already.
    #[error("ONNX Runtime runs from {running} already, {asked} cannot be used besides")]
    Running {
        /// The one that runs.
        running: String,
        /// The one asked for.
        asked: String,
    },
}

/// ONNX Runtime, started. There is one per process, and it stays to the end.
#[derive(Debug)]
pub struct Runtime {
    environment: Environment,
    library: Library,
}

static RUNTIME: OnceLock<Runtime> = OnceLock::new();
/// Held while starting, so that two threads do not start two.
static STARTING: Mutex<()> = Mutex::new(());

impl Runtime {
    /// Starts ONNX Runtime from the first library that can be used, or gives the one that runs.
    ///
    /// # Errors
    /// [`RuntimeError`], with what to do by hand.
    pub fn start(search: &Search) -> Result<&'static Runtime, RuntimeError> {
        let _guard = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = RUNTIME.get() {
            return runtime.fits(search);
        }
        let mut tried = Vec::new();
        for origin in Origin::ALL {
            let found = search.at(origin).map_err(|e: FindError| e.to_string());
            match found.and_then(|path| path.map(|p| load(p, origin)).transpose()) {
                Ok(None) => {}
                Ok(Some(runtime)) => return Ok(RUNTIME.get_or_init(|| runtime)),
                Err(e) if origin.is_choice() => return Err(RuntimeError::Named(e)),
                Err(e) => tried.push(e),
            }
        }
        Err(RuntimeError::NotFound { tried })
    }

    fn fits(&'static self, search: &Search) -> Result<&'static Runtime, RuntimeError> {
        let asked = search.at(Origin::Configured).map_err(|e| RuntimeError::Named(e.to_string()))?;
        match asked {
            Some(path) if path != self.library.path => Err(RuntimeError::Running {
                running: self.library.path.display().to_string(),
                asked: path.display().to_string(),
            }),
            _ => Ok(self),
        }
    }

    /// The library that is loaded.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// As it stands in events: `onnxruntime 1.28.0`.
    pub fn name(&self) -> String {
        format!("onnxruntime {}", self.library.version)
    }
}

fn load(path: PathBuf, origin: Origin) -> Result<Runtime, String> {
    // Resolved, so that what is hashed is what is loaded.
    let path = path.canonicalize().map_err(|e| format!("{}: {e}", path.display()))?;
    let bytes = std::fs::read(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    // Known to carry none, so not searched: these are the bytes that were pinned.
    let pinned = matches!(origin, Origin::Cache | Origin::Fetched);
    if !pinned && !onnxruntime::is_quiet(&bytes, onnxruntime::telemetry_is_off()) {
        let (path, switch) = (path.display(), onnxruntime::NO_TELEMETRY);
        return Err(format!(
            "{path} sends telemetry to its maker; start with {switch}=1, or name another build"
        ));
    }
    let sha256 = fetch::hex(&<sha2::Sha256 as sha2::Digest>::digest(&bytes));
    let version = version(&bytes).unwrap_or_else(|| "of unknown version".into());
    let builder = ort::init_from(&path).map_err(|e| e.to_string())?;
    let environment =
        builder.with_name("auscult").with_telemetry(false).build().map_err(|e| e.to_string())?;
    // What goes wrong comes back as an error; the library's own lines on stderr would only double it.
    environment.set_log_level(LogLevel::Fatal);
    let build = ort::info().trim_start_matches("ORT Build Info: ").to_owned();
    Ok(Runtime { environment, library: Library { path, origin, version, sha256, build } })
}

/// The version in the library's symbol versions (`VERS_1.28.0`), which every release since 2019 carries.
fn version(library: &[u8]) -> Option<String> {
    let mark = b"\0VERS_";
    let at = library.windows(mark.len()).position(|w| w == mark)? + mark.len();
    let end = library.get(at..)?.iter().position(|b| *b == 0)?;
    let text = std::str::from_utf8(&library[at..at + end]).ok()?;
    let numbers = text.split('.').filter(|p| p.parse::<u32>().is_ok()).count();
    (numbers == 3 && text.split('.').count() == 3).then(|| text.to_owned())
}

/// A graph that is loaded and fits its manifest.
pub struct OnnxNetwork {
    session: Session,
    output: String,
    index: usize,
    one: Tensors,
    /// For as many rows as are asked at once, if the graph takes any number.
    several: Option<Tensors>,
}

impl std::fmt::Debug for OnnxNetwork {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OnnxNetwork").field("session", &self.session).finish_non_exhaustive()
    }
}

/// Input and output of a fixed number of rows. They lie in tensors made once: that is quick, and the `ort` crate
/// (2.0.0-rc.14) loses some 300 bytes for each output that it lets ONNX Runtime make.
struct Tensors {
    rows: usize,
    input: Tensor<f32>,
    /// Asks for the one output, into its tensor.
    options: RunOptions<HasSelectedOutputs>,
}

impl OnnxNetwork {
    /// Loads a graph from memory (never from a path: what was hashed is what runs) and compares it with the manifest.
    ///
    /// # Errors
    /// [`ModelError::Load`] or [`ModelError::Graph`].
    pub fn open(runtime: &Runtime, manifest: &Manifest, bytes: &[u8]) -> Result<Self, ModelError> {
        let fail = |reason: String| ModelError::Load { name: manifest.name.clone(), reason };
        graph_file::inspect(bytes).map_err(|e| fail(e.to_string()))?;
        let session = session(runtime, bytes).map_err(|e| fail(e.to_string()))?;
        let answer = compare(&session, manifest)?;
        let place = manifest.output.as_ref();
        let (output, index) = place.map_or((String::new(), 0), |o| (o.name.clone(), o.index));
        let any_rows = session.inputs().first().and_then(shape).is_some_and(|s| s.first() == Some(&-1));
        let tensors =
            |rows| Tensors::new(rows, manifest.columns(), &output, &answer).map_err(|e| fail(e.to_string()));
        let one = tensors(1)?;
        let several = any_rows.then(|| tensors(1 + manifest.inputs.len())).transpose()?;
        Ok(Self { session, one, several, output, index })
    }
}

impl Tensors {
    /// For so many rows, of a graph that answers one of them in this shape.
    fn new(rows: usize, columns: usize, output: &str, answer: &[i64]) -> ort::Result<Self> {
        let input = Tensor::from_array(([rows, columns], vec![f32::NAN; rows * columns]))?;
        let mut shape = answer.to_vec();
        shape[0] = rows as i64;
        let mut into = Tensor::<f32>::new(&Allocator::default(), shape)?;
        into.extract_tensor_mut().1.fill(f32::NAN);
        let only = OutputSelector::no_default().with(output).preallocate(output, into);
        Ok(Self { rows, input, options: RunOptions::new()?.with_outputs(only) })
    }

    /// Runs the graph on these rows.
    fn run(
        &mut self,
        session: &mut Session,
        (output, index): (&str, usize),
        columns: &[f64],
        out: &mut [f64],
    ) -> Result<(), Failure> {
        let fail = |e: ort::Error| Failure::Runtime(e.to_string());
        for (to, from) in self.input.extract_tensor_mut().1.iter_mut().zip(columns) {
            *to = *from as f32;
        }
        let inputs = ort::inputs![&self.input];
        let mut outputs = session.run_with_options(inputs, &self.options).map_err(fail)?;
        let answer = outputs.get_mut(output).ok_or_else(|| Failure::Runtime("no output".into()))?;
        let (shape, data) = answer.try_extract_tensor_mut::<f32>().map_err(fail)?;
        let each = data.len() / self.rows;
        if each <= index {
            return Err(Failure::Shape { found: shape.to_vec(), index });
        }
        for (out, line) in out.iter_mut().zip(data.chunks(each)) {
            *out = f64::from(line[index]);
        }
        // What one row was answered never stands as the answer of another.
        data.fill(f32::NAN);
        Ok(())
    }
}

fn session(runtime: &Runtime, bytes: &[u8]) -> ort::Result<Session> {
    Session::builder(&runtime.environment)?
        .with_intra_threads(1)?
        .with_inter_threads(1)?
        .with_parallel_execution(false)?
        // Tensors are made once: an arena of a megabyte for each session would stand empty.
        .with_execution_providers([CPU::default().with_arena_allocator(false).build()])?
        .with_memory_pattern(false)?
        .with_deterministic_compute(true)?
        .with_optimization_level(GraphOptimizationLevel::Level1)?
        .commit_from_memory(bytes)
}

/// Refuses a graph that is not what the manifest says. Gives the shape of the output for one row.
fn compare(session: &Session, manifest: &Manifest) -> Result<Vec<i64>, ModelError> {
    let differ = |what, found: String, expected: String| -> Result<Vec<i64>, ModelError> {
        Err(ModelError::Graph { name: manifest.name.clone(), what, found, expected })
    };
    let opset = session.opset_for_domain("").map_or("none".into(), |v| v.to_string());
    if opset != manifest.opset.to_string() {
        return differ("the operator set", opset, manifest.opset.to_string());
    }
    let [input] = session.inputs() else {
        return differ("the number of inputs", session.inputs().len().to_string(), "1".into());
    };
    let columns = manifest.columns() as i64;
    if !matches!(shape(input), Some([-1 | 1, n]) if *n == columns) {
        return differ("the input", describe(input), format!("float32 [any or 1, {columns}]"));
    }
    let (name, index) = manifest.output.as_ref().map_or(("", 0), |o| (o.name.as_str(), o.index));
    let Some(output) = session.outputs().iter().find(|o| o.name() == name) else {
        let names: Vec<_> = session.outputs().iter().map(|o| o.name()).collect();
        return differ("the output", format!("{names:?}"), format!("{name:?}"));
    };
    match shape(output) {
        Some([-1 | 1, n]) if *n > index as i64 => Ok(vec![1, *n]),
        Some([-1 | 1]) if index == 0 => Ok(vec![1]),
        _ => differ("the output", describe(output), format!("float32 [any or 1, more than {index}]")),
    }
}

/// Shape of a float32 tensor; -1 is open.
fn shape(end: &Outlet) -> Option<&[i64]> {
    let float = end.dtype().tensor_type() == Some(TensorElementType::Float32);
    end.dtype().tensor_shape().filter(|_| float).map(|s| &**s)
}

fn describe(end: &Outlet) -> String {
    match (end.dtype().tensor_type(), end.dtype().tensor_shape()) {
        (Some(of), Some(shape)) => format!("{of:?} {:?}", &**shape),
        _ => "not a tensor".into(),
    }
}

impl Network for OnnxNetwork {
    fn run(&mut self, columns: &[f64]) -> Result<f64, Failure> {
        let mut out = [f64::NAN];
        let Self { session, one, output, index, .. } = self;
        one.run(session, (output, *index), columns, &mut out)?;
        Ok(out[0])
    }

    fn run_rows(&mut self, columns: &[f64], out: &mut [f64]) -> Result<(), Failure> {
        let Self { session, several, output, index, .. } = self;
        if let Some(several) = several.as_mut().filter(|s| s.rows == out.len()) {
            return several.run(session, (output, *index), columns, out);
        }
        let width = (columns.len() / out.len().max(1)).max(1);
        columns.chunks(width).zip(out).try_for_each(|(row, out)| self.run(row).map(|p| *out = p))
    }
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn the_version_is_read_from_the_symbol_versions() {
        let of = |bytes: &[u8]| version(bytes);
        assert_eq!(of(b"xx\0VERS_1.28.0\0yy").as_deref(), Some("1.28.0"));
        assert_eq!(of(b"xx\0VERS_1.31\0yy"), None);
        assert_eq!(of(b"xx\0VERS_1.28.0"), None);
        assert_eq!(of(b""), None);
    }
}
