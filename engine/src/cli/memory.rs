//! What the two allocators keep of what is freed: ours, and the system's, by which the Kafka client allocates.
//! In: nothing. Out: settings of this process, for as long as it runs.

/// Index of the allocator's option `purge_delay`: for how many milliseconds it keeps what is free.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// What is freed goes back to the system at once: at thousands of beds the second's worth of frames that the allocator
/// would keep is a sixth of all memory, and asking for it again costs little. `MIMALLOC_PURGE_DELAY` goes before this.
#[allow(unsafe_code, reason = "the allocator's options are set through its C interface")]
pub(super) fn keep_nothing_free() {
    // SAFETY: nothing else sets options, and this process has no other thread yet; any number will do.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 0) }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (option, value) in GLIBC {
        // SAFETY: as above; an option that is not known is passed over.
        unsafe { libc::mallopt(option, value) };
    }
}

/// By default glibc learns to keep what it has once given back, in as many places as there are threads: after a backlog
/// of a few seconds that was 45 MiB at ten thousand beds, for good. With these settings whatever is as large as a
/// snapshot or an answer of the broker is given back by itself, and no hole is left.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const GLIBC: [(libc::c_int, libc::c_int); 3] =
    [(libc::M_MMAP_THRESHOLD, 16 << 10), (libc::M_TRIM_THRESHOLD, 128 << 10), (libc::M_ARENA_MAX, 2)];
