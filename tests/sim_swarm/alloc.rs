//! Counts what a step of the core allocates: nothing, after start (invariant 12).
//!
//! The driver asks for the time right before a step and acts right after it, so counting goes on
//! from the clock to the first action.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, which counts while a step runs.
pub struct Counting;

thread_local! {
    static ON: Cell<bool> = const { Cell::new(false) };
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

/// A step begins.
pub fn resume() {
    ON.set(true);
}

/// It has ended.
pub fn pause() {
    ON.set(false);
}

/// Allocations in steps since the last call.
pub fn take() -> u64 {
    pause();
    COUNT.replace(0)
}

fn count() {
    if ON.get() {
        COUNT.set(COUNT.get() + 1);
    }
}

// SAFETY: needed to see allocations at all; each call is handed to the system's allocator as it
// came, and the counters are plain cells of this thread that never allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}
