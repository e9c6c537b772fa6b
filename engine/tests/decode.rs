//! Hop 2 against hostile input: every reject code, every limit at its edge, both forms of a frame.
//! In: a good frame with one thing changed. Out: the code expected, and never a word of the payload.

#![allow(clippy::unwrap_used, clippy::type_complexity, reason = "a test may stop, and its tables are wide")]

mod common;

use std::collections::BTreeSet;

use auscult::decode::{CODES, Decoded, Reject, decode, encode, wire};
use auscult::limits;
use auscult::source::Record;
use auscult_operators::signal::frame::{Action, Command, DeviceStatus, Observation, Samples, Wave};
use auscult_operators::signal::{ChannelId, Frame, Hertz, PatientId, SourceId, Span};
use bytes::Bytes;
use common::{frame, t};
use proptest::prelude::*;
use prost::Message;
use serde_json::{Value, json};

/// What must never be seen in a reject.
const CANARY: &str = "CANARY-Jane-Doe";

fn record(key: &str, value: impl Into<Bytes>, json: bool) -> Record {
    Record { offset: 7, timestamp: t(1.0), key: Bytes::from(key.to_string()), value: value.into(), json }
}

fn good() -> wire::Frame {
    let wave = wire::Wave {
        mdc: 131_330,
        unit: "mV".into(),
        rate_hz: 250.0,
        counts: vec![1, 0, 2, 0].into(),
        scale: 0.005,
        ..Default::default()
    };
    let observation =
        wire::Observation { mdc: 147_842, unit: "/min".into(), value: Some(70.0), ..Default::default() };
    let command = wire::Command { action: 0, rule: "news2".into(), actor: "nurse".into(), for_s: 0.0 };
    wire::Frame {
        patient: CANARY.into(),
        source: "monitor".into(),
        session: 1,
        sequence: 2,
        time_us: t(0.0).micros(),
        waves: vec![wave],
        observations: vec![observation],
        context: Some(wire::Context { age_years: Some(60.0), ..Default::default() }),
        device: Some(wire::Device { state: 0 }),
        commands: vec![command],
        tick: None,
    }
}

fn judge(frame: &wire::Frame) -> Result<Frame, Reject> {
    outcome(&record(CANARY, frame.encode_to_vec(), false))
}

fn outcome(record: &Record) -> Result<Frame, Reject> {
    match decode(record) {
        Decoded::Frame(f) => Ok((*f).clone()),
        Decoded::Reject(r) => Err(r),
        Decoded::Tick => panic!("a tick"),
    }
}

type Change = fn(&mut wire::Frame);

const REJECTED: &[(&str, Change)] = &[
    ("no_patient", |f| f.patient.clear()),
    ("no_source", |f| f.source.clear()),
    ("key_mismatch", |f| f.patient.push('x')),
    ("bad_time", |f| f.time_us = 0),
    ("bad_time", |f| f.time_us = i64::MIN),
    ("bad_time", |f| f.time_us = i64::MAX),
    ("bad_time", |f| f.observations[0].observed_at_us = Some(1)),
    ("bad_time", |f| f.observations[0].observed_at_us = Some(f.time_us + 60_000_001)),
    ("bad_time", |f| f.context.as_mut().unwrap().observed_at_us = Some(f.time_us + 60_000_001)),
    ("empty_frame", |f| {
        *f = wire::Frame {
            patient: f.patient.clone(),
            source: f.source.clone(),
            time_us: f.time_us,
            ..Default::default()
        }
    }),
    ("unknown_channel", |f| f.waves[0].mdc = 1),
    ("unknown_channel", |f| (f.waves[0].mdc, f.waves[0].label) = (0, CANARY.into())),
    ("unknown_channel", |f| (f.observations[0].mdc, f.observations[0].name) = (0, String::new())),
    ("wrong_kind", |f| f.waves[0].mdc = 147_842),
    ("wrong_kind", |f| f.observations[0].mdc = 131_330),
    ("unit_mismatch", |f| f.waves[0].unit = CANARY.into()),
    ("unit_mismatch", |f| f.observations[0].unit = "mm[Hg]".into()),
    ("bad_rate", |f| f.waves[0].rate_hz = 0.0),
    ("bad_rate", |f| f.waves[0].rate_hz = f64::NAN),
    ("bad_rate", |f| f.waves[0].rate_hz = -1.0),
    ("bad_rate", |f| f.waves[0].rate_hz = f64::INFINITY),
    ("bad_samples", |f| f.waves[0].counts = Bytes::new()),
    ("bad_samples", |f| f.waves[0].counts = vec![1, 0, 2].into()),
    ("bad_samples", |f| f.waves[0].values = vec![1.0]),
    ("bad_scale", |f| f.waves[0].scale = 0.0),
    ("bad_scale", |f| f.waves[0].scale = f64::NAN),
    ("bad_scale", |f| f.waves[0].scale = 1e-320),
    ("bad_scale", |f| f.waves[0].offset = f64::INFINITY),
    ("bad_scale", |f| f.waves[0].scale = 1e6),
    ("bad_value", |f| f.waves[0].missing_count = Some(40_000)),
    ("bad_value", |f| f.observations[0].value = Some(f64::NAN)),
    ("bad_value", |f| f.observations[0].quality = Some(1.1)),
    ("bad_value", |f| f.observations[0].quality = Some(f32::NAN)),
    ("bad_value", |f| f.context.as_mut().unwrap().spo2_scale = Some(3)),
    ("bad_value", |f| f.context.as_mut().unwrap().consciousness = Some(5)),
    ("bad_value", |f| f.context.as_mut().unwrap().age_years = Some(131.0)),
    ("bad_value", |f| f.device = Some(wire::Device { state: 9 })),
    ("bad_span", |f| f.waves[0].start_us = -1),
    ("bad_span", |f| f.waves[0].rate_hz = 1e-300),
    ("bad_command", |f| f.commands[0].action = 7),
    ("bad_command", |f| f.commands[0].rule.clear()),
    ("bad_command", |f| f.commands[0].actor = CANARY.repeat(20)),
    ("bad_command", |f| (f.commands[0].action, f.commands[0].for_s) = (1, 0.0)),
    ("bad_command", |f| (f.commands[0].action, f.commands[0].for_s) = (1, f64::NAN)),
];

/// The limits that decoding enforces: a frame with `n` of something, the code beyond, and the limit.
const LIMITED: &[(&str, &limits::Limit, fn(&mut wire::Frame, u64))] = &[
    ("too_many", &limits::FRAME_WAVES, |f, n| f.waves = vec![f.waves[0].clone(); n as usize]),
    ("too_many", &limits::FRAME_OBSERVATIONS, |f, n| {
        f.observations = vec![f.observations[0].clone(); n as usize]
    }),
    ("too_many", &limits::FRAME_COMMANDS, |f, n| f.commands = vec![f.commands[0].clone(); n as usize]),
    ("too_many", &limits::WAVE_SAMPLES, |f, n| {
        (f.waves[0].counts, f.waves[0].rate_hz) = (vec![0; 2 * n as usize].into(), 5000.0);
    }),
    ("bad_rate", &limits::WAVE_RATE_HZ, |f, n| f.waves[0].rate_hz = n as f64),
    ("bad_span", &limits::FRAME_SPAN_S, |f, n| f.waves[0].start_us = n as i64 * 1_000_000),
    ("bad_span", &limits::FRAME_SPAN_S, |f, n| {
        (f.waves[0].counts, f.waves[0].rate_hz) = (vec![0; 2 * n as usize].into(), 1.0);
    }),
    ("no_source", &limits::TEXT_BYTES, |f, n| f.source = "s".repeat(n as usize)),
    ("bad_command", &limits::TEXT_BYTES, |f, n| f.commands[0].rule = "r".repeat(n as usize)),
    ("clock_ahead", &limits::AHEAD_S, |f, n| f.time_us = t(1.0).micros() + n as i64 * 1_000_000),
    ("bad_command", &limits::PAUSE_S, |f, n| (f.commands[0].action, f.commands[0].for_s) = (1, n as f64)),
];

fn secret(reject: &Reject) {
    let text = reject.to_string();
    assert!(!text.contains("CANARY") && !text.contains("Jane"), "{text}");
    assert!(text.len() < 300, "{text}");
    assert!(CODES.iter().any(|c| c.0 == reject.code), "{} has no meaning", reject.code);
}

#[test]
fn every_code_is_reached_and_tells_nothing() {
    assert!(judge(&good()).is_ok(), "{:?}", judge(&good()));
    let mut reached = BTreeSet::from(["too_many_patients"]); // by the worker's own tests
    for (i, (code, change)) in REJECTED.iter().enumerate() {
        let mut f = good();
        change(&mut f);
        let reject = judge(&f).expect_err(code);
        assert_eq!(reject.code, *code, "case {i}: {reject}");
        secret(&reject);
        reached.insert(reject.code);
    }
    for (code, limit, with) in LIMITED {
        for (n, allowed) in [(limit.max - 1, true), (limit.max, true), (limit.max + 1, false)] {
            let mut f = good();
            with(&mut f, n);
            match judge(&f) {
                Ok(_) => assert!(allowed, "{} at {n}", limit.name),
                Err(reject) => {
                    assert!(!allowed, "{} at {n}: {reject}", limit.name);
                    assert_eq!(reject.code, *code);
                    assert!(reject.detail.contains(limit.name), "{reject}");
                    secret(&reject);
                    reached.insert(reject.code);
                }
            }
        }
    }
    for (code, value, json) in [
        ("not_protobuf", format!("\u{1}{CANARY}").into_bytes(), false),
        ("not_json", format!("{{\"{CANARY}\": 1}}").into_bytes(), true),
        ("not_json", format!("{{\"patient\": \"{CANARY}\"").into_bytes(), true),
        ("not_json", vec![0xff, 0xfe], true),
        ("frame_too_large", vec![0; limits::FRAME_BYTES.max as usize + 1], false),
        ("not_protobuf", vec![0xff; limits::FRAME_BYTES.max as usize], false),
    ] {
        let reject = outcome(&record(CANARY, value, json)).expect_err(code);
        assert_eq!(reject.code, code);
        secret(&reject);
        reached.insert(reject.code);
    }
    let all: BTreeSet<&str> = CODES.iter().map(|c| c.0).collect();
    assert_eq!(reached, all);
}

#[test]
fn the_bound_of_a_text_is_that_of_its_key() {
    for (n, allowed) in [(127, true), (128, true), (129, false)] {
        let patient = "p".repeat(n);
        let f = wire::Frame { patient: patient.clone(), ..good() };
        let got = outcome(&record(&patient, f.encode_to_vec(), false));
        assert_eq!(got.map_err(|r| r.code).is_ok(), allowed, "{n} bytes");
    }
}

#[test]
fn a_tick_speaks_of_nobody() {
    let tick = wire::Frame { time_us: t(0.0).micros(), tick: Some(wire::Tick {}), ..Default::default() };
    assert!(matches!(decode(&record("", tick.encode_to_vec(), false)), Decoded::Tick));
    // Data that calls itself a tick is not passed over.
    let f = wire::Frame { tick: Some(wire::Tick {}), ..good() };
    assert_eq!(judge(&f).unwrap(), judge(&good()).unwrap());
}

#[test]
fn many_small_parts_of_a_message_are_refused() {
    // The shortest empty wave, observation, command: half a million of them fit the frame's bytes.
    for tag in [6u8, 7, 10] {
        let n = limits::FRAME_BYTES.max as usize / 2 - 64;
        let mut bytes =
            wire::Frame { waves: vec![], observations: vec![], commands: vec![], ..good() }.encode_to_vec();
        bytes.extend([tag << 3 | 2, 0].repeat(n));
        assert_eq!(outcome(&record(CANARY, bytes, false)).expect_err("many").code, "too_many");
    }
    let deep = format!("{{\"time_us\":1,\"waves\":{}", "[".repeat(100_000));
    assert_eq!(outcome(&record(CANARY, deep, true)).expect_err("deep").code, "not_json");
}

#[test]
fn the_json_form_is_the_protobuf_form() {
    let time_us = t(0.0).micros();
    let text = json!({
        "patient": CANARY, "source": "monitor", "session": 1, "sequence": 2, "time_us": time_us,
        "waves": [{"mdc": 131_330, "unit": "mV", "rate_hz": 250.0, "counts": [1, 2], "scale": 0.005}],
        "observations": [{"mdc": 147_842, "unit": "/min", "value": 70.0}],
        "context": {"age_years": 60.0},
        "device": {"state": "running"},
        "commands": [{"action": "acknowledge", "rule": "news2", "actor": "nurse"}],
    });
    let by_json = |v: &Value| outcome(&record(CANARY, v.to_string(), true));
    assert_eq!(by_json(&text).unwrap(), judge(&good()).unwrap());
    // Every field that is optional, in both forms.
    let mut f = good();
    (f.waves[0].start_us, f.waves[0].missing_count, f.waves[0].offset) = (1000, Some(-5), 0.25);
    f.waves.push(wire::Wave {
        label: "PLETH".into(),
        unit: "1".into(),
        rate_hz: 125.0,
        values: vec![0.5, 1.5],
        ..Default::default()
    });
    (f.observations[0].observed_at_us, f.observations[0].quality) = (Some(time_us - 5), Some(0.5));
    f.context = Some(wire::Context {
        age_years: Some(61.0),
        pregnant: Some(false),
        on_oxygen: Some(true),
        spo2_scale: Some(2),
        consciousness: Some(3),
        sex_male: Some(false),
        observed_at_us: Some(time_us - 7),
    });
    f.device = Some(wire::Device { state: 2 });
    (f.commands[0].action, f.commands[0].for_s) = (1, 60.0);
    let mut v = text;
    v["waves"] = json!([
        {"mdc": 131_330, "unit": "mV", "rate_hz": 250.0, "counts": [1, 2], "scale": 0.005, "offset": 0.25,
         "start_us": 1000, "missing_count": -5},
        {"label": "PLETH", "unit": "1", "rate_hz": 125.0, "values": [0.5, 1.5]},
    ]);
    v["observations"] = json!([{"mdc": 147_842, "unit": "/min", "value": 70.0, "observed_at_us": time_us - 5, "quality": 0.5}]);
    v["context"] = json!({
        "age_years": 61.0, "pregnant": false, "on_oxygen": true, "spo2_scale": 2, "consciousness": "pain",
        "sex_male": false, "observed_at_us": time_us - 7,
    });
    v["device"] = json!({"state": "standby"});
    v["commands"] = json!([{"action": "pause", "rule": "news2", "actor": "nurse", "for_s": 60.0}]);
    assert_eq!(by_json(&v).unwrap(), judge(&f).unwrap());
    // `null` is no sample, as NaN is; a misspelt field is refused.
    v["waves"] = json!([{"label": "PLETH", "unit": "1", "rate_hz": 125.0, "values": [null, 1.5]}]);
    let Samples::Values(values) = &by_json(&v).unwrap().waves[0].samples else { panic!("values") };
    assert!(values[0].is_nan() && values[1] == 1.5);
    v["sesion"] = json!(1);
    assert_eq!(by_json(&v).expect_err("misspelt").code, "not_json");
}

fn any_frame() -> impl Strategy<Value = Frame> {
    let channels = |wave: bool| {
        let all: Vec<ChannelId> = ChannelId::all().filter(|c| c.row().kind.is_wave() == wave).collect();
        proptest::sample::select(all)
    };
    let samples = prop_oneof![
        (prop::collection::vec(any::<i16>(), 1..40), 1e-6..1e3f64, -1e3..1e3f64, any::<Option<i16>>())
            .prop_map(|(counts, scale, offset, missing)| Samples::Counts { counts, scale, offset, missing }),
        prop::collection::vec(-1e6..1e6f32, 1..40).prop_map(Samples::Values),
    ];
    let wave = (channels(true), 1.0..5000.0f64, 0..60_000_000i64, samples).prop_map(
        |(channel, rate, start, samples)| Wave {
            channel,
            rate: Hertz(rate),
            start: t(0.0) + Span::from_micros(start),
            samples,
        },
    );
    let observation = (channels(false), -1_000_000..60_000_000i64, any::<Option<i32>>(), 0.0..=1.0f32)
        .prop_map(|(channel, at, value, quality)| Observation {
            channel,
            observed_at: t(0.0) + Span::from_micros(at),
            value: value.map(|v| f64::from(v) / 7.0),
            quality,
        });
    let command =
        (any::<bool>(), "[a-z]{1,8}", "[a-z]{1,8}", 1.0..3600.0f64).prop_map(|(ack, rule, actor, for_s)| {
            Command { action: if ack { Action::Acknowledge } else { Action::Pause }, rule, actor, for_s }
        });
    let device = proptest::sample::select(vec![
        DeviceStatus::Running,
        DeviceStatus::Disconnected,
        DeviceStatus::Standby,
        DeviceStatus::Ended,
    ]);
    let parts = (
        prop::collection::vec(wave, 0..4),
        prop::collection::vec(observation, 0..6),
        device,
        prop::collection::vec(command, 0..3),
    );
    (any::<u64>(), any::<u64>(), parts).prop_map(
        |(session, sequence, (waves, observations, device, commands))| Frame {
            patient: PatientId::new(CANARY),
            source: SourceId("any".into()),
            session,
            sequence,
            waves,
            observations,
            device: Some(device),
            commands,
            ..frame(CANARY, 0, t(0.0))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_encoded_is_decoded(frame in any_frame()) {
        prop_assert_eq!(outcome(&record(CANARY, encode(&frame), false)), Ok(frame));
    }

    #[test]
    fn broken_bytes_never_stop_the_walk(
        frame in any_frame(),
        cut in 0.0..1.0f64,
        flips in prop::collection::vec((0.0..1.0f64, 0u8..8), 0..4),
        json: bool,
    ) {
        let mut bytes = encode(&frame);
        for (at, bit) in flips {
            let at = (at * bytes.len() as f64) as usize;
            bytes[at] ^= 1 << bit;
        }
        bytes.truncate(1 + (cut * 2.0 * bytes.len() as f64) as usize);
        if let Decoded::Reject(reject) = decode(&record(CANARY, bytes, json)) {
            secret(&reject);
        }
    }

    #[test]
    fn noise_never_stops_the_walk(bytes in prop::collection::vec(any::<u8>(), 0..200), json: bool) {
        if let Decoded::Reject(reject) = decode(&record("k", bytes, json)) {
            secret(&reject);
        }
    }
}
