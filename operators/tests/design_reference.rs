//! Chebyshev and elliptic designs against scipy: every coefficient, the worst one counts.
//! In: golden values made by reference/make_filter_reference.py. Out: failures that name the design and the
//! coefficient.
#![allow(clippy::unwrap_used, reason = "a test that panics has failed")]

use auscult_operators::filter::{Band, DesignError, Section, chebyshev1, chebyshev2, elliptic};
use auscult_operators::signal::Hertz;
use serde::Deserialize;

#[derive(Deserialize)]
struct Reference {
    made: String,
    designs: Vec<Design>,
}

#[derive(Deserialize)]
struct Design {
    family: String,
    kind: String,
    order: usize,
    ripple: f64,
    attenuation: f64,
    edges: Vec<f64>,
    rate: f64,
    /// Per section b0, b1, b2, a1, a2.
    sos: Vec<[f64; 5]>,
}

impl Design {
    fn made(&self) -> Result<Vec<Section>, DesignError> {
        let (rate, e) = (Hertz(self.rate), |i: usize| Hertz(self.edges[i]));
        let band = match self.kind.as_str() {
            "lowpass" => Band::LowPass(e(0)),
            "highpass" => Band::HighPass(e(0)),
            "bandpass" => Band::BandPass(e(0), e(1)),
            _ => Band::BandStop(e(0), e(1)),
        };
        match self.family.as_str() {
            "chebyshev1" => chebyshev1(self.order, self.ripple, band, rate),
            "chebyshev2" => chebyshev2(self.order, self.attenuation, band, rate),
            _ => elliptic(self.order, self.ripple, self.attenuation, band, rate),
        }
    }
}

/// Worst difference of a coefficient: of the gain relative to itself, of the rest relative to the larger of it and
/// one.
fn worst(found: &[Section], expected: &[[f64; 5]]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let mut worst = 0.0f64;
    for (i, (s, e)) in found.iter().zip(expected).enumerate() {
        // The first section bears the gain, which for high orders is tiny.
        let gain = if i == 0 { e[0].abs() } else { 1.0 };
        for (g, e) in s.b.iter().zip(e) {
            worst = worst.max((g - e).abs() / e.abs().max(gain));
        }
        for (g, e) in s.a.iter().zip(&e[3..]) {
            worst = worst.max((g - e).abs() / e.abs().max(1.0));
        }
    }
    worst
}

#[test]
fn chebyshev_and_elliptic_sections_equal_those_of_scipy() {
    let all: Reference = serde_json::from_str(include_str!("reference/ripple_reference.json")).unwrap();
    assert!(all.made.contains("scipy"));
    for family in ["chebyshev1", "chebyshev2", "elliptic"] {
        for kind in ["lowpass", "highpass", "bandpass", "bandstop"] {
            let some = all.designs.iter().filter(|d| d.family == family && d.kind == kind);
            assert!(some.clone().count() >= 15, "{family} {kind}: {}", some.count());
        }
    }
    let mut bad = Vec::new();
    for d in &all.designs {
        let found = d.made().unwrap();
        let err = worst(&found, &d.sos);
        if err.is_nan() || err > 1e-9 {
            bad.push(format!("{} {} {} {:?} at {}: {err:e}", d.family, d.kind, d.order, d.edges, d.rate));
        }
        // The comparison must be able to fail: a millionth of a coefficient shows.
        let mut off = found;
        off[0].b[0] *= 1.000_001;
        assert!(worst(&off, &d.sos) > 1e-9, "the check does not bite");
    }
    assert!(bad.is_empty(), "{} of {}:\n{}", bad.len(), all.designs.len(), bad.join("\n"));
}
