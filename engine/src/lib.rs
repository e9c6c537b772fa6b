//! Auscult: a dataflow engine for physiological streams. Decision support for research and integration; not a
//! medical device.
//!
//! A record visits the hops in this order, each once:
//!
//! 1. [`source`]: bytes with their place in the log (I/O)
//! 2. [`decode`]: bytes to a frame, or a reject
//! 3. [`align`]: frames to sealed epochs, in event time
//! 4. `compute`: conditioning in lanes, operators, scores
//! 5. [`infer`]: the models
//! 6. [`risk`]: rules and the alert state machine
//! 7. [`sink`]: Kafka, Parquet, the live view (I/O)
//!
//! [`worker::Worker::step`] is hops 2 to 6 for one partition: a pure function of its log.

pub mod source;

pub mod decode;

pub mod align;

mod compute;

pub mod infer;

pub mod risk;

pub mod sink;

pub mod effects;
pub mod patient;
pub mod worker;

pub mod accounts;
pub mod check;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod describe;
pub mod error;
pub mod failpoint;
pub mod guard;
pub mod heartbeat;
pub mod http;
pub mod journal;
pub mod limits;
pub mod live;
pub mod local;
pub mod metrics;
pub mod notify;
pub mod plan;
pub mod run;
pub mod shard;
pub mod shared;
pub mod state;
pub mod topics;
pub mod watch;
