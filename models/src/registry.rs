//! The models at hand: folders with a manifest, weights and a card.
//! In: a folder of such folders, or those built in. Out: packages whose bytes have the hash that their manifest
//! states, and the reason for each that has not. Weights are read once; what was hashed is what is run.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::backend_onnx::{OnnxNetwork, Runtime};
use crate::logistic::{self, Logistic};
use crate::manifest::{Manifest, ManifestError, ModelKind};
use crate::onnxruntime::fetch::hex;
use crate::predict::{Failure, Model, Network};

/// Largest manifest or card read, in bytes.
pub const MAX_TEXT_BYTES: u64 = 256 << 10;
/// Largest weights read, in bytes.
pub const MAX_MODEL_BYTES: u64 = 64 << 20;

/// Models built into the program: name, manifest, weights, card. One line per folder of `models/zoo`.
const SHIPPED: &[(&str, &str, &[u8], &str)] = &[(
    "sepsis_vitals",
    include_str!("../zoo/sepsis_vitals/model.toml"),
    include_bytes!("../zoo/sepsis_vitals/model.onnx"),
    include_str!("../zoo/sepsis_vitals/CARD.md"),
)];

/// A model that cannot be used.
#[derive(Debug, Error)]
pub enum ModelError {
    /// Its manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// A file that cannot be read.
    #[error("{}: {source}", path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file that is too large.
    #[error("{} is larger than {limit} bytes", path.display())]
    TooLarge {
        /// Which.
        path: PathBuf,
        /// What is allowed.
        limit: u64,
    },
    /// Weights that are not those of the manifest.
    #[error(
        "{file} has sha256 {found}, expected {expected}; if the weights were meant to change, raise the version and \
         state the new hash"
    )]
    Hash {
        /// Which.
        file: String,
        /// sha256 found.
        found: String,
        /// sha256 stated.
        expected: String,
    },
    /// Two models of one name.
    #[error("{file}: a model named {name} was read before; names must differ")]
    Twice {
        /// Manifest of the second.
        file: String,
        /// The name.
        name: String,
    },
    /// The graph does not fit the manifest.
    #[error("model {name}: {what} is {found}, expected {expected}")]
    Graph {
        /// Name of the model.
        name: String,
        /// What does not fit.
        what: &'static str,
        /// As it is.
        found: String,
        /// As the manifest says.
        expected: String,
    },
    /// The graph cannot be loaded.
    #[error("model {name} cannot be loaded: {reason}")]
    Load {
        /// Name of the model.
        name: String,
        /// What the back end says.
        reason: String,
    },
    /// It gives no probability when tried.
    #[error("model {name} was tried on its reference values: {reason}")]
    Trial {
        /// Name of the model.
        name: String,
        /// What came of it.
        reason: Failure,
    },
}

/// A model that was read and checked, but not opened.
#[derive(Clone)]
pub struct Package {
    /// What it says of itself.
    pub manifest: Manifest,
    /// Its card, as Markdown.
    pub card: String,
    weights: Vec<u8>,
}

impl std::fmt::Debug for Package {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Package").field("name", &self.manifest.name).finish_non_exhaustive()
    }
}

/// What `auscult list` shows of a model.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Card<'a> {
    /// The manifest.
    #[serde(flatten)]
    pub manifest: &'a Manifest,
    /// Size of the weights in bytes.
    pub bytes: usize,
    /// The page, as Markdown.
    pub page: &'a str,
}

/// All models at hand, by name; and those that were refused.
#[derive(Debug, Default)]
pub struct Registry {
    packages: Vec<Package>,
    /// Models that cannot be used, with the reason. One bad model does not take the others away, but whoever reads
    /// a registry must tell of these.
    pub refused: Vec<ModelError>,
}

impl Registry {
    /// Names, manifests and weights built into the program.
    pub fn shipped() -> Vec<(&'static str, &'static str, &'static [u8])> {
        SHIPPED.iter().map(|s| (s.0, s.1, s.2)).collect()
    }

    /// The models built into the program.
    ///
    /// ```
    /// let registry = auscult_models::Registry::embedded();
    /// assert!(registry.refused.is_empty());
    /// assert_eq!(registry.cards()[0].manifest.name, "sepsis_vitals");
    /// ```
    pub fn embedded() -> Self {
        let mut out = Self::default();
        for (name, text, weights, card) in SHIPPED {
            let file = format!("{name}/model.toml");
            let read = Manifest::parse(text, &file).map_err(ModelError::from);
            let read = read.and_then(|m| Package::new(m, weights.to_vec(), card));
            out.add(&file, read);
        }
        out
    }

    /// The models of a folder: each subfolder that holds a `model.toml`.
    ///
    /// # Errors
    /// [`ModelError::Read`] if the folder itself cannot be read. A bad model is in `refused`.
    pub fn read(folder: &Path) -> Result<Self, ModelError> {
        let fail = |source| ModelError::Read { path: folder.into(), source };
        let entries = fs::read_dir(folder).map_err(fail)?.collect::<Result<Vec<_>, _>>().map_err(fail)?;
        let mut manifests: Vec<_> = entries.into_iter().map(|e| e.path().join("model.toml")).collect();
        manifests.retain(|m| m.is_file());
        manifests.sort();
        let mut out = Self::default();
        for path in manifests {
            out.add(&path.display().to_string(), Package::read(&path));
        }
        Ok(out)
    }

    /// Adds the models of another registry; of two with one name the first stays and the second is refused.
    pub fn extend(&mut self, other: Registry) {
        self.refused.extend(other.refused);
        for package in other.packages {
            let file = format!("{}/model.toml", package.manifest.name);
            self.add(&file, Ok(package));
        }
    }

    fn add(&mut self, file: &str, read: Result<Package, ModelError>) {
        match read {
            Err(e) => self.refused.push(e),
            Ok(p) if self.find(&p.manifest.name).is_some() => {
                self.refused.push(ModelError::Twice { file: file.into(), name: p.manifest.name });
            }
            Ok(p) => {
                let at = self.packages.partition_point(|o| o.manifest.name < p.manifest.name);
                self.packages.insert(at, p);
            }
        }
    }

    /// The model of that name.
    pub fn find(&self, name: &str) -> Option<&Package> {
        self.packages.iter().find(|p| p.manifest.name == name)
    }

    /// All models, by name.
    pub fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The cards of all models, by name.
    pub fn cards(&self) -> Vec<Card<'_>> {
        self.packages.iter().map(Package::card).collect()
    }
}

impl Package {
    /// A package of parts, if the weights have the hash that the manifest states.
    ///
    /// # Errors
    /// [`ModelError::Hash`] otherwise.
    pub fn new(manifest: Manifest, weights: Vec<u8>, card: &str) -> Result<Self, ModelError> {
        let found = hex(&Sha256::digest(&weights));
        if manifest.kind == ModelKind::Logistic {
            // Its weights are the manifest itself.
            return Ok(Self { manifest: Manifest { sha256: found, ..manifest }, card: card.into(), weights });
        }
        if found != manifest.sha256 {
            let file = format!("{}/{}", manifest.name, manifest.file);
            return Err(ModelError::Hash { file, found, expected: manifest.sha256 });
        }
        Ok(Self { manifest, card: card.into(), weights })
    }

    /// Reads the package of a manifest file. A missing card is an empty card.
    ///
    /// # Errors
    /// [`ModelError`] for anything that is not as it should be.
    pub fn read(manifest: &Path) -> Result<Self, ModelError> {
        let text = text_of(manifest)?;
        let parsed = Manifest::parse(&text, &manifest.display().to_string())?;
        let folder = manifest.parent().unwrap_or(Path::new("."));
        let weights = match parsed.kind {
            ModelKind::Onnx => bytes_of(&folder.join(&parsed.file), MAX_MODEL_BYTES)?,
            ModelKind::Logistic => text.into_bytes(),
        };
        let card = folder.join("CARD.md");
        let card = if card.is_file() { text_of(&card)? } else { String::new() };
        Self::new(parsed, weights, &card)
    }

    /// What `auscult list` shows.
    pub fn card(&self) -> Card<'_> {
        Card { manifest: &self.manifest, bytes: self.weights.len(), page: &self.card }
    }

    /// Whether it runs on ONNX Runtime.
    pub fn needs_runtime(&self) -> bool {
        self.manifest.kind == ModelKind::Onnx
    }

    /// Opens the model, on a runtime if it needs one: loads the graph, compares it with the manifest and tries it.
    ///
    /// # Errors
    /// [`ModelError`] if it does not fit, does not load, or gives no probability.
    ///
    /// ```
    /// use auscult_models::{Outcome, Predictor, Registry, Row, Runtime, Search};
    /// let runtime = Runtime::start(&Search::default())?;
    /// let registry = Registry::embedded();
    /// let mut model = registry.find("sepsis_vitals").unwrap().open(runtime)?;
    /// let inputs = [118.0, 92.0, 38.9, 92.0, 61.0, 28.0, 71.0].map(Ok).to_vec();
    /// let Outcome::Probability(p) = model.predict(&[Row { inputs }]).remove(0) else { panic!() };
    /// assert!(p.value > 0.03 && p.drivers.iter().any(|d| d.feature == "temperature"));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn open<'a>(&self, runtime: impl Into<Option<&'a Runtime>>) -> Result<Model, ModelError> {
        let (network, name): (Box<dyn Network>, String) = match (self.manifest.kind, runtime.into()) {
            (ModelKind::Logistic, _) => (Box::new(Logistic::new(&self.manifest)), logistic::RUNTIME.into()),
            (ModelKind::Onnx, Some(runtime)) => {
                (Box::new(OnnxNetwork::open(runtime, &self.manifest, &self.weights)?), runtime.name())
            }
            (ModelKind::Onnx, None) => {
                let reason = "there is no ONNX Runtime".into();
                return Err(ModelError::Load { name: self.manifest.name.clone(), reason });
            }
        };
        let trial = |reason| ModelError::Trial { name: self.manifest.name.clone(), reason };
        Model::new(self.manifest.clone(), &name, network).map_err(trial)
    }
}

/// Reads at most `limit` bytes. A symbolic link is refused: what lies in a model's folder is the model.
fn bytes_of(path: &Path, limit: u64) -> Result<Vec<u8>, ModelError> {
    let fail = |source| ModelError::Read { path: path.into(), source };
    if fs::symlink_metadata(path).map_err(fail)?.file_type().is_symlink() {
        return Err(fail(std::io::Error::other("is a symbolic link; put the file itself there")));
    }
    let mut bytes = Vec::new();
    fs::File::open(path).map_err(fail)?.take(limit + 1).read_to_end(&mut bytes).map_err(fail)?;
    if bytes.len() as u64 > limit {
        return Err(ModelError::TooLarge { path: path.into(), limit });
    }
    Ok(bytes)
}

fn text_of(path: &Path) -> Result<String, ModelError> {
    let bytes = bytes_of(path, MAX_TEXT_BYTES)?;
    let not_text = |e| ModelError::Read { path: path.into(), source: std::io::Error::other(e) };
    String::from_utf8(bytes).map_err(not_text)
}
