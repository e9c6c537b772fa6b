//! Finds the ONNX Runtime shared library of this machine.
//! In: configuration, environment, the places where it usually lies. Out: candidate files in order, with where each
//! came from. Loading is left to the back end.

pub mod fetch;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Serialize;
use thiserror::Error;

use self::fetch::FetchError;

/// Builds that carry telemetry send nothing and write no device identity while this variable is `1`. It has to be set
/// before the process starts.
pub const NO_TELEMETRY: &str = "ORT_DISABLE_TELEMETRY";
/// What betrays a build that carries telemetry: its switch, its client, the host it reports to.
const TELEMETRY_MARKS: [&[u8]; 3] =
    [b"ORT_DISABLE_TELEMETRY", b"Applications6Events", b"events.data.microsoft.com"];

/// The environment variable that names a library.
pub const DYLIB_PATH: &str = "ORT_DYLIB_PATH";

/// Where a library was found. Candidates are tried in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// Named in the configuration.
    Configured,
    /// Named by `ORT_DYLIB_PATH`.
    Environment,
    /// Beside the executable, or in `lib` beside it.
    BesideExecutable,
    /// In a folder that the system's loader searches.
    LoaderPath,
    /// In the `onnxruntime` package of the machine's Python.
    Python,
    /// Fetched before, hash checked.
    Cache,
    /// Fetched now, hash checked.
    Fetched,
}

impl Origin {
    /// All, in the order in which they are tried.
    pub const ALL: [Origin; 7] = [
        Origin::Configured,
        Origin::Environment,
        Origin::BesideExecutable,
        Origin::LoaderPath,
        Origin::Python,
        Origin::Cache,
        Origin::Fetched,
    ];
    /// Whether a person named this library: then it is that one or an error, never the next candidate.
    pub const fn is_choice(self) -> bool {
        matches!(self, Origin::Configured | Origin::Environment)
    }
}

/// What the search may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Search {
    /// A library that the configuration names: used, or an error.
    pub path: Option<PathBuf>,
    /// Forbids fetching, as `AUSCULT_NO_FETCH=1` does.
    pub no_fetch: bool,
}

/// A place that should have held a library but cannot be used.
#[derive(Debug, Error)]
pub enum FindError {
    /// A named file is not there.
    #[error("{} named by {} cannot be opened: {}", path.display(), by, source)]
    Named {
        /// The file.
        path: PathBuf,
        /// Who named it.
        by: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// The cache or the fetch.
    #[error(transparent)]
    Fetch(#[from] FetchError),
}

impl Search {
    /// The library at one place, if there is one.
    ///
    /// # Errors
    /// [`FindError`] if something is there, or was named, that cannot be used.
    ///
    /// ```
    /// use auscult_models::onnxruntime::{Origin, Search};
    /// let search = Search { path: Some("no/such/library.so".into()), no_fetch: true };
    /// assert!(search.at(Origin::Configured).unwrap_err().to_string().contains("no/such/library.so"));
    /// assert!(search.at(Origin::Fetched).unwrap_err().to_string().contains("forbidden"));
    /// ```
    pub fn at(&self, origin: Origin) -> Result<Option<PathBuf>, FindError> {
        match origin {
            Origin::Configured => named(self.path.clone(), "the configuration"),
            Origin::Environment => named(variable(DYLIB_PATH).map(PathBuf::from), DYLIB_PATH),
            Origin::BesideExecutable => Ok(beside_executable()),
            Origin::LoaderPath => Ok(loader_folders().iter().find_map(|f| library_in(f))),
            Origin::Python => Ok(python_folder().and_then(|f| library_in(&f))),
            Origin::Cache => cache(),
            Origin::Fetched if self.no_fetch => Err(FetchError::Forbidden.into()),
            Origin::Fetched => Ok(Some(fetch::fetch()?)),
        }
    }
}

/// Whether a library may be loaded: it carries no telemetry, or that is switched off for this process. What runs
/// beside patients reports to nobody.
///
/// ```
/// use auscult_models::onnxruntime::is_quiet;
/// assert!(is_quiet(b"...OrtGetApiBase...", false));
/// assert!(!is_quiet(b"...ORT_DISABLE_TELEMETRY...", false));
/// assert!(is_quiet(b"...ORT_DISABLE_TELEMETRY...", true));
/// ```
pub fn is_quiet(library: &[u8], switched_off: bool) -> bool {
    switched_off || !TELEMETRY_MARKS.iter().any(|mark| library.windows(mark.len()).any(|w| w == *mark))
}

/// Whether `ORT_DISABLE_TELEMETRY=1` was given to this process.
pub fn telemetry_is_off() -> bool {
    variable(NO_TELEMETRY).is_some_and(|v| v == "1")
}

fn variable(name: &str) -> Option<std::ffi::OsString> {
    std::env::var_os(name).filter(|v| !v.is_empty())
}

fn named(path: Option<PathBuf>, by: &'static str) -> Result<Option<PathBuf>, FindError> {
    let Some(path) = path else { return Ok(None) };
    // Absolute, because a relative path means something else to the loader than to a reader of the configuration.
    match path.canonicalize() {
        Ok(found) => Ok(Some(found)),
        Err(source) => Err(FindError::Named { path, by, source }),
    }
}

fn beside_executable() -> Option<PathBuf> {
    let folder = std::env::current_exe().ok()?.parent()?.to_path_buf();
    library_in(&folder).or_else(|| library_in(&folder.join("lib")))
}

/// The library in a folder: the plain name first, then the highest version.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let names = std::fs::read_dir(folder).ok()?.filter_map(|e| e.ok().map(|e| e.file_name()));
    let plain = "libonnxruntime.so";
    let fits = |n: &OsStr| {
        n.to_str().is_some_and(|n| {
            n == plain || n == "libonnxruntime.dylib" || n.starts_with("libonnxruntime.so.1")
        })
    };
    let mut found: Vec<_> = names.filter(|n| fits(n)).collect();
    found.sort_by_key(|n| (n != plain, std::cmp::Reverse(version_key(&n.to_string_lossy()))));
    found.first().map(|n| folder.join(n))
}

fn version_key(name: &str) -> Vec<u32> {
    name.split('.').filter_map(|p| p.parse().ok()).collect()
}

/// The folders that the dynamic loader of this system searches, as far as files say.
fn loader_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> =
        variable("LD_LIBRARY_PATH").map(|v| std::env::split_paths(&v).collect()).unwrap_or_default();
    let mut files = vec![PathBuf::from("/etc/ld.so.conf")];
    if let Ok(more) = std::fs::read_dir("/etc/ld.so.conf.d") {
        let mut more: Vec<_> = more.filter_map(|e| e.ok().map(|e| e.path())).collect();
        more.sort();
        files.extend(more);
    }
    for file in files {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        folders.extend(text.lines().map(str::trim).filter(|l| l.starts_with('/')).map(PathBuf::from));
    }
    folders.extend(["/lib64", "/usr/lib64", "/lib", "/usr/lib", "/usr/local/lib"].map(PathBuf::from));
    folders.retain(|f| f.is_absolute());
    folders
}

/// Where the machine's Python keeps the library, without importing the package (which takes a second).
fn python_folder() -> Option<PathBuf> {
    let script = "import importlib.util as u; s = u.find_spec('onnxruntime'); \
                  print(s.submodule_search_locations[0] if s else '')";
    let out = Command::new("python3").args(["-I", "-c", script]).output().ok()?;
    let said = String::from_utf8(out.stdout).ok()?;
    let folder = said.trim();
    (out.status.success() && !folder.is_empty()).then(|| Path::new(folder).join("capi"))
}

fn cache() -> Result<Option<PathBuf>, FindError> {
    let (Some(path), Some(wheel)) = (fetch::cached(), fetch::wheel()) else { return Ok(None) };
    if !path.is_file() {
        return Ok(None);
    }
    fetch::check("the cached library", &path, wheel.library_sha256)?;
    Ok(Some(path))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may stop at once")]
mod tests {
    use super::*;

    #[test]
    fn the_plain_name_comes_first_and_then_the_highest_version() {
        let folder = tempfile::tempdir().unwrap();
        let touch = |name: &str| std::fs::write(folder.path().join(name), "").unwrap();
        assert_eq!(library_in(folder.path()), None);
        touch("libonnxruntime_providers_shared.so");
        assert_eq!(library_in(folder.path()), None);
        touch("libonnxruntime.so.1.9.0");
        touch("libonnxruntime.so.1.31.1");
        assert_eq!(library_in(folder.path()), Some(folder.path().join("libonnxruntime.so.1.31.1")));
        touch("libonnxruntime.so");
        assert_eq!(library_in(folder.path()), Some(folder.path().join("libonnxruntime.so")));
    }

    #[test]
    fn a_wrong_hash_is_named_with_both_hashes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x");
        std::fs::write(&path, b"abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert!(fetch::check("the wheel", &path, abc).is_ok());
        let message = fetch::check("the wheel", &path, "00").unwrap_err().to_string();
        assert!(message.contains(abc) && message.contains("expected 00"), "{message}");
    }
}
