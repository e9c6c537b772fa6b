//! Hop 7: where effects go.
//! In: effects of one partition, in the order of its log. Out: records on Kafka, Parquet files, the live view.

pub mod archive;

mod parquet_table;
