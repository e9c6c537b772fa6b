//! What ends a command, and the exit code that says so.
//! In: failures of the outside world. Out: one message that says what was attempted, on what, what was found, and
//! what to do; never an identifier of a patient.

use std::path::PathBuf;

use rdkafka::error::KafkaError;
use thiserror::Error;

use crate::check::Faults;
use crate::journal::JournalError;
use crate::sink::archive::ArchiveError;

/// Why a command ended without having done its work.
#[derive(Debug, Error)]
pub enum RunError {
    /// The configuration cannot be used.
    #[error("{0}")]
    Config(Faults),
    /// The broker, or the client, refused.
    #[error("cannot {what}: {source}; check `kafka.brokers`, the network and `kafka.properties`")]
    Kafka {
        /// What was attempted.
        what: &'static str,
        /// Why not.
        source: KafkaError,
    },
    /// Another process took this instance's place.
    #[error(
        "another process runs as instance `{instance}`: each process of a group needs its own `kafka.instance`"
    )]
    Fenced {
        /// The instance.
        instance: String,
    },
    /// The brokers refuse the session.
    #[error(
        "the brokers refuse a session of {session_ms} ms: set `kafka.session_timeout_ms` between their \
         `group.min.session.timeout.ms` and `group.max.session.timeout.ms`"
    )]
    Session {
        /// What was asked for.
        session_ms: u64,
    },
    /// A reference to a secret leads nowhere.
    #[error("kafka.properties.{key} refers to {reference}, which is not there")]
    Secret {
        /// The key.
        key: String,
        /// The reference, never the secret.
        reference: String,
    },
    /// A topic is missing.
    #[error("topic {topic} is not there: create it, or set `kafka.create_topics = true`")]
    NoTopic {
        /// Its name.
        topic: String,
    },
    /// The archive cannot be written.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// A file cannot be read or written.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// A recording cannot be read.
    #[error("{0}")]
    Data(String),
    /// An address that must not be served.
    #[error("http.listen is {found}: without TLS and authentication only loopback addresses are served")]
    NotLoopback {
        /// What was asked for.
        found: String,
    },
    /// The HTTP server cannot start.
    #[error("cannot listen on {listen}: {source}; choose another port")]
    Listen {
        /// Address.
        listen: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The local log cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The engine dies again and again at the same place.
    #[error(
        "the last {starts} starts within {minutes} minutes ended without a goodbye, and partition {partition} has not \
         moved from offset {offset}: see what stands there and in the log of the last run; start with --force-start to \
         try again, or with another build; without it the next try is made when these starts are {minutes} minutes old"
    )]
    CrashLoop {
        /// Unclean starts.
        starts: usize,
        /// In so many minutes.
        minutes: i64,
        /// The partition that stands still.
        partition: i32,
        /// Where.
        offset: i64,
    },
    /// The watchdog was to end after a time, and something is wrong then.
    #[error("alarms ring: {alarms}; each stands on standard output")]
    Rings {
        /// How many.
        alarms: usize,
    },
    /// Whoever read standard output has gone.
    #[error("standard output is not read any more")]
    Unread,
    /// The command line asks for something that does not go together.
    #[error("{0}")]
    Usage(String),
}

impl RunError {
    /// Wraps a Kafka error with what was attempted.
    pub fn kafka(what: &'static str) -> impl Fn(KafkaError) -> Self {
        move |source| Self::Kafka { what, source }
    }
    /// Wraps an I/O error with what was attempted.
    pub fn io(what: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { what, path, source }
    }
    /// Exit code: 1 failed work, 2 usage, 65 bad data, 69 service unavailable, 78 bad configuration, 141 output unread.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Session { .. } | Self::Secret { .. } | Self::NotLoopback { .. } => 78,
            Self::Kafka { .. } | Self::NoTopic { .. } | Self::Listen { .. } | Self::CrashLoop { .. } => 69,
            Self::Data(_) | Self::Journal(JournalError::Version { .. }) => 65,
            Self::Usage(_) => 2,
            // As the shell says of a program that SIGPIPE has ended.
            Self::Unread => 141,
            Self::Fenced { .. }
            | Self::Archive(_)
            | Self::Io { .. }
            | Self::Journal(_)
            | Self::Rings { .. } => 1,
        }
    }
    /// Stable code for `--error-format json`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Config(_) => "config",
            Self::Kafka { .. } => "kafka",
            Self::Fenced { .. } => "fenced",
            Self::Session { .. } => "session",
            Self::Secret { .. } => "secret",
            Self::NoTopic { .. } => "no_topic",
            Self::Archive(_) => "archive",
            Self::Io { .. } => "io",
            Self::Data(_) => "data",
            Self::NotLoopback { .. } => "not_loopback",
            Self::Listen { .. } => "listen",
            Self::Journal(_) => "journal",
            Self::CrashLoop { .. } => "crash_loop",
            Self::Rings { .. } => "rings",
            Self::Unread => "unread",
            Self::Usage(_) => "usage",
        }
    }
}
