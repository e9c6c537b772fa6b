//! QRS energy of one ECG lead, sample by sample.
//! In: millivolts at any rate. Out: a smoothed slope magnitude in mV, with peaks on QRS complexes.
use crate::signal::Hertz;
use serde::{Deserialize, Serialize};

#[doc(hidden)]
#[derive(Clone, Debug)]
pub struct T(pub [f64; 32]);
/// State.
#[derive(Clone, Debug, Serialize, Deserialize, PartialEq)]
pub struct Features {
    pub mask: usize,
    pub n: i64,
    pub a: usize,
    pub d: usize,
    pub m: usize,
    pub wide: usize,
    pub x0: i64,
    pub cum: Vec<i64>,
    pub en: Vec<i64>,
    pub scale: f32,
    pub tick: u32, pub step: u32, pub sa: usize, pub sd: usize, pub bn: u32, pub bsum: f32, pub bmax: f32, pub blk: Vec<(f32, f32)>, pub bi: usize,
}
const Q: f32 = 65536.0;
impl Features {
    pub fn new(rate: Hertz, t: &T) -> Self {
        let fs = rate.get();
        let w = |s: f64| ((s * fs + 0.5) as usize).max(1);
        let size = w(1.3).next_power_of_two();
        let (a, d, m) = (w(t.0[0]), w(t.0[1]), w(t.0[2]));
        Features { mask: size - 1, n: 0, a, d, m, wide: if t.0[3] > 0.0 { w(t.0[3]) } else { 0 }, x0: 0,
            cum: vec![0; size], en: vec![0; size], scale: 1.0 / (Q * a as f32 * m as f32), tick: 0, step: w(0.01) as u32, sa: w(t.0[25]), sd: w(t.0[26]), bn: 0, bsum: 0.0, bmax: 0.0, blk: vec![(0.0, 0.0); 40], bi: 0 }
    }
    #[inline]
    pub fn c(&self, i: i64) -> i64 { self.cum[i as usize & self.mask] }
    #[inline]
    pub fn e(&self, i: i64) -> i64 { self.en[i as usize & self.mask] }
    #[inline]
    pub fn push(&mut self, x: f32) -> f32 {
        let q = (x.clamp(-50.0, 50.0) * Q) as i64;
        if self.n == 0 { self.x0 = q; }
        let n = self.n;
        let c = self.c(n - 1).wrapping_add(q - self.x0);
        let i = n as usize & self.mask;
        self.cum[i] = c;
        let v = self.v(n);
        self.en[i] = self.e(n - 1).wrapping_add(v.abs());
        self.n = n + 1;
        self.tick += 1;
        if self.tick == self.step { self.tick = 0; self.slow(n); }
        self.en[i].wrapping_sub(self.e(n - self.m as i64)) as f32 * self.scale
    }
    fn slow(&mut self, n: i64) {
        let (a, d) = (self.sa as i64, self.sd as i64);
        let s = (self.c(n) - self.c(n - a) - self.c(n - d) + self.c(n - a - d)).abs() as f32 / (Q * a as f32);
        self.bsum += s; self.bmax = self.bmax.max(s); self.bn += 1;
        if self.bn == 5 { self.blk[self.bi] = (self.bsum / 5.0, self.bmax); self.bi = (self.bi + 1) % 40; self.bn = 0; self.bsum = 0.0; self.bmax = 0.0; }
    }
    pub fn metrics(&self) -> (f32, f32, f32) {
        let mut top = [0.0f32; 4]; let mut sum = 0.0;
        for b in &self.blk { sum += b.0; if b.1 > top[3] { top[3] = b.1; top.sort_by(|a, b| b.total_cmp(a)); } }
        let p = top[3].max(1e-6);
        let quiet = self.blk.iter().filter(|b| b.1 < 0.3 * p).count() as f32 / 40.0;
        (sum / 40.0 / p, quiet, p)
    }
    /// slope at n (delay (a+d+..)/2)
    #[inline]
    pub fn v(&self, n: i64) -> i64 {
        let (a, d) = (self.a as i64, self.d as i64);
        if self.wide == 0 {
            return self.c(n).wrapping_sub(self.c(n - a)).wrapping_sub(self.c(n - d)).wrapping_add(self.c(n - d - a));
        }
        let w = self.wide as i64;
        // wide derivative centred likewise
        let off = (w - d) / 2;
        let k = n - off;
        let narrow = self.c(k).wrapping_sub(self.c(k - a)).wrapping_sub(self.c(k - d)).wrapping_add(self.c(k - d - a));
        let wide = self.c(n).wrapping_sub(self.c(n - a)).wrapping_sub(self.c(n - w)).wrapping_add(self.c(n - w - a));
        narrow - wide * d / w
    }
    /// Delay of F's peak in samples
    pub fn delay(&self) -> i64 { ((self.a - 1 + self.d.max(self.wide) + self.m - 1) / 2) as i64 }
}
