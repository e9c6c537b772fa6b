//! Every operator, in graph order: an operator may read what those before it wrote.
//! In: nothing. Out: the cards that configuration, documents and the conformance tests loop over.

use crate::operator::Spec;

/// All operators, in graph order.
pub static OPERATORS: &[&Spec] = &[];

/// The operator of that name.
pub fn find(name: &str) -> Option<&'static Spec> {
    OPERATORS.iter().copied().find(|s| s.name == name)
}
