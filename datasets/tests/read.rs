//! The readers and writers against the samples of this crate, which other tools wrote: see `samples/make.py`.
//! In: `samples/`. Out: exact counts, values, annotations and error texts.
#![allow(clippy::unwrap_used, reason = "a test may stop where it stands")]

use std::path::{Path, PathBuf};

use auscult_datasets::read::wfdb::annotations::{self, Annotation, Annotations};
use auscult_datasets::read::wfdb::header;
use auscult_datasets::recording::{ChannelMap, Data, NotMapped};
use auscult_datasets::write::wfdb::{write_annotations, write_record};
use auscult_datasets::{Recording, frames, open};
use auscult_operators::signal::frame::{DeviceStatus, Samples};
use auscult_operators::signal::{ChannelId, EventTime, Frame, Hertz, PatientId, SourceId};

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("samples").join(name)
}

fn ramp(channel: usize, i: usize) -> i32 {
    ((37 * i + 11 * channel) % 201) as i32 - 100
}

fn counts(data: &Data) -> (Vec<i32>, Option<i32>) {
    match data {
        Data::Counts(c, m) => (c.iter().map(|&x| i32::from(x)).collect(), m.map(i32::from)),
        Data::Wide(c, m) => (c.clone(), *m),
        Data::Values(_) => panic!("not counts"),
    }
}

fn sent(rec: &Recording, frame_seconds: f64) -> Vec<Frame> {
    let start = EventTime::from_seconds(1_000);
    frames(rec, PatientId::new("p"), SourceId("s".into()), 3, start, frame_seconds).collect()
}

#[test]
fn every_format_gives_the_formula() {
    for (format, factor) in [("16", 1), ("212", 1), ("80", 1), ("24", 1000), ("32", 1000)] {
        let rec = open(&sample(&format!("ramp{format}"))).unwrap();
        assert_eq!(rec.waves.len(), 2);
        for (c, wave) in rec.waves.iter().enumerate() {
            let (found, missing) = counts(&wave.stretches[0].data);
            assert_eq!(found.len(), 61);
            for (i, &count) in found.iter().enumerate() {
                let expected = if i == 5 { missing.unwrap() } else { ramp(c, i) * factor };
                assert_eq!(count, expected, "format {format} signal {c} sample {i}");
            }
            assert_eq!(wave.stretches[0].value(5), None, "format {format}");
        }
        assert_eq!(rec.waves[0].stretches[0].value(1), Some(f64::from(ramp(0, 1)) / 200.0));
        assert_eq!(rec.waves[1].stretches[0].value(1), Some(f64::from(ramp(1, 1) + 100) / 1.25));
        assert_eq!(rec.wave(ChannelId::named("abp").unwrap()).unwrap().label, "ABP");
    }
}

#[test]
fn segments_join_gaps_stay() {
    let rec = open(&sample("parts.hea")).unwrap();
    let wave = &rec.waves[0];
    let spans: Vec<_> = wave.stretches.iter().map(|s| (s.first_sample, s.end_sample(), s.gain)).collect();
    assert_eq!(spans, [(0, 61, 200.0), (81, 142, 100.0)]);
    let values = wave.values();
    assert!(values[61..81].iter().all(|v| v.is_nan()));
    assert_eq!(values[82], f64::from(ramp(0, 1)) / 100.0);
    // A frame over the border carries both stretches, each with its own scale and exact start.
    let frames = sent(&rec, 1.0);
    let of_lead: Vec<_> = frames[0].waves.iter().filter(|w| w.channel.row().name == "ecg_ii").collect();
    assert_eq!(of_lead.len(), 2);
    assert_eq!(of_lead[1].start, EventTime::from_micros(1_000_324_000));
    assert!(matches!(of_lead[1].samples, Samples::Counts { scale, .. } if scale == 0.01));
}

#[test]
fn frames_keep_every_sample_on_its_grid() {
    let rec = open(&sample("ramp16")).unwrap();
    for frame_seconds in [0.004, 0.01, 0.05, 0.1001, 0.25, 1.0, 7.0] {
        let frames = sent(&rec, frame_seconds);
        let mut i = 0u64;
        for (n, frame) in frames.iter().enumerate() {
            assert_eq!((frame.sequence, frame.session), (n as u64, 3));
            for wave in frame.waves.iter().filter(|w| w.channel.row().name == "ecg_ii") {
                assert_eq!(wave.start, EventTime::from_micros(1_000_000_000 + i as i64 * 4_000));
                assert!(wave.start >= frame.time);
                let Samples::Counts { counts, scale, offset, missing } = &wave.samples else { panic!() };
                assert_eq!((*scale, *offset, *missing), (1.0 / 200.0, 0.0, Some(i16::MIN)));
                for &count in counts {
                    assert!(i == 5 || i32::from(count) == ramp(0, i as usize));
                    i += 1;
                }
            }
        }
        assert_eq!(i, 61, "frames of {frame_seconds} s");
        let last = frames.last().unwrap();
        assert_eq!(last.device, Some(DeviceStatus::Ended));
        assert_eq!(last.time, EventTime::from_micros(1_000_244_000));
        assert!(last.waves.is_empty() && frames[..frames.len() - 1].iter().all(|f| f.device.is_none()));
        let back = Recording::from_frames("ramp16", EventTime::from_seconds(1_000), frames);
        assert_eq!(back.waves[0].values()[6..], rec.waves[0].values()[6..]);
        assert_eq!(back.waves[0].stretches.len(), 1);
    }
}

#[test]
fn an_observation_belongs_to_the_frame_of_its_time() {
    let rec = open(&sample("bed_Numerics.csv")).unwrap();
    let frames = sent(&rec, 1.0);
    assert_eq!(frames.len(), 3, "two rows and the end");
    for (frame, count) in frames.iter().zip([4, 3, 0]) {
        assert_eq!(frame.observations.len(), count);
        assert!(frame.observations.iter().all(|o| o.observed_at == frame.time));
    }
}

#[test]
fn a_channel_is_given_once() {
    let mut map = ChannelMap::default();
    let mut name = |label: &str, unit: &str| map.wave(label, unit).map(|m| m.channel.row().name);
    assert_eq!(name("II", "mV"), Ok("ecg_ii"));
    assert_eq!(name("II", "uV"), Ok("ecg"));
    assert_eq!(name("MCL1", "mV"), Ok("ecg_2"));
    assert_eq!(name("ECG", "mV"), Err(NotMapped::Taken("ecg_2")));
    assert_eq!(name("ABP", "mmHg"), Ok("abp"));
    assert_eq!(name("ABP", "mmHg"), Err(NotMapped::Taken("abp")));
    assert_eq!(name("HR", "bpm"), Err(NotMapped::Sort("heart_rate")));
    assert!(matches!(name("ART", "mV"), Err(NotMapped::Unit { .. })));
    assert_eq!(name("PLETH", "mV"), Ok("ppg"), "of any scale");
    let m = map.wave("I", "uV").unwrap();
    assert_eq!((m.factor, m.offset), (0.001, 0.0));
    assert_eq!(map.wave("EEG1", "mV").unwrap().factor, 1_000.0);
}

#[test]
fn odd_rates_never_drift() {
    let mut rec = open(&sample("ramp16")).unwrap();
    let wave = &mut rec.waves[0];
    wave.rate = Hertz(62.5 / 7.0 * 3.0);
    wave.stretches[0].data = Data::Counts(vec![0; 1_000_000], None);
    let rate = wave.rate;
    rec.waves.truncate(1);
    let mut i = 0u64;
    for frame in sent(&rec, 1.0) {
        for wave in &frame.waves {
            let exact = 1e9 + i as f64 * 1e6 / rate.get();
            assert_eq!(wave.start.micros(), exact.round() as i64);
            assert!(wave.start >= frame.time && wave.start.micros() < frame.time.micros() + 1_000_000);
            i += wave.samples.len() as u64;
        }
    }
    assert_eq!(i, 1_000_000);
}

#[test]
fn annotations_of_another_writer() {
    let read = annotations::read(&sample("ramp16.atr")).unwrap();
    let symbols: String = read.items.iter().map(Annotation::symbol).collect();
    assert_eq!(symbols, annotations::symbols().collect::<String>());
    let mut sample_index = 0;
    for (k, a) in read.items.iter().enumerate() {
        sample_index += 1 + (k * 331 % 1500) as i64 + if k + 1 == read.items.len() { 70_000 } else { 0 };
        let k_i8 = k as i8;
        let found = (a.sample, a.subtype, a.channel, a.number);
        assert_eq!(found, (sample_index, k_i8 % 5 - 2, k as u8 / 7, k_i8 / 5 % 3), "annotation {k}");
    }
    assert_eq!(read.items.iter().find(|a| a.symbol() == '+').unwrap().note(), "(AFIB");
    let folder = tempfile::tempdir().unwrap();
    let again = folder.path().join("ramp16.atr");
    write_annotations(&again, &read).unwrap();
    assert_eq!(annotations::read(&again).unwrap(), read);
}

#[test]
fn annotations_with_a_resolution_and_faults() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a.auscult");
    let mut items: Vec<_> =
        annotations::symbols().map(|s| Annotation::new(5_000_000_000 / 4, s).unwrap()).collect();
    for (a, (channel, number)) in items.iter_mut().zip([(0, 0), (2, -3), (2, -3), (0, 0), (1, 7)]) {
        (a.channel, a.number) = (channel, number);
    }
    items[3].text = "\u{e4}bc\0".into();
    let all = Annotations { resolution_hz: Some(62.5), items };
    write_annotations(&file, &all).unwrap();
    assert_eq!(annotations::read(&file).unwrap(), all);
    let mut wrong = all.clone();
    wrong.items[1].sample = 3;
    assert!(write_annotations(&file, &wrong).unwrap_err().to_string().contains("in order"));
    let bytes = std::fs::read(&file).unwrap();
    for cut in 0..bytes.len() {
        let _ = annotations::parse(&file, &bytes[..cut]);
    }
    let cut = annotations::parse("a.atr".as_ref(), &bytes[..5]).unwrap_err();
    assert!(cut.to_string().starts_with("a.atr: byte 4: found 1 more bytes, expected"), "{cut}");
}

#[test]
fn records_come_back() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ramp212", "ramp80", "ramp16", "parts"] {
        let mut rec = open(&sample(name)).unwrap();
        rec.start = Some(EventTime::from_micros(951_786_000_250_000));
        write_record(folder.path(), name, &rec).unwrap();
        let again = open(&folder.path().join(name)).unwrap();
        assert_eq!(again.start, rec.start, "29 February 2000");
        for (a, b) in again.waves.iter().zip(&rec.waves) {
            assert_eq!((&a.label, &a.unit, a.rate), (&b.label, &b.unit, b.rate));
            let (a, b) = (a.values(), b.values());
            let near = |x: f64, y: f64| x.is_nan() && y.is_nan() || (x - y).abs() < 1e-4 * (1.0 + y.abs());
            assert!(a.len() == b.len() && a.iter().zip(&b).all(|(&x, &y)| near(x, y)), "{name}");
        }
    }
}

#[test]
fn csv_with_numerics() {
    let rec = open(&sample("bed_Signals.csv")).unwrap();
    assert_eq!(rec.name, "bed");
    let names: Vec<_> =
        rec.waves.iter().filter_map(|w| Some(w.mapping.as_ref().ok()?.channel.row().name)).collect();
    assert_eq!(names, ["resp", "ppg", "ecg_ii", "abp"]);
    assert_eq!(rec.wave(ChannelId::named("ecg_ii").unwrap()).unwrap().stretches[0].value(7), None);
    let unmapped: Vec<_> = rec.unmapped().map(|u| u.0).collect();
    assert_eq!(unmapped, ["X", "Mood"]);
    let values: Vec<_> =
        rec.observations.iter().map(|o| (o.channel.row().name, o.at.seconds(), o.value.unwrap())).collect();
    assert_eq!(values[..2], [("heart_rate", 0.0, 80.0), ("pulse_rate", 0.0, 81.0)]);
    assert_eq!(values.len(), 7, "NaN gives no observation");
}

#[test]
fn stay_of_challenge_2019() {
    let rec = open(&sample("stay.psv")).unwrap();
    let at = |name: &str| -> Vec<(f64, f64)> {
        let channel = ChannelId::named(name).unwrap();
        let of = rec.observations.iter().filter(|o| o.channel == channel);
        of.map(|o| (o.at.seconds() / 3600.0, o.value.unwrap())).collect()
    };
    assert_eq!(at("heart_rate"), [(0.0, 88.0), (1.0, 96.0), (3.0, 109.0)]);
    assert_eq!(at("spo2"), [(0.0, 97.0), (3.0, 93.0)]);
    assert_eq!(at("fio2"), [(1.0, 40.0), (3.0, 40.0)]);
    assert_eq!(at("icu_hours")[2], (3.0, 7.0));
    assert_eq!(rec.labels.iter().map(|l| l.value).collect::<Vec<_>>(), [0.0, 0.0, 1.0]);
    let unmapped: Vec<_> = rec.unmapped().map(|u| u.0).collect();
    assert_eq!(unmapped, ["Unit1", "Unit2", "HospAdmTime"]);
    // Hours without a row give no frame; three rows and the end do.
    let frames = sent(&rec, 1.0);
    assert_eq!(frames.len(), 4);
    assert_eq!(frames[2].time, EventTime::from_seconds(1_000 + 3 * 3_600));
    assert!(frames[3].time > frames[2].time);
}

/// Writes the text to a file of that name and returns what `open` says of it.
fn fault(name: &str, text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(name);
    std::fs::write(&file, text).unwrap();
    let message = open(&file).unwrap_err().to_string();
    message.replace(&format!("{}/", folder.path().display()), "")
}

#[test]
fn faults_name_file_and_line() {
    let found = fault("a.csv", "Time [s],II\n0,1\n0.008,2\n0.024,3\n0.032,4\n0.04,5\n0.048,5\n0.056,5\n");
    assert!(found.starts_with("a.csv:4: found time 0.024 s, expected"), "{found}");
    assert!(found.contains("evenly spaced"), "{found}");
    assert_eq!(fault("a.csv", "Time [s],II\n0,x\n").split(',').next(), Some("a.csv:2: found \"x\""));
    assert!(fault("a.csv", "t,II\n0,1\n").contains("name the time column"));
    assert!(fault("a.csv", "Time,II\n0,1,3\n").starts_with("a.csv:2: found 3 cells, expected 2"));
    assert!(fault("a.psv", "HR|O2Sat\n1|2\n1|b\n").starts_with("a.psv:3: found \"b\", expected a number"));
    assert!(fault("a.psv", "HR|ICULOS\n1|2\n1|2\n").contains("ICULOS must rise"));
    assert!(fault("a.hea", "a 1 250 10\n../x.dat 16 200\n").contains("a file beside the header"));
    assert!(fault("a.hea", "a 1 250 10\nx.dat 508 200\n").contains("found format 508, expected one of 16"));
    assert!(fault("a.hea", "a 2 250 10\nx.dat 16\n").contains("found 1 signal or segment lines"));
    assert!(fault("a.hea", "a 1 250 10\nx.dat 16\n").starts_with("x.dat: cannot be read"));
    assert!(fault("a.hea", "a 1 250 99999999999999\na.hea 16\n").contains("found end of file"));
    assert!(fault("a.edf", "").contains("expected .hea (WFDB), .csv or .psv"));
    assert!(open(Path::new("nowhere/at-all")).unwrap_err().to_string().contains("has a .hea file"));
}

#[test]
fn a_wrong_checksum_is_found() {
    let folder = tempfile::tempdir().unwrap();
    for name in ["ramp16.hea", "ramp16.dat"] {
        std::fs::copy(sample(name), folder.path().join(name)).unwrap();
    }
    let file = folder.path().join("ramp16.dat");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[40] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let found = open(&folder.path().join("ramp16")).unwrap_err().to_string();
    assert!(found.contains("signal \"II\": found checksum"), "{found}");
}

#[test]
fn headers_with_little_in_them() {
    let h = header::parse("a.hea".as_ref(), "a 1\na.dat 16\n").unwrap();
    let s = &h.signals[0];
    assert_eq!((h.frame_rate, h.samples, s.gain, s.baseline), (250.0, None, 200.0, 0.0));
    assert_eq!((s.unit.as_str(), s.checksum, s.label.as_str()), ("mV", None, ""));
    let text = "b/2 1 0.5/125(7) 9 1:2:3.5 29/02/2000\nb1 4\r\n~ 5\n";
    let h = header::parse("b.hea".as_ref(), text).unwrap();
    assert_eq!((h.frame_rate, h.segments.len()), (0.5, 2));
    assert_eq!(h.start(), Some(EventTime::from_micros(951_786_123_500_000)));
    let line = "c 1 250\nc.mat 16x4:2+24 0(-5)/uV 12 1024 1 70000 0 ECG  lead A \n";
    let s = header::parse("c.hea".as_ref(), line).unwrap().signals.remove(0);
    assert_eq!((s.samples_per_frame, s.skew, s.byte_offset), (4, 2, 24));
    assert_eq!((s.gain, s.baseline, s.adc_zero, s.label.as_str()), (200.0, -5.0, 1024, "ECG  lead A"));
}
