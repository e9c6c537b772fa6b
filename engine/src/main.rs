//! The `auscult` binary.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Index of the allocator's option `arena_eager_commit`.
const ARENA_EAGER_COMMIT: libmimalloc_sys::mi_option_t = 4;

/// Memory is committed as it is needed, not by the gigabyte: at ten thousand beds that makes 85 MiB less of 680.
/// The allocator takes its first gigabyte before `main` begins, so the loader calls this. What the environment says
/// (`MIMALLOC_ARENA_EAGER_COMMIT`) goes before it.
#[allow(unsafe_code, reason = "the allocator's options are set through its C interface")]
extern "C" fn commit_as_needed() {
    // SAFETY: there is one thread, and nothing has been allocated; the option exists and any number will do.
    unsafe { libmimalloc_sys::mi_option_set_default(ARENA_EAGER_COMMIT, 0) }
}

#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "the place where the loader looks for what it is to call")]
// SAFETY: the section holds addresses of functions of this type and nothing else.
#[unsafe(link_section = ".init_array")]
#[used]
static BEFORE_MAIN: extern "C" fn() = commit_as_needed;

fn main() -> ExitCode {
    auscult::cli::main()
}
