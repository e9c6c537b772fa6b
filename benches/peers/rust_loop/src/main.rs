//! bands10 as an engineer would write it by hand instead of using an engine: one scalar loop, one thread.
//! In: a folder with `part-*.bin`. Out: a file of JSON lines.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex, num_complex::Complex64};

/// `scipy.signal.butter(4, [0.5, 40], "bandpass", fs=250, output="sos")`, without the leading ones of the denominators.
const SOS: [[f64; 5]; 4] = [
    [
        0.021961263433741933,
        0.043922526867483866,
        0.021961263433741933,
        -0.6215552807265685,
        0.1305843533436152,
    ],
    [1.0, 2.0, 1.0, -0.8176588707461863, 0.5194597165945805],
    [1.0, -2.0, 1.0, -1.976514489017057, 0.9766768504796793],
    [1.0, -2.0, 1.0, -1.9904258738606502, 0.990584060251276],
];
const BINS: [(usize, usize); 4] = [(5, 40), (40, 80), (80, 150), (150, 400)];
const LEN: usize = 2500;

/// What is remembered of one key.
struct Key {
    filter: [f64; 8],
    window: u64,
    y: Vec<f64>,
}

/// The transform with its buffers.
struct Spectrum {
    fft: Arc<dyn RealToComplex<f64>>,
    input: Vec<f64>,
    output: Vec<Complex64>,
    scratch: Vec<Complex64>,
    hann: Vec<f64>,
}

struct Job {
    spectrum: Spectrum,
    keys: HashMap<Box<[u8]>, Key>,
}

impl Job {
    fn new() -> Self {
        let fft = RealFftPlanner::<f64>::new().plan_fft_forward(LEN);
        let (input, output, scratch) = (
            fft.make_input_vec(),
            fft.make_output_vec(),
            fft.make_scratch_vec(),
        );
        let hann = |i: usize| 0.5 - 0.5 * (2.0 * std::f64::consts::PI * i as f64 / LEN as f64).cos();
        let spectrum = Spectrum {
            fft,
            input,
            output,
            scratch,
            hann: (0..LEN).map(hann).collect(),
        };
        Self {
            spectrum,
            keys: HashMap::new(),
        }
    }

    fn push(&mut self, key: &[u8], value: &[u8], out: &mut String) {
        let ms = u64::from_le_bytes(value[..8].try_into().expect("eight bytes"));
        let n = u16::from_le_bytes([value[10], value[11]]) as usize;
        let window = ms / 10_000 * 10_000;
        if !self.keys.contains_key(key) {
            self.keys.insert(
                key.into(),
                Key {
                    filter: [0.0; 8],
                    window,
                    y: Vec::with_capacity(LEN),
                },
            );
        }
        let state = self.keys.get_mut(key).expect("just put there");
        if state.window != window {
            self.spectrum.fire(key, state, out);
            state.window = window;
        }
        for i in 0..n {
            let mut x = i16::from_le_bytes([value[12 + 2 * i], value[13 + 2 * i]]) as f64 * 0.005;
            for (j, q) in SOS.iter().enumerate() {
                let y = q[0] * x + state.filter[2 * j];
                state.filter[2 * j] = q[1] * x - q[3] * y + state.filter[2 * j + 1];
                state.filter[2 * j + 1] = q[2] * x - q[4] * y;
                x = y;
            }
            state.y.push(x);
        }
    }

    fn end(&mut self, out: &mut String) {
        for (key, state) in &mut self.keys {
            self.spectrum.fire(key, state, out);
        }
    }
}

impl Spectrum {
    /// Tells of the window that has ended, if it is whole.
    fn fire(&mut self, key: &[u8], state: &mut Key, out: &mut String) {
        if state.y.len() == LEN {
            let mut squares = 0.0;
            for i in 0..LEN {
                let v = state.y[i];
                squares += v * v;
                self.input[i] = v * self.hann[i];
            }
            let rms = (squares / LEN as f64).sqrt();
            self.fft
                .process_with_scratch(&mut self.input, &mut self.output, &mut self.scratch)
                .expect("lengths fit");
            let weights = [0.8, -0.3, 0.25, 0.15, -0.2];
            let mut z = weights[0] * (rms + 1e-9).ln() - 0.4;
            let mut bands = [0.0; 4];
            for (i, &(from, to)) in BINS.iter().enumerate() {
                bands[i] = self.output[from..to].iter().map(|q| q.norm_sqr()).sum();
                z += weights[i + 1] * (bands[i] + 1e-9f64).ln();
            }
            let (key, w) = (std::str::from_utf8(key).expect("a key is text"), state.window);
            let (p, [a, b, c, d]) = (1.0 / (1.0 + (-z).exp()), bands);
            let _ = write!(out, "{{\"k\":\"{key}\",\"w\":{w},\"n\":{LEN},\"rms\":{rms:?},");
            let _ = writeln!(out, "\"bands\":[{a:?},{b:?},{c:?},{d:?}],\"p\":{p:?}}}");
        }
        state.y.clear();
    }
}

/// Walks the records of one file.
fn walk(data: &[u8], job: &mut Job, out: &mut String) {
    let mut at = 0;
    while at < data.len() {
        let key = at + 2..at + 2 + u16::from_le_bytes([data[at], data[at + 1]]) as usize;
        let len = u32::from_le_bytes(data[key.end..key.end + 4].try_into().expect("four bytes")) as usize;
        let value = key.end + 4..key.end + 4 + len;
        at = value.end;
        job.push(&data[key], &data[value], out);
    }
}

fn main() -> std::io::Result<()> {
    let arguments: Vec<String> = std::env::args().collect();
    let mut paths: Vec<_> = std::fs::read_dir(&arguments[1])?
        .map(|e| e.map(|e| e.path()))
        .collect::<std::io::Result<_>>()?;
    paths.retain(|p| p.extension().is_some_and(|e| e == "bin"));
    paths.sort();
    let mut out = String::new();
    for path in paths {
        let mut job = Job::new();
        walk(&std::fs::read(path)?, &mut job, &mut out);
        job.end(&mut out);
    }
    std::fs::write(&arguments[2], out)
}
