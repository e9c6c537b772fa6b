//! The headers that are written are those of the table of topics; no broker is needed.
//! In: one effect of each kind. Out: its record.

use std::sync::Arc;

use auscult_operators::score::SCORES;
use auscult_operators::signal::{EventTime, Frame, PatientId, SourceId, Values};

use super::*;
use crate::align::Fate;
use crate::risk::{INTENDED_USE, ScoreEvent};
use crate::topics::{TOPICS, Topic};

fn telling() -> Telling {
    Telling::new(&config::Kafka::default())
}

fn row(name: &str) -> &'static Topic {
    TOPICS.iter().find(|t| t.name == name).unwrap()
}

fn check(output: &Output, name: &str) {
    let row = row(name);
    assert_eq!(output.topic, format!("auscult.{name}"));
    let listed: Vec<&str> = row.headers.iter().flat_map(|group| *group).map(|h| h.0).collect();
    let written: Vec<&str> = output.headers.iter().map(|h| h.0).collect();
    assert_eq!(written, listed, "headers of {name}");
    assert!(row.transactional && !row.input, "{name}");
}

fn score() -> Effect {
    let time = EventTime::from_seconds(1_700_000_000);
    let event = ScoreEvent {
        id: "id".into(),
        patient: "p".into(),
        event_time_us: time.micros(),
        result: (SCORES[0].evaluate)(&Values::default(), time),
        config_hash: String::new(),
        build: String::new(),
        intended_use: INTENDED_USE.into(),
    };
    Effect::Score(Box::new(event), Evidence::default())
}

#[test]
fn headers_are_those_of_the_table() {
    let telling = telling();
    let record = Record {
        offset: 7,
        timestamp: EventTime::from_seconds(1_700_000_000),
        key: "p".into(),
        value: "?".into(),
        json: false,
    };
    let told = |effect: &Effect| telling.output(3, effect, std::slice::from_ref(&record));
    check(&told(&score()).unwrap(), "scores");
    assert_eq!(row("events").headers, row("scores").headers, "events bear the same");
    let features = Effect::Features(PatientId::new("p"), record.timestamp, vec![]);
    check(&told(&features).unwrap(), "features");
    check(&told(&Effect::State(b"p#0".to_vec(), None)).unwrap(), "state");
    let aside = told(&Effect::Aside(0, Reject { code: "not_json", detail: "x".into() })).unwrap();
    check(&aside, "rejects");
    assert_eq!(
        (aside.key.as_slice(), aside.value.as_deref().unwrap_or_default()),
        (b"p".as_slice(), b"?".as_slice())
    );
    assert!(aside.headers.contains(&("auscult_input_offset", "7".into())));
    let frame = Frame {
        patient: PatientId::new("p"),
        source: SourceId("s".into()),
        session: 0,
        sequence: 0,
        time: record.timestamp,
        waves: vec![],
        observations: vec![],
        device: None,
        commands: vec![],
    };
    assert!(told(&Effect::Frame(Arc::new(frame), Fate::Late)).is_none(), "frames go to the archive only");
}
