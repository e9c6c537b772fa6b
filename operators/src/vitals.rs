//! Vital signs told as numbers rather than waves: oxygen saturation and temperature over an hour.
//! In: the valid value of each, second by second. Out: falls, time and area beyond limits; units in the cards.

pub mod desaturation;
pub mod temperature_burden;

use crate::operator::Spec;

/// The operators of this family, in graph order.
pub static SPECS: &[&Spec] = &[&desaturation::SPEC, &temperature_burden::SPEC];
