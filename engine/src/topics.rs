//! Every topic, in one table: what it carries, how it is keyed, which headers, how it is created.
//! In: nothing. Out: rows that topic creation, the reference page and the test of the Kafka sink all read.

/// Headers of state records.
pub const STATE_HEADERS: &[(&str, &str)] = &[(
    "auscult_instance",
    "The instance that told it: who takes the partition over from the dead ends its transaction",
)];

/// Attributes of CloudEvents 1.0 in the binary mode of its Kafka binding.
pub const CLOUD_EVENT_HEADERS: &[(&str, &str)] = &[
    ("ce_specversion", "`1.0`"),
    ("ce_id", "The `id` of the body: a consumer drops a second record of the same id"),
    ("ce_source", "`/auscult/` and the instance that told it"),
    ("ce_type", "`org.auscult.risk.` and the kind of the event, or `org.auscult.score.` and the score"),
    ("ce_time", "Event time, RFC 3339"),
    ("content-type", "`application/json`"),
];

/// Where in the input the evidence of an event stands.
pub const PLACE_HEADERS: &[(&str, &str)] = &[
    ("auscult_input_topic", "Topic of the frames"),
    ("auscult_input_partition", "Partition of the frames"),
    ("auscult_input_first_offset", "First offset of the evidence, -1 if there is none"),
    ("auscult_input_last_offset", "Last offset of the evidence, -1 if there is none"),
];

/// Why a record is not usable, and where it stood.
pub const REJECT_HEADERS: &[(&str, &str)] = &[
    ("auscult_reject_code", "Stable code, see [codes](codes.md)"),
    ("auscult_reject_detail", "What was found and what was expected; never an identifier or payload"),
    ("auscult_input_topic", "Topic of the record"),
    ("auscult_input_partition", "Partition of the record"),
    ("auscult_input_offset", "Offset of the record"),
];

/// Headers read on input.
pub const FRAME_HEADERS: &[(&str, &str)] =
    &[("content-type", "`application/json` for the JSON form of a frame; anything else means protobuf")];

/// One topic.
#[derive(Debug)]
pub struct Topic {
    /// Name without the prefix; that of the frames topic is `kafka.frames`.
    pub name: &'static str,
    /// What it carries, in one line.
    pub summary: &'static str,
    /// Whether Auscult reads it; otherwise it writes it.
    pub input: bool,
    /// Key of its records.
    pub key: &'static str,
    /// Value of its records.
    pub value: &'static str,
    /// Groups of headers.
    pub headers: &'static [&'static [(&'static str, &'static str)]],
    /// Whether it is written in the transaction that commits the offsets.
    pub transactional: bool,
    /// Whether it has `kafka.partitions` partitions when created; otherwise one.
    pub wide: bool,
    /// Settings with which it is created.
    pub settings: &'static [(&'static str, &'static str)],
}

/// Segments are small, so that a take-over reads little that has been replaced since.
const COMPACTED: &[(&str, &str)] = &[
    ("cleanup.policy", "compact"),
    ("segment.bytes", "33554432"),
    ("min.cleanable.dirty.ratio", "0.3"),
    ("max.compaction.lag.ms", "600000"),
    ("compression.type", "producer"),
];
const DAY: &[(&str, &str)] = &[("retention.ms", "86400000")];
const WEEK: &[(&str, &str)] = &[("retention.ms", "604800000")];
const MONTH: &[(&str, &str)] = &[("retention.ms", "2592000000")];

/// All topics. The first is that of the frames.
pub static TOPICS: &[Topic] = &[
    Topic {
        name: "frames",
        summary: "Input: one message of one patient over a short span of event time, and the ticks of idle partitions",
        input: true,
        key: "patient id; ticks have none",
        value: "protobuf `auscult.v1.Frame`, or its JSON form",
        headers: &[FRAME_HEADERS],
        transactional: false,
        wide: true,
        settings: WEEK,
    },
    Topic {
        name: "events",
        summary: "Risk events: one transition of one alert each",
        input: false,
        key: "patient id",
        value: "JSON, `docs/schema/risk_event.json`",
        headers: &[CLOUD_EVENT_HEADERS, PLACE_HEADERS],
        transactional: true,
        wide: true,
        settings: MONTH,
    },
    Topic {
        name: "scores",
        summary: "Score evaluations: each that says something new, and every score once in each minute of event time, \
                  at a moment that is the patient's own",
        input: false,
        key: "patient id",
        value: "JSON, `docs/schema/score_event.json`",
        headers: &[CLOUD_EVENT_HEADERS, PLACE_HEADERS],
        transactional: true,
        wide: true,
        settings: WEEK,
    },
    Topic {
        name: "features",
        summary: "Readings of the operators, one record an epoch; only with `pipeline.features = true`",
        input: false,
        key: "patient id",
        value: "JSON: `patient`, `event_time_us`, `features`",
        headers: &[&[("content-type", "`application/json`")]],
        transactional: true,
        wide: true,
        settings: DAY,
    },
    Topic {
        name: "rejects",
        summary: "Dead letters: records that were not usable, as they came",
        input: false,
        key: "as given",
        value: "as given, byte for byte",
        headers: &[REJECT_HEADERS],
        transactional: true,
        wide: true,
        settings: MONTH,
    },
    Topic {
        name: "watch",
        summary: "Alarms of `auscult watch`: instances dead, stuck, lagging or held back, partitions unowned, the \
                  broker away",
        input: false,
        key: "kind and subject of the alarm",
        value: "JSON, see [operations](../operations.md#the-watchdog)",
        headers: &[],
        transactional: false,
        wide: false,
        settings: COMPACTED,
    },
    Topic {
        name: "state",
        summary: "What a partition is taken over from: snapshots and a mark; as many partitions as frames",
        input: false,
        key: "patient id with `#0` or `#1`; `#mark`",
        value: "binary, versioned, with a checksum; only Auscult reads it",
        headers: &[STATE_HEADERS],
        transactional: true,
        wide: true,
        settings: COMPACTED,
    },
    Topic {
        name: "heartbeat",
        summary: "A sign of life of each instance every second, and one that says it leaves",
        input: false,
        key: "instance",
        value: "JSON, see [outputs](../outputs.md#heartbeat)",
        headers: &[],
        transactional: false,
        wide: false,
        settings: DAY,
    },
];
