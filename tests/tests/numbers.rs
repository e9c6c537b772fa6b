//! Numbers of our own against those of others, on real signals: filters and spectra by scipy, a model by Python's
//! onnxruntime, beats by the experts who annotated MIT-BIH.
//! In: MIT-BIH. Out: the worst sample within 1e-5 of the peak, the worst probability within 1e-5, gross F1 by EC57.

use auscult_datasets::read::wfdb::annotations;
use auscult_models::backend_onnx::OnnxNetwork;
use auscult_models::predict::Network;
use auscult_models::{Registry, Runtime, Search};
use auscult_operators::filter::{Cascade, CascadeState, Conditioning, Job, cascade_for, filter_many};
use auscult_operators::signal::{Hertz, Kind};
use auscult_operators::spectrum::{RealFft, Welch, fft::Bin};
use auscult_tests::{binary, python, recordings};
use serde_json::{Value, json};

/// A generator of one's own, so that the noise is the same everywhere.
fn noise(n: usize) -> Vec<f32> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

fn filtered(name: &str, cascade: &Cascade, signals: &[Vec<f32>], cases: &mut Vec<Value>) {
    let mut states = vec![CascadeState::default(); signals.len()];
    let mut outputs: Vec<Vec<f32>> = signals.iter().map(|s| vec![0.0; s.len()]).collect();
    // A second at a time, as the engine does.
    let second = cascade.rate().get() as usize;
    for at in (0..signals[0].len()).step_by(second) {
        let mut jobs: Vec<Job<'_>> = Vec::new();
        for ((input, output), state) in signals.iter().zip(&mut outputs).zip(&mut states) {
            let to = (at + second).min(input.len());
            jobs.push(Job { input: &input[at..to], output: &mut output[at..to], state });
        }
        filter_many(cascade, &mut jobs);
    }
    let sos: Vec<[f64; 6]> =
        cascade.sections().iter().map(|s| [s.b[0], s.b[1], s.b[2], 1.0, s.a[0], s.a[1]]).collect();
    for (i, (input, output)) in signals.iter().zip(&outputs).enumerate() {
        cases.push(json!({
            "name": format!("{name} {i}"), "sos": sos, "zi": true, "input": input, "output": output, "rtol_peak": 1e-5,
        }));
    }
}

#[test]
fn filters_and_spectra_equal_scipy_on_real_ecg() {
    let Some(mitdb) = recordings::folder("mitdb", "filters_and_spectra_equal_scipy_on_real_ecg") else {
        return;
    };
    let rate = Hertz(360.0);
    let recording = auscult_datasets::open(&mitdb.join("100")).expect("record 100");
    let minute = |w: &auscult_datasets::recording::RecordedWave| -> Vec<f32> {
        let values = (0..60 * 360).filter_map(|i| w.stretches[0].value(i));
        values.map(|v| v as f32).collect()
    };
    let mut signals: Vec<Vec<f32>> = recording.waves.iter().map(minute).collect();
    signals.push(noise(signals[0].len()));
    // Enough channels to fill lanes, and one over.
    let (first, second) = (signals[0].clone(), signals[1].clone());
    let shifted = |k: usize| first.iter().skip(k).chain(&second[..k]).copied().collect();
    signals.extend((1..15).map(shifted));
    assert!(signals.len() == 17 && signals.iter().all(|s| s.len() == 21_600));
    let mut cases = Vec::new();
    for kind in [Kind::Ecg, Kind::Ppg, Kind::Pressure, Kind::Respiration, Kind::Eeg] {
        let cascade = cascade_for(kind, rate, &Conditioning::default()).expect("a cascade");
        filtered(&format!("{kind:?}"), &cascade, &signals, &mut cases);
    }
    for (i, signal) in signals[..3].iter().enumerate() {
        let mut welch = Welch::new(1024, rate).expect("an even length");
        let mut density = vec![0.0; welch.bins()];
        welch.density(signal, &mut density).expect("enough samples");
        let how = json!({"fs": 360.0, "nperseg": 1024});
        cases.push(json!({
            "name": format!("welch {i}"), "welch": how, "input": signal, "output": density, "rtol_peak": 1e-5,
        }));
        for n in [2048, 3600] {
            let mut fft = RealFft::new(n).expect("an even length");
            let mut bins = vec![Bin::new(0.0, 0.0); fft.bins()];
            let input: Vec<f64> = signal[..n].iter().map(|v| f64::from(*v)).collect();
            fft.forward(&input, &mut bins);
            let output: Vec<[f64; 2]> = bins.iter().map(|b| [b.re, b.im]).collect();
            cases.push(json!({
                "name": format!("fft {n} {i}"), "rfft": {}, "input": input, "output": output, "rtol_peak": 1e-5,
            }));
        }
    }
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("cases.json");
    std::fs::write(&file, json!({"cases": cases}).to_string()).expect("write");
    let findings = python::check("check_filters.py", [&file]);
    assert_eq!(findings["cases"].as_u64(), Some(5 * 17 + 9), "{findings}");
}

#[test]
fn the_shipped_model_equals_pythons_onnxruntime() {
    let registry = Registry::embedded();
    let manifest = &registry.find("sepsis_vitals").expect("the shipped model").manifest;
    let (_, _, weights) = Registry::shipped()[0];
    let runtime = Runtime::start(&Search::default()).expect("ONNX Runtime");
    let mut network = OnnxNetwork::open(runtime, manifest, weights).expect("the network");
    let (low, high) =
        ([35.0, 72.0, 34.0, 65.0, 42.0, 6.0, 18.0], [185.0, 100.0, 41.0, 215.0, 145.0, 44.0, 95.0]);
    let random = noise(7 * 2000);
    let mut rows = Vec::new();
    for draw in random.chunks_exact(7) {
        let value = |i: usize| low[i] + (high[i] - low[i]) * (draw[i] + 1.0) / 2.0;
        // Every fifth or so is missing.
        rows.push(
            (0..7)
                .map(|i| if i < 6 && (draw[i] * 997.0).fract().abs() < 0.2 { f32::NAN } else { value(i) })
                .collect::<Vec<_>>(),
        );
    }
    let wide = |row: &Vec<f32>| row.iter().map(|v| f64::from(*v)).collect::<Vec<f64>>();
    let ours: Vec<f64> = rows.iter().map(|row| network.run(&wide(row)).expect("a probability")).collect();
    assert!(rows.iter().flatten().filter(|v| v.is_nan()).count() > 1000);
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).expect("write");
        path.to_string_lossy().into_owned()
    };
    let model = file("model.onnx", weights);
    // JSON has no NaN: null stands for it.
    let (rows, ours) = (
        file("rows.json", json!(rows).to_string().as_bytes()),
        file("ours.json", json!(ours).to_string().as_bytes()),
    );
    let args = [
        "--model",
        &model,
        "--rows",
        &rows,
        "--ours",
        &ours,
        "--output",
        &manifest.output.as_ref().expect("an ONNX model names its output").name,
        "--atol",
        "1e-5",
    ];
    let findings = python::check("compare_onnx.py", args);
    assert_eq!(findings["rows"].as_u64(), Some(2000), "{findings}");
}

/// Labels of annotations that are beats (EC57 and the WFDB annotation codes).
const BEATS: &str = "NLRBAaJSVrFejnE/fQ?";

/// True positives, misses, false positives of beats in samples, each of both lists used once. Both lists are in order
/// and the window is the same for all, so that taking the earliest that fits finds the most pairs.
fn matched(reference: &[i64], found: &[i64], window: i64) -> [u64; 3] {
    let (mut i, mut j, mut pairs) = (0, 0, 0);
    while i < reference.len() && j < found.len() {
        match found[j] - reference[i] {
            off if off < -window => j += 1,
            off if off > window => i += 1,
            _ => (i, j, pairs) = (i + 1, j + 1, pairs + 1),
        }
    }
    [pairs, reference.len() as u64 - pairs, found.len() as u64 - pairs]
}

#[test]
fn the_scorer_counts_misses_and_false_beats() {
    assert_eq!(matched(&[100, 200, 300], &[104, 260, 301], 54), [2, 1, 1]);
    assert_eq!(matched(&[100, 200], &[150, 155], 54), [2, 0, 0]);
    assert_eq!(matched(&[], &[5], 54), [0, 0, 1]);
    assert_eq!(matched(&[5], &[], 54), [0, 1, 0]);
    assert_eq!(matched(&[100], &[99, 101], 54), [1, 0, 1]);
}

/// Beats of an annotation file, less those in ventricular flutter, which has none that could be counted (EC57).
fn beats(file: &std::path::Path, flutter: &[(i64, i64)]) -> Vec<i64> {
    let all = annotations::read(file).expect("annotations");
    let beats = all.items.iter().filter(|a| BEATS.contains(a.symbol())).map(|a| a.sample);
    beats.filter(|s| !flutter.iter().any(|(from, to)| from <= s && s <= to)).collect()
}

fn flutter(file: &std::path::Path) -> Vec<(i64, i64)> {
    let all = annotations::read(file).expect("annotations");
    let (mut spans, mut from) = (Vec::new(), None);
    for a in &all.items {
        match a.symbol() {
            '[' => from = Some(a.sample),
            ']' => spans.extend(from.take().map(|f| (f, a.sample))),
            _ => {}
        }
    }
    spans.extend(from.map(|f| (f, i64::MAX)));
    spans
}

#[test]
fn beats_of_every_record_reach_a_gross_f1_of_99_3() {
    let Some(mitdb) = recordings::folder("mitdb", "beats_of_every_record_reach_a_gross_f1_of_99_3") else {
        return;
    };
    let out = tempfile::tempdir().expect("temporary folder");
    let mut records: Vec<String> = std::fs::read_dir(&mitdb)
        .expect("the folder of records")
        .filter_map(|e| e.ok()?.file_name().into_string().ok()?.strip_suffix(".atr").map(str::to_owned))
        .collect();
    records.sort();
    assert!(records.len() >= 20, "{records:?}");
    let path = |name: &String| mitdb.join(name).to_string_lossy().into_owned();
    let folder = out.path().to_string_lossy().into_owned();
    let mut args: Vec<String> = vec!["beats".into(), "--out".into(), folder];
    args.extend(records.iter().map(path));
    let output = binary::run(&args);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut sum = [0_u64; 3];
    for name in &records {
        let reference = mitdb.join(format!("{name}.atr"));
        let spans = flutter(&reference);
        let found = beats(&out.path().join(format!("{name}.auscult")), &spans);
        // 150 ms at 360 Hz.
        let counts = matched(&beats(&reference, &spans), &found, 54);
        assert!(counts[0] > 0, "{name}: {counts:?}");
        sum.iter_mut().zip(counts).for_each(|(s, n)| *s += n);
    }
    let [pairs, missed, false_beats] = sum;
    let f1 = 200.0 * pairs as f64 / (2 * pairs + missed + false_beats) as f64;
    assert!(f1 >= 99.3, "gross F1 {f1:.2} %: {pairs} found, {missed} missed, {false_beats} false");
}
