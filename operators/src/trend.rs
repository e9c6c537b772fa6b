//! How vital signs move over minutes.
//! In: the valid value of each quantity, second by second. Out: mean, slope, spread and share of time present.
//! The family stands alone because it reads values, not waves.

pub mod baseline;
pub mod burden;
pub mod robust_trend;
#[allow(clippy::module_inception, reason = "an operator's file bears its name, and so does its family")]
pub mod trend;

use crate::operator::Spec;

/// The operators of this family, in graph order.
pub static SPECS: &[&Spec] = &[&trend::SPEC, &robust_trend::SPEC, &baseline::SPEC];
