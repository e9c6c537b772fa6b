//! Messages that a decent sender never sends, and what must become of each.
//! In: a time of the log. Out: records for the frames topic, with the code under which each must be put aside, and late
//! and doubled frames with their fate.

use std::collections::BTreeMap;

use auscult::decode::encode;
use auscult_operators::signal::frame::{Observation, Samples, Wave};
use auscult_operators::signal::{ChannelId, EventTime, Frame, Hertz, PatientId, SourceId, Span};

use crate::kafka::Record;

/// Records, and how many of them must be put aside under each code.
#[derive(Debug, Default)]
pub struct Hostile {
    /// To be produced in this order.
    pub records: Vec<Record>,
    /// Code of the reject to count.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Frames that come after their epochs were sealed.
    pub late: u64,
    /// Frames that come twice.
    pub duplicate: u64,
    /// Frames that must be taken in all the same.
    pub processed: u64,
    /// Every id that occurs in them.
    pub patients: Vec<String>,
}

fn frame(patient: &str, sequence: u64, time: EventTime) -> Frame {
    let counts = (0..250).map(|i| (i % 50) as i16).collect();
    let samples = Samples::Counts { counts, scale: 0.005, offset: 0.0, missing: None };
    let channel = ChannelId::named("ecg_ii").expect("a channel");
    Frame {
        patient: PatientId::new(patient),
        source: SourceId("hostile".into()),
        session: 1,
        sequence,
        time,
        waves: vec![Wave { channel, rate: Hertz(250.0), start: time, samples }],
        observations: vec![],
        device: None,
        commands: vec![],
    }
}

fn record(key: &str, value: impl Into<Vec<u8>>, time: EventTime) -> Record {
    Record { timestamp_ms: Some(time.millis()), ..Record::new(key, value) }
}

impl Hostile {
    /// One of each kind, `times` times over, at `time` of the log.
    pub fn new(time: EventTime, times: usize) -> Self {
        let mut all = Self::default();
        (0..times).for_each(|n| all.rejects(n, time));
        all.fates(time);
        all
    }

    fn reject(&mut self, code: &'static str, record: Record) {
        *self.rejected.entry(code).or_default() += 1;
        self.records.push(record);
    }

    fn rejects(&mut self, n: usize, time: EventTime) {
        let id = format!("hostile-{n:03}");
        let whole = encode(&frame(&id, 0, time));
        let json = |body: String| Record {
            headers: vec![("content-type".into(), b"application/json".to_vec())],
            ..record(&id, body, time)
        };
        let wave = |label: &str, unit: &str, rate: f64| {
            let us = time.micros();
            json(format!(
                r#"{{"patient":"{id}","source":"s","session":1,"time_us":{us},"waves":[{{"label":"{label}","unit":"{unit}",
                "rate_hz":{rate},"counts":[1,2,3],"scale":0.005}}]}}"#
            ))
        };
        let nan = Observation {
            channel: ChannelId::named("heart_rate").expect("a channel"),
            observed_at: time,
            value: Some(f64::NAN),
            quality: 1.0,
        };
        let nan = encode(&Frame { observations: vec![nan], ..frame(&id, 0, time) });
        self.reject("not_protobuf", record(&id, *b"\xff\xff\xff\xff no frame at all", time));
        self.reject("not_protobuf", record(&id, &whole[..whole.len() - 7], time));
        self.reject("key_mismatch", record("somebody-else", whole.clone(), time));
        self.reject("key_mismatch", record(&"k".repeat(600_000), whole.clone(), time));
        self.reject("unknown_channel", wave("no-such-lead", "mV", 250.0));
        self.reject("unit_mismatch", wave("ecg_ii", "kg", 250.0));
        self.reject("bad_rate", wave("ecg_ii", "mV", -1.0));
        self.reject("not_json", json(format!(r#"{{"patient":"{id}","tiem_us":1}}"#)));
        self.reject("bad_value", record(&id, nan, time));
        self.reject("clock_ahead", record(&id, whole, time - Span::from_seconds(3600.0)));
        self.reject("no_patient", record(&id, Vec::new(), time));
        // Two thirds of a byte of entropy each, so that lz4 does not hide the size from the topic's limit.
        let noise: Vec<u8> =
            (0..1_048_577_u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 19) as u8).collect();
        self.reject("frame_too_large", record(&id, noise, time));
        self.patients.push(id);
    }

    /// Ten seconds of one patient: two neighbours swapped, one of them again, one long after its time.
    fn fates(&mut self, time: EventTime) {
        let id = "late-and-doubled";
        let at = |n: u64| time + Span::from_seconds(n as f64);
        let mut push = |sequence: u64, second: u64| {
            self.records.push(record(id, encode(&frame(id, sequence, at(second))), at(second + 1)));
        };
        for second in [0, 1, 2, 4, 3, 5, 6, 7, 8, 9] {
            push(second, second);
        }
        push(4, 4);
        push(10, 2);
        (self.processed, self.duplicate, self.late) = (10, 1, 1);
        self.patients.push(id.into());
    }

    /// How many must be put aside.
    pub fn rejects_total(&self) -> u64 {
        self.rejected.values().sum()
    }
}
