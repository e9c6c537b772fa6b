//! Files to recordings: the only place in this crate that opens files for reading.
//! In: a path; the reader is chosen by its ending. Out: a [`Recording`], or an error that names the file, the
//! place in it, what was found and what was expected.

pub mod csv;
pub mod psv;
pub mod wfdb;

use std::path::{Path, PathBuf};

use crate::recording::Recording;

/// The largest file that is read, in bytes: 4 GiB.
pub const MAX_FILE_BYTES: u64 = 4 << 30;

/// Why a recording could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file system refused.
    #[error("{}: cannot be read: {source}{}", file.display(), hint_text(hint))]
    Open {
        /// File.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
        /// What may help, or empty.
        hint: &'static str,
    },
    /// A line of a text file is not as it should be.
    #[error("{}:{line}: found {found}, expected {expected}{}", file.display(), hint_text(hint))]
    Line {
        /// File.
        file: PathBuf,
        /// Line, counted from 1.
        line: usize,
        /// What stands there.
        found: String,
        /// What should stand there.
        expected: String,
        /// What may help, or empty.
        hint: &'static str,
    },
    /// Bytes of a binary file are not as they should be.
    #[error("{}: byte {byte}: found {found}, expected {expected}{}", file.display(), hint_text(hint))]
    Bytes {
        /// File.
        file: PathBuf,
        /// Offset from the start of the file.
        byte: u64,
        /// What is there.
        found: String,
        /// What should be there.
        expected: String,
        /// What may help, or empty.
        hint: &'static str,
    },
    /// The samples do not add up to what the header says.
    #[error(
        "{}: signal {signal:?}: found checksum {found}, expected {expected}; \
         the file is damaged or does not belong to its header",
        file.display()
    )]
    Checksum {
        /// File of samples.
        file: PathBuf,
        /// Label of the signal.
        signal: String,
        /// Sum of the samples, 16 bits.
        found: i16,
        /// Sum by the header.
        expected: i16,
    },
    /// The file is of a sort that is not read.
    #[error("{}: found {found}, expected {expected}", file.display())]
    Unsupported {
        /// File.
        file: PathBuf,
        /// What it is.
        found: String,
        /// What is read.
        expected: &'static str,
    },
}

fn hint_text(hint: &str) -> String {
    if hint.is_empty() { String::new() } else { format!("; {hint}") }
}

/// Reads a recording, choosing by the path: `.csv`, `.psv`, and `.hea` or a record name without ending for
/// WFDB.
///
/// # Errors
/// [`ReadError`], naming the file and the place in it.
///
/// ```
/// let samples = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("samples");
/// let rec = auscult_datasets::open(&samples.join("stay.psv")).unwrap();
/// assert_eq!(rec.observations[0].channel.row().name, "heart_rate");
/// let rec = auscult_datasets::open(&samples.join("ramp212")).unwrap();
/// assert_eq!(rec.waves[0].rate.get(), 250.0);
/// ```
pub fn open(path: &Path) -> Result<Recording, ReadError> {
    let ending = path.extension().and_then(|e| e.to_str()).unwrap_or("").to_ascii_lowercase();
    match ending.as_str() {
        "csv" => csv::read(path),
        "psv" => psv::read(path),
        "hea" => wfdb::read(path),
        _ if wfdb::header_path(path).is_file() => wfdb::read(path),
        "" => Err(ReadError::Open {
            file: wfdb::header_path(path),
            source: std::io::ErrorKind::NotFound.into(),
            hint: "a path without ending is taken for a WFDB record, which has a .hea file",
        }),
        "dat" | "mat" => Err(ReadError::Unsupported {
            file: path.into(),
            found: "samples of a WFDB record".into(),
            expected: "its header: give the path of the .hea file, or the record name without ending",
        }),
        other => Err(ReadError::Unsupported {
            file: path.into(),
            found: format!("ending {other:?}"),
            expected: ".hea (WFDB), .csv or .psv",
        }),
    }
}

/// Reads a file whole, up to [`MAX_FILE_BYTES`].
fn bytes_of(file: &Path, hint: &'static str) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Open { file: file.into(), source, hint };
    let length = std::fs::metadata(file).map_err(failed)?.len();
    if length > MAX_FILE_BYTES {
        return Err(ReadError::Bytes {
            file: file.into(),
            byte: 0,
            found: format!("{length} bytes"),
            expected: format!("at most {MAX_FILE_BYTES}"),
            hint: "split the file",
        });
    }
    std::fs::read(file).map_err(failed)
}

/// Reads a text file whole; bytes outside UTF-8 (old headers are Latin-1) become replacement characters.
fn text_of(file: &Path, hint: &'static str) -> Result<String, ReadError> {
    let bytes = bytes_of(file, hint)?;
    Ok(match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(e) => String::from_utf8_lossy(e.as_bytes()).into_owned(),
    })
}

/// A file as errors name it.
#[derive(Clone, Copy, Debug)]
struct Place<'a> {
    file: &'a Path,
}

impl Place<'_> {
    fn line(self, line: usize, found: impl Into<String>, expected: impl Into<String>) -> ReadError {
        self.line_hint(line, found, expected, "")
    }
    fn line_hint(
        self,
        line: usize,
        found: impl Into<String>,
        expected: impl Into<String>,
        hint: &'static str,
    ) -> ReadError {
        ReadError::Line { file: self.file.into(), line, found: found.into(), expected: expected.into(), hint }
    }
    fn bytes(self, byte: u64, found: impl Into<String>, expected: impl Into<String>) -> ReadError {
        ReadError::Bytes {
            file: self.file.into(),
            byte,
            found: found.into(),
            expected: expected.into(),
            hint: "the file may be cut short or damaged",
        }
    }
}

/// The name of a file without folder and ending.
fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}
