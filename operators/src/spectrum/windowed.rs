//! Power of one tapered window in bands, as plain sums of squared coefficients. In: samples in the channel's unit, a
//! taper, bands as ranges of coefficients. Out: the sum of the squared samples, and per band the sum of `|X|^2` of the
//! tapered samples, where `X` is scaled as `numpy.fft.rfft` does it; unit squared.
//!
//! Even and odd samples are the real and imaginary parts of half as many complex ones, as in [`super::fft`]. Their
//! transform is Bailey's: columns, a turn, rows (Van Loan, Computational Frameworks for the Fast Fourier Transform,
//! section 3.3), so that each step goes over eight neighbours at once; columns and rows are Stockham's passes. Of the
//! coefficients only those of the bands are made. The order of operations is fixed: every width gives the same bits.

use std::ops::Range;

use super::fft::{Bin, LengthError, RealFft};
use super::stockham::{COS_5, SIN_3, SIN_5, turn};
use crate::filter::Width;
use crate::filter::dispatch::{self, Eight, OverEights};

/// The sides of the rectangle must be at least this, so that eight neighbours are there.
const SIDE: usize = 8;

/// A window of one length, one taper and some bands: tables and working memory, for use again and again.
#[derive(Debug)]
pub struct WindowedPower {
    taper: Vec<f64>,
    bands: Vec<Range<usize>>,
    way: Way,
}

/// How the transform is made.
#[derive(Debug)]
enum Way {
    /// Columns and rows.
    Wide(Box<Wide>),
    /// For lengths without two handy factors.
    Plain(RealFft, Vec<f64>, Vec<Bin>),
}

/// Real and imaginary parts apart.
#[derive(Debug, Default)]
struct Split {
    re: Vec<f64>,
    im: Vec<f64>,
}

/// Tables of the wide form.
#[derive(Debug)]
struct Wide {
    columns: Vec<Pass>,
    rows: Vec<Pass>,
    /// Rows and columns of the rectangle.
    sides: (usize, usize),
    /// The turn between columns and rows.
    twist: Split,
    /// exp(-2 pi i k / len) for k up to half the length.
    turns: Split,
    work: [Split; 2],
}

/// One factor: see [`super::stockham`]; `stride` counts the neighbours too.
#[derive(Debug)]
struct Pass {
    radix: usize,
    rest: usize,
    stride: usize,
    turns: Vec<Bin>,
}

impl Split {
    fn zeros(len: usize) -> Self {
        Self { re: vec![0.0; len], im: vec![0.0; len] }
    }
    fn of(bins: impl Iterator<Item = Bin>) -> Self {
        let (re, im) = bins.map(|b| (b.re, b.im)).unzip();
        Self { re, im }
    }
}

impl WindowedPower {
    /// Plans windows of as many samples as the taper is long. Bands are ranges of coefficients; what lies beyond half
    /// the length is left out.
    ///
    /// # Errors
    /// [`LengthError`] if the length is odd or zero.
    ///
    /// ```
    /// use auscult_operators::spectrum::WindowedPower;
    /// let mut power = WindowedPower::new(vec![1.0; 4], vec![0..1, 1..3]).unwrap();
    /// let mut bands = [0.0; 2];
    /// assert_eq!(power.of(&[1.0, 2.0, 3.0, 4.0], &mut bands), 30.0);
    /// assert!((bands[0] - 100.0).abs() < 1e-9 && (bands[1] - 12.0).abs() < 1e-9);
    /// ```
    pub fn new(taper: Vec<f64>, bands: Vec<Range<usize>>) -> Result<Self, LengthError> {
        let len = taper.len();
        let fft = RealFft::new(len)?;
        let bands = bands.into_iter().map(|b| b.start.min(len / 2 + 1)..b.end.min(len / 2 + 1)).collect();
        let way = match Wide::new(len) {
            Some(wide) => Way::Wide(Box::new(wide)),
            None => {
                let bins = vec![Bin::new(0.0, 0.0); fft.bins()];
                Way::Plain(fft, vec![0.0; len], bins)
            }
        };
        Ok(Self { taper, bands, way })
    }

    /// The taper.
    pub fn taper(&self) -> &[f64] {
        &self.taper
    }

    /// The bands.
    pub fn bands(&self) -> &[Range<usize>] {
        &self.bands
    }

    /// Writes the power of each band and returns the sum of the squared samples before the taper. Samples that are
    /// missing count as zero, surplus ones are left out.
    pub fn of(&mut self, samples: &[f32], bands: &mut [f64]) -> f64 {
        self.of_at(Width::best(), samples, bands)
    }

    /// As [`WindowedPower::of`], with instructions of a given width.
    pub fn of_at(&mut self, width: Width, samples: &[f32], bands: &mut [f64]) -> f64 {
        let samples = &samples[..samples.len().min(self.taper.len())];
        match &mut self.way {
            Way::Wide(wide) => {
                let (taper, wanted) = (&self.taper, &self.bands);
                let mut job = Transform { wide, taper, wanted, samples, bands, squares: 0.0 };
                dispatch::run_eights(width, &mut job);
                job.squares
            }
            Way::Plain(fft, tapered, bins) => {
                let mut squares = 0.0;
                for (i, (x, w)) in tapered.iter_mut().zip(&self.taper).enumerate() {
                    let y = samples.get(i).map_or(0.0, |y| f64::from(*y));
                    squares += y * y;
                    *x = y * w;
                }
                fft.forward(tapered, bins);
                for (out, band) in bands.iter_mut().zip(&self.bands) {
                    *out = bins[band.clone()].iter().map(|b| b.norm_sqr()).sum();
                }
                squares
            }
        }
    }
}

impl Wide {
    /// `None` if half the length is not a product of two sides whose factors are all small.
    fn new(len: usize) -> Option<Self> {
        let half = len / 2;
        let side = (SIDE..=half).take_while(|a| a * a <= half).filter(|a| half.is_multiple_of(*a)).last()?;
        let (a, b) = (side, half / side);
        let twist = (0..a).flat_map(|k| (0..b).map(move |n| turn(k * n, half)));
        Some(Self {
            columns: passes(a, b)?,
            rows: passes(b, a)?,
            sides: (a, b),
            twist: Split::of(twist),
            turns: Split::of((0..=half).map(|k| turn(k, len))),
            // One more coefficient: the first stands after the last again.
            work: [Split::zeros(half + 1), Split::zeros(half + 1)],
        })
    }
}

/// The passes of a transform of `len` rows of `width` neighbours each.
fn passes(len: usize, width: usize) -> Option<Vec<Pass>> {
    let (mut rest, mut stride, mut out) = (len, width, Vec::new());
    while rest > 1 {
        // The large ones first: the sooner the neighbours are many.
        let radix = [5, 4, 3, 2].into_iter().find(|&r| rest.is_multiple_of(r))?;
        let n = rest;
        rest /= radix;
        let turns = (0..rest).flat_map(|p| (1..radix).map(move |k| turn(p * k, n))).collect();
        out.push(Pass { radix, rest, stride, turns });
        stride *= radix;
    }
    Some(out)
}

/// One window on its way.
struct Transform<'a> {
    wide: &'a mut Wide,
    taper: &'a [f64],
    wanted: &'a [Range<usize>],
    samples: &'a [f32],
    bands: &'a mut [f64],
    squares: f64,
}

impl OverEights for Transform<'_> {
    #[inline(always)]
    fn run<V: Eight>(&mut self) {
        let Wide { columns, rows, sides, twist, turns, work: [x, y] } = &mut *self.wide;
        let half = sides.0 * sides.1;
        self.squares = squares::<V>(self.samples);
        pack(self.samples, self.taper, &mut x.re[..half], &mut x.im[..half]);
        let swapped = transform::<V>(columns, x, y);
        let (x, y) = if swapped { (y, x) } else { (x, y) };
        twist_over::<V>(*sides, twist, x, y);
        let swapped = transform::<V>(rows, y, x);
        let z = if swapped { x } else { y };
        (z.re[half], z.im[half]) = (z.re[0], z.im[0]);
        for (out, band) in self.bands.iter_mut().zip(self.wanted) {
            *out = band_sum::<V>(band, half, z, turns);
        }
    }
}

/// Sum of squares in four times eight lanes, then lane by lane.
#[inline(always)]
fn squares<V: Eight>(samples: &[f32]) -> f64 {
    let mut lanes = [V::splat(0.0); 4];
    let (eights, rest) = samples.as_chunks::<SIDE>();
    let (fours, eights) = eights.as_chunks::<4>();
    for four in fours {
        for i in 0..4 {
            let y = V::widen(&four[i]);
            lanes[i] = y.mul_add(y, lanes[i]);
        }
    }
    for eight in eights {
        let y = V::widen(eight);
        lanes[0] = y.mul_add(y, lanes[0]);
    }
    let mut all = [0.0; SIDE];
    lanes[0].add(lanes[1]).add(lanes[2].add(lanes[3])).store(&mut all);
    let mut sum = 0.0;
    for lane in all {
        sum += lane;
    }
    for y in rest {
        let y = f64::from(*y);
        sum = y.mul_add(y, sum);
    }
    sum
}

/// Tapered samples, the even ones as real, the odd ones as imaginary parts.
#[inline(always)]
fn pack(samples: &[f32], taper: &[f64], re: &mut [f64], im: &mut [f64]) {
    let (pairs, last) = samples.as_chunks::<2>();
    let (tapers, _) = taper.as_chunks::<2>();
    for (((y, w), re), im) in pairs.iter().zip(tapers).zip(re.iter_mut()).zip(im.iter_mut()) {
        *re = f64::from(y[0]) * w[0];
        *im = f64::from(y[1]) * w[1];
    }
    let done = pairs.len();
    for i in done..re.len() {
        re[i] = 0.0;
        im[i] = 0.0;
    }
    if let (Some(y), Some(w), Some(re)) = (last.first(), tapers.get(done), re.get_mut(done)) {
        *re = f64::from(*y) * w[0];
    }
}

/// Runs passes to and fro; says whether the result lies in `y`.
#[inline(always)]
fn transform<V: Eight>(passes: &[Pass], x: &mut Split, y: &mut Split) -> bool {
    let mut swapped = false;
    for pass in passes {
        let (from, to) = if swapped { (&*y, &mut *x) } else { (&*x, &mut *y) };
        match pass.radix {
            2 => run_pass::<V, 2>(pass, from, to),
            3 => run_pass::<V, 3>(pass, from, to),
            4 => run_pass::<V, 4>(pass, from, to),
            _ => run_pass::<V, 5>(pass, from, to),
        }
        swapped = !swapped;
    }
    swapped
}

/// Eight neighbours; zeros where there are not enough, which does not happen.
#[inline(always)]
fn eight<V: Eight>(x: &[f64], at: usize) -> V {
    match x[at..].first_chunk() {
        Some(part) => V::load(part),
        None => V::splat(0.0),
    }
}

#[inline(always)]
fn put<V: Eight>(y: &mut [f64], at: usize, v: V) {
    if let Some(part) = y[at..].first_chunk_mut() {
        v.store(part);
    }
}

/// A row of neighbours, as eights and the last eight, which may overlap those before: the same values land in the same
/// places. Every row has at least eight.
#[inline(always)]
fn eights(row: &[f64]) -> (&[[f64; SIDE]], &[f64; SIDE]) {
    (row.as_chunks().0, row.last_chunk().unwrap_or(&[0.0; SIDE]))
}

#[inline(always)]
fn run_pass<V: Eight, const R: usize>(pass: &Pass, x: &Split, y: &mut Split) {
    let s = pass.stride;
    let n = s / SIDE;
    for p in 0..pass.rest {
        let turns = &pass.turns[p * (R - 1)..(p + 1) * (R - 1)];
        let (mut re, mut im) = ([(&[][..], &[0.0; SIDE]); R], [(&[][..], &[0.0; SIDE]); R]);
        for j in 0..R {
            let at = s * (p + pass.rest * j);
            (re[j], im[j]) = (eights(&x.re[at..at + s]), eights(&x.im[at..at + s]));
            (re[j].0, im[j].0) = (&re[j].0[..n], &im[j].0[..n]);
        }
        let out = s * R * p..s * R * (p + 1);
        let (to_re, to_im) = (&mut y.re[out.clone()], &mut y.im[out]);
        {
            let (yr, yi) = (rows::<R>(to_re, s, n), rows::<R>(to_im, s, n));
            for b in 0..n {
                let (mut vr, mut vi) = ([V::splat(0.0); R], [V::splat(0.0); R]);
                for j in 0..R {
                    (vr[j], vi[j]) = (V::load(&re[j].0[b]), V::load(&im[j].0[b]));
                }
                combine::<V, R>(&mut vr, &mut vi, turns);
                for k in 0..R {
                    vr[k].store(&mut yr[k][b]);
                    vi[k].store(&mut yi[k][b]);
                }
            }
        }
        if n * SIDE < s {
            let (mut vr, mut vi) = ([V::splat(0.0); R], [V::splat(0.0); R]);
            for j in 0..R {
                (vr[j], vi[j]) = (V::load(re[j].1), V::load(im[j].1));
            }
            combine::<V, R>(&mut vr, &mut vi, turns);
            for k in 0..R {
                put(to_re, s * (k + 1) - SIDE, vr[k]);
                put(to_im, s * (k + 1) - SIDE, vi[k]);
            }
        }
    }
}

/// `R` rows of `s` neighbours, as `n` eights each.
#[inline(always)]
fn rows<const R: usize>(mut y: &mut [f64], s: usize, n: usize) -> [&mut [[f64; SIDE]]; R] {
    let mut rows: [&mut [[f64; SIDE]]; R] = std::array::from_fn(|_| Default::default());
    for row in &mut rows {
        let (first, rest) = y.split_at_mut(s);
        *row = &mut first.as_chunks_mut().0[..n];
        y = rest;
    }
    rows
}

/// Transforms `R` values and turns all but the first.
#[inline(always)]
fn combine<V: Eight, const R: usize>(re: &mut [V; R], im: &mut [V; R], turns: &[Bin]) {
    butterfly::<V, R>(re, im);
    for k in 1..R {
        let turn = (V::splat(turns[k - 1].re), V::splat(turns[k - 1].im));
        (re[k], im[k]) = times((re[k], im[k]), turn);
    }
}

/// Complex product.
#[inline(always)]
fn times<V: Eight>(a: (V, V), b: (V, V)) -> (V, V) {
    let zero = V::splat(0.0);
    let minus = zero.sub(a.1.mul(b.1));
    (a.0.mul_add(b.0, minus), a.0.mul_add(b.1, a.1.mul(b.0)))
}

/// The transform of `R` values, as in [`super::stockham`].
#[inline(always)]
fn butterfly<V: Eight, const R: usize>(re: &mut [V; R], im: &mut [V; R]) {
    match R {
        2 => {
            (re[0], re[1]) = (re[0].add(re[1]), re[0].sub(re[1]));
            (im[0], im[1]) = (im[0].add(im[1]), im[0].sub(im[1]));
        }
        3 => {
            let (sr, si) = (re[1].add(re[2]), im[1].add(im[2]));
            let side = V::splat(SIN_3);
            let (dr, di) = (re[1].sub(re[2]).mul(side), im[1].sub(im[2]).mul(side));
            let half = V::splat(-0.5);
            let (mr, mi) = (sr.mul_add(half, re[0]), si.mul_add(half, im[0]));
            (re[0], im[0]) = (re[0].add(sr), im[0].add(si));
            (re[1], im[1]) = (mr.add(di), mi.sub(dr));
            (re[2], im[2]) = (mr.sub(di), mi.add(dr));
        }
        4 => {
            let (ar, ai) = (re[0].add(re[2]), im[0].add(im[2]));
            let (br, bi) = (re[0].sub(re[2]), im[0].sub(im[2]));
            let (cr, ci) = (re[1].add(re[3]), im[1].add(im[3]));
            let (dr, di) = (re[1].sub(re[3]), im[1].sub(im[3]));
            (re[0], im[0]) = (ar.add(cr), ai.add(ci));
            (re[1], im[1]) = (br.add(di), bi.sub(dr));
            (re[2], im[2]) = (ar.sub(cr), ai.sub(ci));
            (re[3], im[3]) = (br.sub(di), bi.add(dr));
        }
        _ => five(re, im),
    }
}

#[inline(always)]
fn five<V: Eight, const R: usize>(re: &mut [V; R], im: &mut [V; R]) {
    let [c1, c2] = [V::splat(COS_5[0]), V::splat(COS_5[1])];
    let [s1, s2] = [V::splat(SIN_5[0]), V::splat(SIN_5[1])];
    let minus = V::splat(-SIN_5[0]);
    let (or, oi) = (re[1].add(re[4]), im[1].add(im[4]));
    let (ir, ii) = (re[2].add(re[3]), im[2].add(im[3]));
    let (pr, pi) = (re[1].sub(re[4]), im[1].sub(im[4]));
    let (qr, qi) = (re[2].sub(re[3]), im[2].sub(im[3]));
    let (m1r, m1i) = (or.mul_add(c1, ir.mul_add(c2, re[0])), oi.mul_add(c1, ii.mul_add(c2, im[0])));
    let (m2r, m2i) = (or.mul_add(c2, ir.mul_add(c1, re[0])), oi.mul_add(c2, ii.mul_add(c1, im[0])));
    let (n1r, n1i) = (pr.mul_add(s1, qr.mul(s2)), pi.mul_add(s1, qi.mul(s2)));
    let (n2r, n2i) = (qr.mul_add(minus, pr.mul(s2)), qi.mul_add(minus, pi.mul(s2)));
    (re[0], im[0]) = (re[0].add(or).add(ir), im[0].add(oi).add(ii));
    // Minus i times n is (n.im, -n.re).
    (re[1], im[1]) = (m1r.add(n1i), m1i.sub(n1r));
    (re[2], im[2]) = (m2r.add(n2i), m2i.sub(n2r));
    (re[3], im[3]) = (m2r.sub(n2i), m2i.add(n2r));
    (re[4], im[4]) = (m1r.sub(n1i), m1i.add(n1r));
}

/// Turns each value by its place in the rectangle, and lays the rectangle over, eight by eight. The last squares may
/// overlap those before.
#[inline(always)]
fn twist_over<V: Eight>((a, b): (usize, usize), twist: &Split, x: &Split, y: &mut Split) {
    let mut k = 0;
    while k < a {
        k = k.min(a - SIDE);
        let mut n = 0;
        while n < b {
            n = n.min(b - SIDE);
            let (mut re, mut im) = ([V::splat(0.0); SIDE], [V::splat(0.0); SIDE]);
            for i in 0..SIDE {
                let at = (k + i) * b + n;
                let turn = (eight(&twist.re, at), eight(&twist.im, at));
                (re[i], im[i]) = times((eight(&x.re, at), eight(&x.im, at)), turn);
            }
            let (re, im) = (V::turn(re), V::turn(im));
            for i in 0..SIDE {
                put(&mut y.re, (n + i) * a + k, re[i]);
                put(&mut y.im, (n + i) * a + k, im[i]);
            }
            n += SIDE;
        }
        k += SIDE;
    }
}

/// Sum of `|X|^2` over a band: eight coefficients at a time, then lane by lane, then the rest.
#[inline(always)]
fn band_sum<V: Eight>(band: &Range<usize>, half: usize, z: &Split, turns: &Split) -> f64 {
    let mut lanes = V::splat(0.0);
    let mut k = band.start;
    while k + SIDE <= band.end {
        let mirror = half + 1 - k - SIDE;
        let (ar, ai): (V, V) = (eight(&z.re, k), eight(&z.im, k));
        let (br, bi): (V, V) = (eight::<V>(&z.re, mirror).reverse(), eight::<V>(&z.im, mirror).reverse());
        let turn = (eight(&turns.re, k), eight(&turns.im, k));
        // Twice the even part, and twice the odd part before its turn.
        let (er, ei) = (ar.add(br), ai.sub(bi));
        let odd = times((ai.add(bi), br.sub(ar)), turn);
        let (xr, xi) = (er.add(odd.0), ei.add(odd.1));
        lanes = xr.mul_add(xr, xi.mul_add(xi, lanes));
        k += SIDE;
    }
    let mut all = [0.0; SIDE];
    lanes.store(&mut all);
    let mut sum = 0.0;
    for lane in all {
        sum += lane;
    }
    while k < band.end {
        let (ar, ai, br, bi) = (z.re[k], z.im[k], z.re[half - k], z.im[half - k]);
        let (tr, ti) = (turns.re[k], turns.im[k]);
        let (or, oi) = (ai + bi, br - ar);
        let xr = (ar + br) + or.mul_add(tr, -(oi * ti));
        let xi = (ai - bi) + or.mul_add(ti, oi * tr);
        sum = xr.mul_add(xr, xi.mul_add(xi, sum));
        k += 1;
    }
    sum * 0.25
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that panics has failed")]
mod tests {
    use super::*;

    fn samples(len: usize) -> Vec<f32> {
        (0..len).map(|i| ((i * i * 7919 + i * 31) % 1009) as f32 / 1009.0 - 0.4).collect()
    }

    #[test]
    fn equals_the_plain_transform_at_every_even_length() {
        for len in (2..=260).step_by(2).chain([360, 500, 1000, 1250, 2500, 3600, 5000, 7680]) {
            let x = samples(len);
            let taper: Vec<f64> = (0..len).map(|i| 0.5 + (i % 7) as f64 / 10.0).collect();
            let bands = vec![0..1, 0..len / 2 + 1, 1..len / 5 + 1, len / 4..len / 2, len / 2..len];
            let mut found = vec![0.0; bands.len()];
            let squares = WindowedPower::new(taper.clone(), bands.clone()).unwrap().of(&x, &mut found);
            let tapered: Vec<f64> = x.iter().zip(&taper).map(|(y, w)| f64::from(*y) * w).collect();
            let mut fft = RealFft::new(len).unwrap();
            let mut bins = vec![Bin::default(); fft.bins()];
            fft.forward(&tapered, &mut bins);
            // What is left of a coefficient after cancelling is known only as well as all of them.
            let total: f64 = bins.iter().map(|b| b.norm_sqr()).sum();
            for (band, found) in bands.iter().zip(&found) {
                let (from, to) = (band.start.min(bins.len()), band.end.min(bins.len()));
                let expected: f64 = bins[from..to].iter().map(|b| b.norm_sqr()).sum();
                assert!(
                    (found - expected).abs() <= 1e-12 * (expected + 1e-6 * total),
                    "{len} {band:?}: {found} {expected}"
                );
            }
            let expected: f64 = x.iter().map(|y| f64::from(*y) * f64::from(*y)).sum();
            assert!((squares - expected).abs() < 1e-12 * expected.max(1.0));
        }
    }

    #[test]
    fn every_width_gives_the_same_bits() {
        for len in [250, 640, 2500, 3750] {
            let (x, bands) = (samples(len), vec![1..len / 9, 3..len / 3, 0..len / 2 + 1]);
            let mut power = WindowedPower::new(vec![0.75; len], bands).unwrap();
            let mut of = |width| {
                let mut out = [0.0; 3];
                (power.of_at(width, &x, &mut out).to_bits(), out.map(f64::to_bits))
            };
            let expected = of(Width::Scalar);
            for width in Width::available() {
                assert_eq!(of(width), expected, "{len} {width:?}");
            }
        }
    }

    #[test]
    fn missing_samples_count_as_zero() {
        for len in [50, 1250] {
            let mut power = WindowedPower::new(vec![1.0; len], std::iter::once(0..len).collect()).unwrap();
            let (mut short, mut long) = ([0.0], [0.0]);
            let mut x = samples(len - 3);
            let a = power.of(&x, &mut short);
            x.extend([0.0; 5]);
            assert_eq!((a, short), (power.of(&x, &mut long), long), "{len}");
        }
    }
}
