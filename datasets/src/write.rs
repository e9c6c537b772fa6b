//! Recordings and annotations to files: the only place in this crate that writes.
//! In: recordings, annotations. Out: WFDB records that other tools read.

pub mod wfdb;

use std::path::PathBuf;

/// Why something could not be written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The file system refused.
    #[error("{}: cannot be written: {source}", file.display())]
    File {
        /// File.
        file: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The content has no place in the format.
    #[error("{}: found {found}, expected {expected}", file.display())]
    Content {
        /// File.
        file: PathBuf,
        /// What was to be written.
        found: String,
        /// What the format can hold.
        expected: String,
    },
}
