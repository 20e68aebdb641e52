//! The heap of an adapter. The target's own heap begins by growing the memory, and each growth costs the host two changes
//! of memory protection in every fresh instance, more than a small message's whole mapping. This one begins in
//! memory that an instance has anyway; after that it grows as the target's own does, by the same allocator.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::cell::{Cell, UnsafeCell};
use dlmalloc::{Allocator, Dlmalloc};

/// Enough for messages of some ten kilobytes. Pages that are not written cost nothing.
const FIRST_BYTES: usize = 512 << 10;
const PAGE_BYTES: usize = 64 << 10;

struct First(UnsafeCell<[u64; FIRST_BYTES / 8]>);

// SAFETY: an adapter has one thread; the target has none to start another with.
unsafe impl Sync for First {}

/// On its own and all zero, so that the file has none of it.
static FIRST: First = First(UnsafeCell::new([0; FIRST_BYTES / 8]));

struct Memory {
    is_given: Cell<bool>,
}

// SAFETY: every range is handed out once, zeroed, and never taken back.
unsafe impl Allocator for Memory {
    fn alloc(&self, size: usize) -> (*mut u8, usize, u32) {
        if size <= FIRST_BYTES && !self.is_given.replace(true) {
            return (FIRST.0.get().cast(), FIRST_BYTES, 0);
        }
        let pages = size.div_ceil(PAGE_BYTES);
        let before = wasm32::memory_grow(0, pages);
        match before.checked_mul(PAGE_BYTES) {
            // The last bytes of the address space stay unused: no pointer may wrap around to null.
            Some(start) if start.checked_add(pages * PAGE_BYTES).is_none() => {
                (start as *mut u8, pages * PAGE_BYTES - 16, 0)
            }
            Some(start) if before != usize::MAX => (start as *mut u8, pages * PAGE_BYTES, 0),
            _ => (core::ptr::null_mut(), 0, 0),
        }
    }

    fn remap(&self, _: *mut u8, _: usize, _: usize, _: bool) -> *mut u8 {
        core::ptr::null_mut()
    }

    fn free_part(&self, _: *mut u8, _: usize, _: usize) -> bool {
        false
    }

    fn free(&self, _: *mut u8, _: usize) -> bool {
        false
    }

    fn can_release_part(&self, _: u32) -> bool {
        false
    }

    fn allocates_zeros(&self) -> bool {
        true
    }

    fn page_size(&self) -> usize {
        PAGE_BYTES
    }
}

struct Heap(UnsafeCell<Dlmalloc<Memory>>);

// SAFETY: as above, one thread.
unsafe impl Sync for Heap {}

// SAFETY: the allocator's own contract is that of `GlobalAlloc`, size and alignment apart.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        unsafe { (*self.0.get()).malloc(layout.size(), layout.align()) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        unsafe { (*self.0.get()).calloc(layout.size(), layout.align()) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { (*self.0.get()).free(pointer, layout.size(), layout.align()) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        unsafe { (*self.0.get()).realloc(pointer, layout.size(), layout.align(), size) }
    }
}

#[global_allocator]
static HEAP: Heap = Heap(UnsafeCell::new(Dlmalloc::new_with_allocator(Memory { is_given: Cell::new(false) })));
