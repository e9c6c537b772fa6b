//! Readers against bytes of ill will: whatever a file holds, a reader answers with a recording or an error.
//! In: arbitrary and nearly right text and bytes. Out: no panic, and frames that end.
#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::path::Path;

use auscult_datasets::read::wfdb::{annotations, header};
use auscult_datasets::read::{csv, psv};
use auscult_datasets::{Recording, frames, open};
use auscult_operators::signal::{EventTime, PatientId, SourceId};
use proptest::prelude::*;

/// Text made of the pieces that the formats are made of.
fn pieces() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[0-9]{1,19}".prop_map(|s| s),
        "-?[0-9.e]{1,8}".prop_map(|s| s),
        Just(" ".into()),
        Just("\n".into()),
        Just(",".into()),
        Just("|".into()),
        Just("a.dat 16 ".into()),
        Just("a.dat 212x2:3+4 200(5)/mV 12 0 0 0 0 II".into()),
        Just("~ ".into()),
        Just("a/2 1 250 ".into()),
        Just("Time [s],II\n".into()),
        Just("HR|ICULOS|SepsisLabel\n".into()),
        Just("NaN".into()),
        "\\PC{0,4}".prop_map(|s| s),
    ];
    prop::collection::vec(piece, 0..40).prop_map(|p| p.concat())
}

fn use_up(rec: &Recording) {
    let start = EventTime::from_seconds(0);
    for frame_seconds in [0.0, 1.0] {
        let sent = frames(rec, PatientId::new("p"), SourceId("s".into()), 1, start, frame_seconds);
        assert!(sent.take(2_000).count() > 0);
    }
}

proptest! {
    #[test]
    fn text_readers_never_panic(text in pieces()) {
        let file = Path::new("a");
        let _ = header::parse(file, &text);
        for rec in [csv::parse(file, &text), psv::parse(file, &text)].into_iter().flatten() {
            use_up(&rec);
        }
    }

    #[test]
    fn annotations_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = annotations::parse(Path::new("a.atr"), &bytes);
    }

    #[test]
    fn records_never_panic(text in pieces(), bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join("a");
        std::fs::write(folder.path().join("a.dat"), bytes).unwrap();
        let one = format!("a 1 250\n{text}");
        let two = format!("a 2 1e-5 3\na.dat 212x2 {text}\na.dat 212");
        for text in [text, one, two] {
            std::fs::write(folder.path().join("a.hea"), text).unwrap();
            if let Ok(rec) = open(&name) {
                use_up(&rec);
            }
        }
    }
}
