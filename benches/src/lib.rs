//! Benches: how fast each hop is, and the whole walk.
//! In: the one named workload of [`workload`]. Out: criterion's figures, each beside a hash of the result, so that a
//! change of speed that is a change of result is seen.

pub mod core_time;
pub mod digest;
pub mod kernels;
pub mod workload;

/// Benches allocate as the program does.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;
