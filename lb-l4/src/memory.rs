//! Memory of a BPF array, mapped into this process: the kernel side reads and writes it at the same time.
//!
//! Everything goes through atomics of at most eight bytes, so that neither side sees half a word. What
//! has to become visible in an order says so with `Release` and `Acquire`.

#![expect(unsafe_code, reason = "mapped memory; everything above is safe code")]

use std::io;
use std::mem::MaybeUninit;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use aya::Pod;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

/// Unmapped when dropped.
#[derive(Debug)]
pub struct Memory {
    start: NonNull<u8>,
    mapped: NonZeroUsize,
    element: usize,
    count: u32,
}

// SAFETY: the mapping belongs to this value alone, and is only reached through atomics.
unsafe impl Send for Memory {}
// SAFETY: as above.
unsafe impl Sync for Memory {}

impl Memory {
    /// Of an array with BPF_F_MMAPABLE and `count` values of `size` bytes.
    pub fn map(map: impl AsFd, size: usize, count: u32) -> io::Result<Self> {
        let element = size.next_multiple_of(8);
        let bytes = (element * count as usize).next_multiple_of(page_size());
        let mapped = NonZeroUsize::new(bytes).ok_or(io::ErrorKind::InvalidInput)?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a fresh shared mapping at a place that the kernel chooses overlaps nothing of ours.
        let start = unsafe { mmap(None, mapped, access, MapFlags::MAP_SHARED, map, 0) }?;
        Ok(Self { start: start.cast(), mapped, element, count })
    }

    /// Values in the array.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The four bytes at `offset` of value `index`; `offset` is a multiple of four.
    pub fn word(&self, index: u32, offset: usize) -> &AtomicU32 {
        let at = self.place(index, offset, 4);
        // SAFETY: `place` has checked bounds and alignment, and the mapping lives as long as `self`.
        unsafe { AtomicU32::from_ptr(at.cast()) }
    }

    /// The eight bytes at `offset` of value `index`; `offset` is a multiple of eight.
    pub fn long(&self, index: u32, offset: usize) -> &AtomicU64 {
        let at = self.place(index, offset, 8);
        // SAFETY: `place` has checked bounds and alignment, and the mapping lives as long as `self`.
        unsafe { AtomicU64::from_ptr(at.cast()) }
    }

    /// A copy of the plain struct at `offset` of value `index`, word by word: words are whole, the
    /// struct may be a mixture of before and after.
    pub fn read<T: Pod>(&self, index: u32, offset: usize) -> T {
        const { assert!(size_of::<T>().is_multiple_of(4) && align_of::<T>() >= 4) };
        let mut copy = MaybeUninit::<T>::uninit();
        let words = copy.as_mut_ptr().cast::<u32>();
        for i in 0..size_of::<T>() / 4 {
            let word = self.word(index, offset + i * 4).load(Ordering::Relaxed);
            // SAFETY: `words` points to as many words as `T` has.
            unsafe { words.add(i).write(word) };
        }
        // SAFETY: every byte was written, and any bytes make a `Pod`.
        unsafe { copy.assume_init() }
    }

    /// Stores those words of the struct at `offset` of value `index` that differ from what is there.
    pub fn write<T: Pod>(&self, index: u32, offset: usize, value: &T) {
        const { assert!(size_of::<T>().is_multiple_of(4) && align_of::<T>() >= 4) };
        let words = (&raw const *value).cast::<u32>();
        for i in 0..size_of::<T>() / 4 {
            // SAFETY: `words` points to as many words as `T` has.
            let new = unsafe { words.add(i).read() };
            let word = self.word(index, offset + i * 4);
            if word.load(Ordering::Relaxed) != new {
                word.store(new, Ordering::Relaxed);
            }
        }
    }

    fn place(&self, index: u32, offset: usize, size: usize) -> *mut u8 {
        assert!(index < self.count && offset + size <= self.element && offset.is_multiple_of(size), "outside the map");
        // SAFETY: within the mapping, by the check above.
        unsafe { self.start.as_ptr().add(index as usize * self.element + offset) }
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        // SAFETY: nothing borrows from the mapping any more.
        let _ = unsafe { munmap(self.start.cast(), self.mapped.get()) };
    }
}

fn page_size() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |size| size as usize)
}
