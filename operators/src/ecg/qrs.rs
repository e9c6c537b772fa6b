//! QRS
use super::qrs_features::{Features, T};
use crate::signal::Hertz;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct QrsBeat { pub sample_index: i64, pub amplitude: f32, pub confidence: f32 }
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub struct Cand { pub t: i64, pub f: f32 }

pub struct QrsDetector {
    pub fe: Features, pub t: T, pub fs: f64,
    prev: f32, rising: bool,
    pend: Option<Cand>,
    q: Vec<Cand>,
    s: f32, nz: f32, rr: f32, rrs: Vec<f32>,
    last: i64, last_f: f32, last_slope: f32, beats: u32,
    back: Option<Cand>, 
    fmax: f32,
    pol: f32,
    pub log: Option<Vec<(i64, [f32; 8])>>,
}
pub const TUNE: [f64; 32] = {
    let mut t = [0.0; 32];
    t[0] = 0.020; t[1] = 0.033; t[2] = 0.090; t[3] = 0.0;
    t[4] = 0.200; // nms
    t[5] = 0.30; // k
    t[6] = 0.125; t[7] = 0.125; // alphas
    t[8] = 0.36; t[9] = 0.5; // T window, slope ratio
    t[10] = 1.5; t[11] = 0.5; // search back at x rr, factor
    t[12] = 0.85; // start lookahead
    t[13] = 2.0; // start length
    t[14] = 0.02; // floor mV
    t[15] = 0.45; // start k
    t[16] = 0.9; // oldest candidate for search-back
    t[17] = 2.0;// S clamp
    t[18] = 0.3; t[19] = 0.5; t[20] = 0.3; t[21] = 0.0; t[22] = 0.6; t[23] = 0.0; t[24] = 1.1; t[25] = 0.04; t[26] = 0.06;
    t
};
impl QrsDetector {
    pub fn new(rate: Hertz, t: &T) -> Self {
        QrsDetector { fe: Features::new(rate, t), t: t.clone(), fs: rate.get(), prev: 0.0, rising: false, pend: None, q: vec![],
            s: 0.0, nz: 0.0, rr: (0.8 * rate.get()) as f32, rrs: vec![], last: i64::MIN / 2, last_f: 0.0, last_slope: 0.0, beats: 0, back: None, fmax: 0.0, pol: 0.0, log: None }
    }
    pub fn push(&mut self, xs: &[f32], on: &mut impl FnMut(QrsBeat)) {
        for &x in xs {
            let f = self.fe.push(x);
            let n = self.fe.n - 1;
            if f > self.prev { self.rising = true }
            else if f < self.prev && self.rising {
                self.rising = false;
                self.peak(Cand { t: n - 1, f: self.prev });
            }
            self.prev = f;
            if let Some(p) = self.pend { if n - p.t >= (self.t.0[4] * self.fs) as i64 { self.q.push(p); self.pend = None; } }
            while let Some(&c) = self.q.first() {
                let start = c.t < (self.t.0[13] * self.fs) as i64;
                if n - c.t < (self.t.0[if start { 12 } else { 20 }] * self.fs) as i64 { break }
                self.q.remove(0);
                self.decide(c, start, on);
            }
            if let Some(b) = self.back {
                let el = (n - self.last) as f32;
                if self.beats > 0 && el > self.t.0[10] as f32 * self.rr {
                    self.back = None;
                    let thr = self.thr();
                    if b.f > thr * self.t.0[11] as f32 { self.accept(b, on); }
                } else if (n - b.t) as f64 > self.t.0[16] * self.fs { self.back = None; }
            }
        }
    }
    fn peak(&mut self, c: Cand) {
        let w = (self.t.0[4] * self.fs) as i64;
        match self.pend { Some(p) if c.t - p.t < w => if c.f > p.f { self.pend = Some(c) }, Some(p) => { self.q.push(p); self.pend = Some(c) } None => self.pend = Some(c) }
    }
    fn thr(&self) -> f32 { (self.nz + self.t.0[5] as f32 * (self.s - self.nz)).max(self.t.0[14] as f32) }
    fn slope(&self, c: Cand) -> f32 {
        let mut m = 0;
        for i in c.t - self.fe.m as i64..=c.t { m = m.max(self.fe.v(i).abs()) }
        m as f32
    }
    fn decide(&mut self, c: Cand, start: bool, on: &mut impl FnMut(QrsBeat)) {
        if start {
            let mx = self.q.iter().chain(self.pend.iter()).fold(c.f.max(self.s), |m, q| m.max(q.f));
            if self.s == 0.0 { self.s = mx; }
            let thr = (mx.min(3.0 * self.s) * self.t.0[15] as f32).max(self.t.0[14] as f32);
            if c.f > thr { self.accept(c, on) } else { self.nz += (c.f - self.nz) * 0.125; }
            return;
        }
        let tau = (c.t - self.last) as f32 / self.rr;
        let early = self.t.0[21] as f32 * ((self.t.0[22] as f32 - tau) / self.t.0[22] as f32).max(0.0);
        let late = self.t.0[23] as f32 * ((tau - self.t.0[24] as f32) * 2.0).clamp(0.0, 1.0);
        let mut thr = self.thr(); thr += (self.s - thr).max(0.0) * early; thr *= 1.0 - late;
        let mut ok = c.f > thr;
        let nx = self.q.iter().chain(self.pend.iter()).filter(|p| ((p.t - c.t) as f64) < self.t.0[18] * self.fs).fold(0.0f32, |m, p| m.max(p.f));
        if ok && c.f < nx * self.t.0[19] as f32 { ok = false }
        if ok && ((c.t - self.last) as f64) < self.t.0[8] * self.fs && self.slope(c) < self.t.0[9] as f32 * self.last_slope { ok = false }
        if self.log.is_some() { let m = self.fe.metrics(); let r = [c.f, thr, self.s, self.nz, self.rr / self.fs as f32, m.0, m.1, m.2]; if ok { self.log.as_mut().unwrap().push((c.t - self.fe.delay(), r)) } }
        if ok { self.accept(c, on) } else {
            self.nz += (c.f.min(self.s) - self.nz) * self.t.0[7] as f32;
            if self.back.is_none_or(|b| b.f < c.f) && ((c.t - self.last) as f64) > self.t.0[8] * self.fs { self.back = Some(c) }
        }
    }
    fn accept(&mut self, c: Cand, on: &mut impl FnMut(QrsBeat)) {
        self.back = None;
        let f = c.f.min(self.t.0[17] as f32 * self.s);
        self.s += (f - self.s) * self.t.0[6] as f32;
        let rr = (c.t - self.last) as f32;
        if self.beats > 0 && rr < 3.0 * self.fs as f32 {
            self.rrs.push(rr); if self.rrs.len() > 8 { self.rrs.remove(0); }
            let mut z = self.rrs.clone(); z.sort_by(f32::total_cmp); self.rr = z[z.len() / 2];
        }
        self.last = c.t; self.last_f = c.f; self.last_slope = self.slope(c);
        self.beats += 1;
        on(QrsBeat { sample_index: c.t - self.fe.delay(), amplitude: c.f, confidence: 1.0 });
    }
}
