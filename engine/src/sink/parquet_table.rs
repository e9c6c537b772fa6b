//! One Parquet file being written: aside first, under its name only when it is whole.
//! In: record batches of one schema. Out: a file that appears complete or not at all.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::Schema;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use rustix::fs::{Advice, fadvise};
use thiserror::Error;

use crate::failpoint;

/// Rows in one row group: bounds the memory of a file being written.
const ROW_GROUP_ROWS: usize = 8_192;
/// Rows and bytes in one page of a column: bound what its encoder holds.
const PAGE: (usize, usize) = (2_048, 128 << 10);
/// So many bytes are sent to the disk at once.
const LET_GO_BYTES: u64 = 1 << 20;
/// Columns that count up, or nearly: their differences are packed. That is smaller than a dictionary, and quicker.
const COUNTING: [&str; 7] = [
    "sequence",
    "start_us",
    "observed_at_us",
    "event_time_us",
    "record_offset",
    "input_first_offset",
    "input_last_offset",
];
/// Columns in which no value comes twice.
const UNIQUE: [&str; 2] = ["id", "body"];

/// A file that could not be written.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// The file system refused.
    #[error("cannot {what} {path}: {source}; free space or fix permissions, the data is still in the log")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Another process writes these files.
    #[error("{path} is locked: another process archives this partition; it has lost it, stop it if it hangs")]
    Locked {
        /// The lock.
        path: PathBuf,
    },
    /// The encoder refused.
    #[error("cannot encode {path}: {source}")]
    Encode {
        /// For which file.
        path: PathBuf,
        /// Why not.
        source: ParquetError,
    },
}

/// One file being written.
pub(super) struct Table {
    writer: ArrowWriter<File>,
    aside: PathBuf,
    /// Bytes that are on their way to the disk.
    leaving: u64,
}

/// Wraps an I/O error with what was attempted.
pub(super) fn io_error<'a>(
    what: &'static str,
    path: &'a Path,
) -> impl FnOnce(io::Error) -> ArchiveError + use<'a> {
    move |source| ArchiveError::Io { what, path: path.into(), source }
}

impl Table {
    /// Opens a file aside, in the folder where it will stand.
    pub(super) fn create(folder: &Path, name: &str, schema: Arc<Schema>) -> Result<Self, ArchiveError> {
        fs::create_dir_all(folder).map_err(io_error("create folder", folder))?;
        let aside = folder.join(format!(".{name}.tmp"));
        let create = || failpoint::io(failpoint::ARCHIVE_CREATE).and_then(|()| File::create(&aside));
        let file = create().map_err(io_error("create", &aside))?;
        let writer = ArrowWriter::try_new(file, schema, Some(properties()))
            .map_err(|source| ArchiveError::Encode { path: aside.clone(), source })?;
        Ok(Self { writer, aside, leaving: 0 })
    }

    /// Adds rows.
    pub(super) fn write(&mut self, batch: &RecordBatch) -> Result<(), ArchiveError> {
        let path = &self.aside;
        self.writer.write(batch).map_err(|source| ArchiveError::Encode { path: path.clone(), source })?;
        self.let_go();
        Ok(())
    }

    /// Sends whole row groups to the disk as they come. If the end of the file had to wait for all of it, so would all
    /// else that is written on this disk: a broker's log, and with it the alerts.
    fn let_go(&mut self) {
        let written = self.writer.bytes_written() as u64;
        if written < self.leaving + LET_GO_BYTES {
            return;
        }
        // Only advice: who does not take it writes later.
        let _ = fadvise(self.writer.inner(), self.leaving, None, Advice::DontNeed);
        self.leaving = written;
    }

    /// Ends the file and gives it its name, unless a file of that name is there: then this one says the same.
    pub(super) fn finish(self, folder: &Path, name: &str) -> Result<(), ArchiveError> {
        let Self { writer, aside, .. } = self;
        let file =
            writer.into_inner().map_err(|source| ArchiveError::Encode { path: aside.clone(), source })?;
        let sync = failpoint::io(failpoint::ARCHIVE_WRITTEN).and_then(|()| file.sync_all());
        sync.map_err(io_error("sync", &aside))?;
        let path = folder.join(name);
        if path.exists() {
            return fs::remove_file(&aside).map_err(io_error("remove", &aside));
        }
        let rename = failpoint::io(failpoint::ARCHIVE_SYNCED).and_then(|()| fs::rename(&aside, &path));
        rename.map_err(io_error("rename to", &path))?;
        failpoint::hit(failpoint::ARCHIVE_RENAMED);
        File::open(folder).and_then(|d| d.sync_all()).map_err(io_error("sync folder", folder))
    }
}

fn properties() -> WriterProperties {
    // Differences of neighbouring counts are small: delta packing gives 0.70 bytes a sample. Compressing that as well
    // would save 5 % and cost more time than all the rest. Least and greatest of a row group are kept where readers
    // leave row groups out by them, for times and offsets: each group holds many patients and all channels.
    let counts = ColumnPath::new(vec!["counts".into(), "list".into(), "item".into()]);
    let samples = ColumnPath::new(vec!["samples".into(), "list".into(), "item".into()]);
    let body = ColumnPath::from("body");
    // Each column of each open file keeps a compressor: one of zstd takes 160 kB, one of Snappy next to nothing.
    let mut properties = WriterProperties::builder()
        .set_created_by(crate::plan::BUILD.into())
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_max_row_group_row_count(Some(ROW_GROUP_ROWS))
        .set_data_page_row_count_limit(PAGE.0)
        .set_data_page_size_limit(PAGE.1)
        .set_column_dictionary_enabled(counts.clone(), false)
        .set_column_compression(counts.clone(), Compression::UNCOMPRESSED)
        .set_column_encoding(counts, Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled(samples, false)
        .set_column_compression(body, Compression::ZSTD(ZstdLevel::default()));
    for column in COUNTING.map(ColumnPath::from) {
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_statistics_enabled(column.clone(), EnabledStatistics::Chunk)
            .set_column_compression(column.clone(), Compression::UNCOMPRESSED)
            .set_column_encoding(column, Encoding::DELTA_BINARY_PACKED);
    }
    for column in UNIQUE.map(ColumnPath::from) {
        properties = properties.set_column_dictionary_enabled(column, false);
    }
    properties.build()
}
