//! Page of the archive, from the Arrow schemas that the files are written with.
//! In: the schemas. Out: Markdown.

use arrow::datatypes::{DataType, Field};

use super::markdown::{code, head, table};
use crate::sink::archive::tables;

/// `archive.md`.
pub(super) fn page() -> String {
    let about = "Parquet, one folder a table, one folder a day of event time (UTC): \
                 `TABLE/date=YYYY-MM-DD/TOPIC-PARTITION-FIRST-LAST.parquet`, where FIRST and LAST are the offsets of \
                 the stretch of log that the file holds. A file appears whole or not at all; the same stretch gives \
                 the same name and rows after a crash. Files end once in `archive.roll_s` of the partition's time, \
                 each partition's at a moment of its own. Times are microseconds since 1970-01-01T00:00:00Z.";
    let mut out = head("Archive", about);
    for (name, schema) in tables() {
        out += &format!("## {name}\n\n");
        let row = |f: &std::sync::Arc<Field>| {
            let null = if f.is_nullable() { "yes" } else { "no" };
            vec![code(f.name()), code(&kind(f.data_type())), null.into(), column(f.name()).into()]
        };
        out += &table(&["Column", "Arrow type", "May be null", "Meaning"], schema.fields().iter().map(row));
    }
    out
}

fn kind(t: &DataType) -> String {
    match t {
        DataType::List(item) => format!("List<{}>", kind(item.data_type())),
        other => other.to_string(),
    }
}

/// What a column holds. A test asks for every column of every table.
fn column(name: &str) -> &'static str {
    match name {
        "patient" => "Pseudonymous id, as it came",
        "source" => "Device, gateway or feed",
        "session" => "Run of the source",
        "sequence" => "Number of the frame within source and session",
        "channel" => "Name in the [channel table](channels.md)",
        "unit" => "UCUM code: that of the channel",
        "rate_hz" => "Samples a second",
        "start_us" => "Event time of the first sample",
        "scale" => "value = count * scale + offset; null for values",
        "offset" => "see scale",
        "missing_count" => "The count that means that there is no sample",
        "counts" => "Raw counts, as they came; null if values came",
        "samples" => "Values, if no counts came; NaN means that there is no sample",
        "value" => "The number in the channel's unit; null means that it was looked for and not there",
        "observed_at_us" => "When it was observed",
        "quality" => "0 to 1",
        "topic" | "input_topic" => "Topic of the frames",
        "partition" | "input_partition" => "Partition of the frames",
        "record_offset" => "Offset of the frame",
        "status" => "`processed`, or `late`: after its epochs were sealed, so that no result rests on it",
        "id" => "Deterministic id",
        "event_time_us" => "Event time",
        "kind" => "Kind of the event; `score` for scores",
        "body" => "The JSON body, byte for byte as on Kafka",
        "input_first_offset" => "First offset of the evidence",
        "input_last_offset" => "Last offset of the evidence",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_is_explained() {
        for (table, schema) in tables() {
            for field in schema.fields() {
                assert!(!column(field.name()).is_empty(), "{table}.{}", field.name());
            }
        }
    }
}
