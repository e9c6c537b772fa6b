//! The mains canceller on recorded ECG: hum is added, and what comes out is held against the record without it.
//! In: mitdb, first lead. Out: figures on standard error, ceilings asserted.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "figures of a test")]

#[path = "support/records.rs"]
mod records;

use auscult_operators::filter::{MainsCanceller, MainsState};
use auscult_operators::signal::Hertz;
use records::{read, wfdb};

/// RMS of a difference from `from` on, in millivolts.
fn rms(a: &[f32], b: &[f32], from: usize) -> f64 {
    let square = |(a, b): (&f32, &f32)| (f64::from(*a) - f64::from(*b)).powi(2);
    let part = a[from..].iter().zip(&b[from..]);
    (part.clone().map(square).sum::<f64>() / part.len() as f64).sqrt()
}

#[test]
fn hum_goes_and_recorded_ecg_stays() {
    let Some(root) = records::data("mains on mitdb") else { return };
    let folder = root.join("mitdb");
    let list = String::from_utf8(read(&folder, "", "RECORDS").unwrap()).unwrap();
    let (mut bent, mut left, mut count) = (vec![], vec![], 0);
    for record in list.split_whitespace() {
        let header = String::from_utf8(read(&folder, "", &format!("{record}.hea")).unwrap()).unwrap();
        let signals = wfdb(&header, &read(&folder, "", &format!("{record}.dat")).unwrap());
        let rate = signals[0].rate;
        let x: Vec<f32> = signals[0].samples.iter().take((300.0 * rate) as usize).copied().collect();
        // These recordings carry hum of 60 Hz of their own; at 50 Hz they are clean.
        let canceller = MainsCanceller::new(Hertz(50.0), Hertz(rate)).unwrap();
        let run = |x: &[f32]| {
            let mut out = vec![0f32; x.len()];
            canceller.filter(&mut MainsState::default(), x, &mut out);
            out
        };
        let hz = 49.5 + f64::from(count % 11) * 0.1;
        let hum = |i: usize| libm::sin(std::f64::consts::TAU * hz * i as f64 / rate) as f32;
        let noisy: Vec<f32> = x.iter().enumerate().map(|(i, x)| x + hum(i)).collect();
        let settled = (5.0 * rate) as usize;
        bent.push((rms(&run(&x), &x, settled) * 1000.0, record));
        left.push((20.0 * libm::log10(rms(&run(&noisy), &x, settled) / 0.5f64.sqrt()), record));
        count += 1;
    }
    assert!(count >= 10, "{count} records");
    for figures in [&mut bent, &mut left] {
        figures.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let (worst_bent, worst_left) = (bent[bent.len() - 1], left[left.len() - 1]);
    let (mid_bent, mid_left) = (bent[bent.len() / 2].0, left[left.len() / 2].0);
    eprintln!("{count} records: bent by {mid_bent:.1} (median) to {worst_bent:?} microvolts RMS");
    eprintln!("hum of 1 mV left: {mid_left:.1} (median) to {worst_left:?} dB");
    assert!(mid_bent < 10.0 && worst_bent.0 < 15.0, "{worst_bent:?}");
    assert!(mid_left < -36.0 && worst_left.0 < -30.0, "{worst_left:?}");
}
