//! Asks for memory before it is read, so that it is at hand by then.
//! In: what will be read soon, or was said to be. Out: nothing but time. No units.

/// What memory comes in.
const LINE: usize = 64;
/// Bits of a stretch that say how many lines it has.
const LENGTH_BITS: u32 = 8;
/// Most lines of a stretch: what is longer the processor follows by itself.
const LINES_MAX: usize = 40;

/// Asks for memory that is read soon, so that it is at hand by then. Changes nothing but time.
///
/// ```
/// auscult_operators::filter::dispatch::fetch(&[1, 2, 3][..]);
/// ```
#[inline]
pub fn fetch<T: ?Sized>(item: &T) {
    Stretch::of(item).fetch();
}

/// Where something lies in memory: an address that nothing but a hint is made of, so it does no harm if what lay there
/// has gone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stretch(u64);

impl Stretch {
    /// The lines that hold any of this.
    #[inline]
    pub fn of<T: ?Sized>(item: &T) -> Self {
        Self::at(std::ptr::from_ref(item).cast::<u8>().addr(), size_of_val(item))
    }

    #[inline]
    fn at(first: usize, size: usize) -> Self {
        let lines = match size {
            0 => 0,
            size => ((first % LINE + size).div_ceil(LINE)).min(LINES_MAX),
        };
        Self(((first / LINE) as u64) << LENGTH_BITS | lines as u64)
    }

    /// Asks for it.
    #[inline]
    pub fn fetch(self) {
        let first = (self.0 >> LENGTH_BITS) as usize * LINE;
        let lines = (self.0 & ((1 << LENGTH_BITS) - 1)) as usize;
        #[cfg(target_arch = "x86_64")]
        for line in 0..lines {
            let at = std::ptr::without_provenance::<i8>(first + line * LINE);
            // Into the second cache, not the first: there, of more than a dozen at a time, processors drop those whose
            // page they do not know, and of far memory that is most.
            // SAFETY: a hint that reads nothing, never faults, and that every x86-64 has.
            unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(at) };
        }
        #[cfg(not(target_arch = "x86_64"))]
        let _ = (first, lines);
    }
}

/// Where all that is read next of one patient lies, part by part in the order in which it is read. It is noted while
/// it is at hand: later, most beds' memory is far away, and each step from one piece to where the next one lies would
/// have to be waited for.
///
/// ```
/// use auscult_operators::filter::dispatch::Far;
/// let mut far = Far::default();
/// far.add(&[1, 2, 3][..]);
/// far.end_part();
/// far.add(&7);
/// far.end_part();
/// let after_first = far.fetch_from(0);
/// assert_eq!((after_first, far.second(), far.fetch_from(after_first)), (2, 2, 4));
/// assert_eq!(far.fetch_from(4), 4);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Far {
    /// A stretch of nothing ends a part.
    stretches: Vec<Stretch>,
    second: usize,
}

impl Far {
    /// Forgets everything but keeps the memory.
    pub fn clear(&mut self) {
        self.stretches.clear();
        self.second = 0;
    }

    /// Notes where something lies.
    #[inline]
    pub fn add<T: ?Sized>(&mut self, item: &T) {
        self.push(Stretch::of(item));
    }

    /// Notes where `count` more would lie after these.
    #[inline]
    pub fn add_after<T>(&mut self, items: &[T], count: usize) {
        self.push(Stretch::at(items.as_ptr_range().end.addr(), count * size_of::<T>()));
    }

    #[inline]
    fn push(&mut self, stretch: Stretch) {
        if stretch.0 & ((1 << LENGTH_BITS) - 1) > 0 {
            self.stretches.push(stretch);
        }
    }

    /// What follows is read later.
    pub fn end_part(&mut self) {
        self.stretches.push(Stretch(0));
        if self.second == 0 {
            self.second = self.stretches.len();
        }
    }

    /// Where the second part begins.
    pub fn second(&self) -> usize {
        self.second
    }

    /// Asks for the notes themselves.
    pub fn fetch_notes(&self) {
        fetch(&self.stretches[..]);
    }

    /// Asks for the part that begins there, and says where the next one does.
    #[inline]
    pub fn fetch_from(&self, mut at: usize) -> usize {
        while let Some(stretch) = self.stretches.get(at) {
            at += 1;
            if *stretch == Stretch(0) {
                break;
            }
            stretch.fetch();
        }
        at
    }
}
