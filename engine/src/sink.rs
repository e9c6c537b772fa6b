//! Hop 7: where effects go.
//! In: effects of one partition, in the order of its log. Out: records on Kafka, Parquet files, JSON lines, the live
//! view.

pub mod archive;
pub mod files;
mod held;
pub mod kafka;
mod parquet_table;
mod rows;
