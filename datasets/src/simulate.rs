//! Simulated beds: every channel of a monitored patient from a seed, with the truth behind it.
//! In: a seed, a profile, a script. Out: one frame a second in the shared vocabulary, and the true beat
//! times, breath times and vital signs of that second. The same seed gives the same bits on every machine.
//!
//! The electrocardiogram is a sum of Gaussian waves per beat, after McSharry, Clifford, Tarassenko and Smith,
//! IEEE Trans Biomed Eng 2003;50(3):289-294 (doi:10.1109/TBME.2003.808805); where that paper moves a point
//! around a limit cycle, the waves stand here at fixed distances from the R wave, and the T wave moves with
//! the root of the beat interval. It looks right on a screen and exercises every path; it is not a model of
//! disease.

pub mod bed;
pub mod charted;
pub mod faults;
pub mod heart;
pub mod lungs;
pub mod script;
pub mod shapes;
pub mod ward;
pub mod waves;

pub use bed::{Profile, SimulatedBed, TrueBeat, Truth};
pub use faults::{FaultPlan, Faulty};
pub use script::{Change, Rhythm, Script, Sensors, Step, Vitals};
pub use ward::{Ward, ward};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

/// A seeded source of numbers.
#[derive(Clone, Debug)]
pub struct Draw(ChaCha8Rng);

impl Draw {
    /// A stream of its own for each seed and purpose.
    ///
    /// ```
    /// use auscult_datasets::simulate::Draw;
    /// let x = Draw::new(7, 0).uniform();
    /// assert_eq!(x, Draw::new(7, 0).uniform());
    /// assert!(x != Draw::new(7, 1).uniform() && (0.0..1.0).contains(&x));
    /// ```
    pub fn new(seed: u64, purpose: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(purpose);
        Self(rng)
    }
    /// A 64-bit number.
    pub fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }
    /// From 0 up to, not including, 1.
    pub fn uniform(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1u64 << 53) as f64
    }
    /// From `low` up to `high`.
    pub fn between(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }
    /// About normal with mean 0 and deviation 1: the sum of four uniform numbers, never beyond 3.5.
    pub fn normal(&mut self) -> f64 {
        let sum = self.uniform() + self.uniform() + self.uniform() + self.uniform();
        (sum - 2.0) * 1.732_050_807_568_877_2
    }
    /// Whether something of that probability happens.
    pub fn happens(&mut self, probability: f64) -> bool {
        self.uniform() < probability
    }
    /// A whole number below `n`, which must not be 0.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.uniform() * n as f64) as usize).min(n.saturating_sub(1))
    }
}
