//! The page to read first: one second of one patient through the hops, printed at each.
//! In: a frame of a pulse that is far too fast. Out: record, frame, epoch, values and score, alert, as text.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test may stop, and its tables are wide")]

mod common;

use std::sync::Arc;

use auscult::align::{Epochs, Timeline};
use auscult::decode::{Decoded, decode};
use auscult::effects::Effect;
use auscult::source::recording;
use auscult::worker::{Event, Worker};
use auscult_operators::signal::frame::{DeviceStatus, Samples, Wave};
use auscult_operators::signal::{ChannelId, Frame, Hertz, Span};
use common::{T0, config, frame, number, plan_of, t};

/// The second `n` of a patient: four samples of ECG, and a heart rate of 180.
fn second(n: u64) -> Frame {
    let channel = ChannelId::named("ecg_ii").unwrap();
    let samples =
        Samples::Counts { counts: vec![0, 100, 200, -100], scale: 0.005, offset: 0.0, missing: None };
    let wave = Wave { channel, rate: Hertz(4.0), start: t(n as f64), samples };
    Frame { waves: vec![wave], ..number("p1", n, t(n as f64), "heart_rate", Some(180.0)) }
}

#[test]
fn one_record_through_the_hops() {
    // 1 source: bytes with their place in the log. A real one comes from Kafka; this one from a frame.
    let record = recording::record(&second(0), 41);
    let page = format!("key {:?}, offset {}, {} bytes\n", record.key, record.offset, record.value.len());

    // 2 decode: bytes to a checked frame in canonical units, or a reject with its code.
    let Decoded::Frame(frame) = decode(&record) else { panic!("a good record") };
    let page = page
        + &format!(
            "{:?} sequence {}, {} wave, {} value\n",
            frame.patient,
            frame.sequence,
            frame.waves.len(),
            frame.observations.len()
        );

    // 3 align: frames to whole seconds of event time, sealed once newer ones have come.
    let (mut timeline, mut sealed) = (Timeline::default(), Epochs::default());
    let mut fates = Vec::new();
    for (offset, f) in [second(0), second(1), second(2), second(1)].into_iter().enumerate() {
        fates.push(timeline.take(&Arc::new(f), 41 + offset as i64));
        timeline.seal_due(Span::seconds_const(2), &mut sealed);
    }
    let epoch = &sealed[0];
    let page = page + &format!("{fates:?}\n");
    let page = page
        + &format!(
            "epoch {} of {}: {:?} mV, from offsets {:?}\n",
            (epoch.start - t(0.0)).micros(),
            sealed.len(),
            epoch.raw,
            epoch.evidence.offsets.unwrap()
        );
    assert_eq!(
        page,
        "key b\"p1\", offset 41, 107 bytes\n\
         patient(*) sequence 0, 1 wave, 1 value\n\
         [Processed, Processed, Processed, Duplicate]\n\
         epoch 0 of 1: [0.0, 0.5, 1.0, -0.5] mV, from offsets (41, 41)\n"
    );
}

#[test]
fn a_worker_is_the_hops_in_one_step() {
    // 4 compute, 5 infer, 6 risk: what a step asks the sinks (7) to do, in the order of the log.
    let mut log: Vec<_> = (0..8).map(|n| recording::record(&second(n), n as i64)).collect();
    let end = Frame { device: Some(DeviceStatus::Ended), ..frame("p1", 8, t(8.0)) };
    log.push(recording::record(&end, 8));
    let mut page = String::new();
    for (offset, effect) in Worker::new(plan_of(&config())).step(Event::Records(&log)).list {
        let line = match effect {
            Effect::Score(s, _) => {
                format!("{} {:?} {:?}..{:?}", s.result.score, s.result.status, s.result.low, s.result.high)
            }
            Effect::Event(e, at) => {
                let offsets = at.offsets.unwrap();
                format!(
                    "{} {:?} at {} s: {} (offsets {}..{})",
                    e.kind,
                    e.phase,
                    e.event_time_us / 1_000_000 - T0,
                    e.text,
                    offsets.0,
                    offsets.1
                )
            }
            _ => continue,
        };
        page += &format!("{offset} {line}\n");
    }
    assert_eq!(
        page,
        "2 news2 Partial Some(3)..Some(20)\n\
         6 ecg.extreme_tachycardia Start at 5 s: heart rate 180.0 /min, above 150 (offsets 0..4)\n\
         8 ecg.extreme_tachycardia End at 9 s: heart rate 180.0 /min, above 150: monitoring ended (offsets 0..8)\n"
    );
}
