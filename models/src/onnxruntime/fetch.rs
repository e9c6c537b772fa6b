//! The pinned ONNX Runtime: where it is kept, and how it is fetched from its Python wheel once.
//! In: the package index through `python3 -m pip`, unless forbidden. Out: a shared library whose hash was checked.
//!
//! Also compiled into the build script, so that a machine that could build can run without a network: nothing here
//! may use anything but std and sha2.

use std::fmt;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::Command;

use sha2::{Digest, Sha256};

/// The release that is fetched. Others (1.24 or newer) are used where they are found, if they keep to themselves:
/// official builds from 1.30 on (1.29 was not looked at) send telemetry from Linux too, so the pin must not move there
/// without a build that does not.
pub const VERSION: &str = "1.28.0";
/// Set to `1` to forbid fetching.
pub const FORBID: &str = "AUSCULT_NO_FETCH";
/// Path of the library inside the wheel.
const MEMBER: &str = "onnxruntime/capi/libonnxruntime.so.1.28.0";
/// What a person can do when fetching is not possible.
pub const BY_HAND: &str = "run `python3 -m pip install onnxruntime==1.28.0`, or set ORT_DYLIB_PATH to a \
                           libonnxruntime.so of version 1.24 or newer";

/// One wheel that may be fetched.
#[derive(Debug)]
pub struct Wheel {
    /// As in `std::env::consts::ARCH`.
    pub arch: &'static str,
    /// Platform tag of the wheel.
    pub platform: &'static str,
    /// sha256 of the wheel.
    pub sha256: &'static str,
    /// sha256 of the library in it.
    pub library_sha256: &'static str,
}

/// Every wheel that may be fetched: CPython 3.11 builds, whatever the machine's own Python, for only the C library is
/// used.
pub const WHEELS: &[Wheel] = &[
    Wheel {
        arch: "x86_64",
        platform: "manylinux_2_28_x86_64",
        sha256: "a166b78ee04f3a37fa1ef82034b6a3ce96d9684e582d4d30b296de83e9998bb5",
        library_sha256: "aa4079d18f4ea7a5f3a94d80cd4bbe0f2740436626622d64d793803a20381083",
    },
    Wheel {
        arch: "aarch64",
        platform: "manylinux_2_28_aarch64",
        sha256: "8d66f9ceb29909c70839e4e4fb3435c7b490050d8f162bd5f3aba4ca01ee517f",
        library_sha256: "23a37c2994bc273e1d59a4f49af6cba5bf1cfbc29f04907ec27df375aba50a7d",
    },
];

/// Why there is no fetched library.
#[derive(Debug)]
pub enum FetchError {
    /// `AUSCULT_NO_FETCH` is set.
    Forbidden,
    /// No wheel is pinned for this machine.
    Platform,
    /// Neither `XDG_CACHE_HOME` nor `HOME` says where to keep it.
    NoCache,
    /// A file could not be written or read.
    Io(PathBuf, io::Error),
    /// A command could not be started or failed.
    Command(&'static str, String),
    /// The bytes are not those that were pinned.
    Hash {
        /// What was hashed.
        what: &'static str,
        /// sha256 found.
        found: String,
        /// sha256 pinned.
        expected: &'static str,
    },
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forbidden => {
                write!(f, "fetching onnxruntime {VERSION} is forbidden by {FORBID}")
            }
            Self::Platform => write!(f, "no onnxruntime wheel is pinned for this platform"),
            Self::NoCache => {
                write!(f, "neither XDG_CACHE_HOME nor HOME is set, so there is no cache folder")
            }
            Self::Io(path, e) => {
                write!(f, "keeping onnxruntime {VERSION} in {}: {e}; {BY_HAND}", path.display())
            }
            Self::Command(what, e) => write!(f, "fetching onnxruntime {VERSION}: {what}: {e}"),
            Self::Hash { what, found, expected } => {
                write!(
                    f,
                    "{what} of onnxruntime {VERSION} has sha256 {found}, expected {expected}; {BY_HAND}"
                )
            }
        }
    }
}

impl std::error::Error for FetchError {}

/// Whether fetching is forbidden.
pub fn forbidden() -> bool {
    std::env::var_os(FORBID).is_some_and(|v| !v.is_empty() && v != "0")
}

/// The wheel for this machine.
pub fn wheel() -> Option<&'static Wheel> {
    let here = cfg!(all(target_os = "linux", target_env = "gnu"));
    WHEELS.iter().find(|w| here && w.arch == std::env::consts::ARCH)
}

/// Where the fetched library is kept, whether it is there or not.
pub fn cached() -> Option<PathBuf> {
    let set = |name| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    let root = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|h| h.join(".cache")))?;
    let file = Path::new(MEMBER).file_name()?;
    Some(root.join("auscult").join(format!("onnxruntime-{VERSION}")).join(file))
}

/// sha256 of a file, in lower-case hexadecimal.
///
/// # Errors
/// As reading the file.
pub fn sha256_of(path: &Path) -> io::Result<String> {
    let mut file = fs::File::open(path)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut buffer)?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..n]);
    }
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Fetches the pinned wheel and puts its library into the cache: written aside, checked, then renamed, so that two
/// processes that fetch at once, or one that is cut, leave either nothing or the whole file.
///
/// # Errors
/// [`FetchError`], each with what to do by hand.
pub fn fetch() -> Result<PathBuf, FetchError> {
    if forbidden() {
        return Err(FetchError::Forbidden);
    }
    let wheel = wheel().ok_or(FetchError::Platform)?;
    let target = cached().ok_or(FetchError::NoCache)?;
    let folder = target.parent().ok_or(FetchError::NoCache)?;
    fs::create_dir_all(folder).map_err(|e| FetchError::Io(folder.into(), e))?;
    let aside = Aside::new(folder)?;
    download(wheel, &aside.0)?;
    let library = unpack(wheel, &aside.0)?;
    fs::rename(&library, &target).map_err(|e| FetchError::Io(target.clone(), e))?;
    Ok(target)
}

/// A folder that is removed again, come what may.
struct Aside(PathBuf);

impl Aside {
    fn new(beside: &Path) -> Result<Self, FetchError> {
        let path = beside.join(format!(".fetch-{}", std::process::id()));
        fs::create_dir_all(&path).map_err(|e| FetchError::Io(path.clone(), e))?;
        Ok(Self(path))
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn download(wheel: &Wheel, into: &Path) -> Result<(), FetchError> {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]);
    pip.args(["--only-binary=:all:", "--no-cache-dir", "--retries", "2", "--timeout", "20"]);
    pip.args(["--implementation", "cp", "--python-version", "3.11", "--abi", "cp311"]);
    pip.args(["--platform", wheel.platform, "--dest"]).arg(into).arg(format!("onnxruntime=={VERSION}"));
    run("pip download", &mut pip)
}

/// Checks the wheel, takes the library out of it, checks that, and makes it durable.
fn unpack(wheel: &Wheel, aside: &Path) -> Result<PathBuf, FetchError> {
    let io = |e| FetchError::Io(aside.into(), e);
    let is_wheel = |p: &PathBuf| p.extension().is_some_and(|e| e == "whl");
    let entries = fs::read_dir(aside).map_err(io)?.collect::<io::Result<Vec<_>>>().map_err(io)?;
    let file = entries.into_iter().map(|e| e.path()).find(is_wheel);
    let file = file.ok_or_else(|| FetchError::Command("pip download", "no wheel came".into()))?;
    check("the wheel", &file, wheel.sha256)?;
    let script = "import sys, zipfile; zipfile.ZipFile(sys.argv[1]).extract(sys.argv[2], sys.argv[3])";
    run("unpacking", Command::new("python3").args(["-c", script]).arg(&file).arg(MEMBER).arg(aside))?;
    let library = aside.join(MEMBER);
    check("the library", &library, wheel.library_sha256)?;
    let file = fs::File::open(&library).map_err(io)?;
    // An hour back: cargo would take a file younger than the build script's start for a change, and build again.
    let hour = std::time::Duration::from_secs(3600);
    file.metadata().and_then(|m| m.modified()).and_then(|t| file.set_modified(t - hour)).map_err(io)?;
    file.sync_all().map_err(io)?;
    Ok(library)
}

/// Refuses a file whose hash is not the one pinned.
///
/// # Errors
/// [`FetchError::Hash`], or [`FetchError::Io`] if it cannot be read.
pub fn check(what: &'static str, path: &Path, expected: &'static str) -> Result<(), FetchError> {
    let found = sha256_of(path).map_err(|e| FetchError::Io(path.into(), e))?;
    if found == expected {
        return Ok(());
    }
    Err(FetchError::Hash { what, found, expected })
}

fn run(what: &'static str, command: &mut Command) -> Result<(), FetchError> {
    let out = command.output().map_err(|e| FetchError::Command(what, format!("python3: {e}")))?;
    if out.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&out.stderr);
    let last = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("no message").trim();
    Err(FetchError::Command(what, format!("{last} (is the package index reachable?)")))
}
