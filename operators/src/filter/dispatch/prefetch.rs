//! Asks for memory before it is read, so that it is at hand by then.
//! In: what will be read soon. Out: nothing but time. No units.

/// Most that is asked for at once: what is longer the processor follows by itself.
const FETCHED: usize = 1024;
/// What memory comes in.
const LINE: usize = 64;

/// Asks for memory that is read soon, so that it is at hand by then. Changes nothing but time.
///
/// ```
/// auscult_operators::filter::dispatch::fetch(&[1, 2, 3][..]);
/// ```
#[inline]
pub fn fetch<T: ?Sized>(item: &T) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..size_of_val(item).min(FETCHED)).step_by(LINE) {
        let line = std::ptr::from_ref(item).cast::<i8>().wrapping_add(at);
        // SAFETY: a hint that reads nothing and that every x86-64 has; the line holds a part of what is borrowed.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = item;
}
