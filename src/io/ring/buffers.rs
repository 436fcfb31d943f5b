//! Owns the receive buffers of a ring: one block of memory that the kernel fills, shared by all sockets of a core, so
//! that a waiting socket holds no buffer. Never decides which socket receives.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Bytes of one receive buffer. Larger messages arrive in several buffers.
pub const RECEIVE_BUFFER_BYTES: usize = 2048;

/// Distance between buffers: one cache line more than a power of two. Most buffers use only their first lines, which
/// would share a few cache sets at power-of-two distances.
const STRIDE_BYTES: usize = RECEIVE_BUFFER_BYTES + 64;

/// Receive buffers of a core; a power of two. More sockets than this may become readable at once: those without a
/// buffer fail and receive again once buffers return.
pub const RECEIVE_BUFFERS: u16 = 1024;

/// Number of the only buffer group.
pub(super) const GROUP: u16 = 0;

const PAGE_BYTES: usize = 4096;

/// The buffers, and the ring of descriptors that gives them to the kernel.
///
/// A buffer belongs to the kernel from [`Buffers::give`] until a completion names it, then to us.
pub(super) struct Buffers {
    descriptors: NonNull<BufRingEntry>,
    memory: NonNull<u8>,
    tail: u16,
}

impl Buffers {
    /// Allocates the buffers and registers them with `uring`.
    pub(super) fn register(uring: &IoUring) -> io::Result<Buffers> {
        let mut buffers =
            Buffers { descriptors: zeroed(descriptors_layout()).cast(), memory: zeroed(memory_layout()), tail: 0 };
        let address = buffers.descriptors.as_ptr() as u64;
        // SAFETY: the address is that of page-aligned memory for as many descriptors as are registered. It is freed
        // only by `Buffers::drop`, which the ring lets run only after every operation has ended (see `Ring::drop`).
        unsafe { uring.submitter().register_buf_ring_with_flags(address, RECEIVE_BUFFERS, GROUP, 0)? };
        for id in 0..RECEIVE_BUFFERS {
            // Touched now, so that memory use does not seem to grow with the first connections.
            buffers.received(id, RECEIVE_BUFFER_BYTES).fill(0);
            buffers.give(id);
        }
        Ok(buffers)
    }

    /// Hands a buffer to the kernel.
    #[inline]
    pub(super) fn give(&mut self, id: u16) {
        debug_assert!(id < RECEIVE_BUFFERS);
        let base = self.descriptors.as_ptr();
        let at = usize::from(self.tail & (RECEIVE_BUFFERS - 1));
        // SAFETY: `at` is below the number of descriptors allocated, and the kernel reads only those between its head
        // and the tail, to which this one does not belong yet: there are as many descriptors as buffers.
        let descriptor = unsafe { &mut *base.add(at) };
        // Field by field: the tail lives in unused bytes of the first descriptor.
        descriptor.set_addr(self.address(id) as u64);
        descriptor.set_len(RECEIVE_BUFFER_BYTES as u32);
        descriptor.set_bid(id);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `base` is the first descriptor, inside which the kernel defines the tail to be: two aligned bytes,
        // written by us through atomics only and read by the kernel.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(base).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    /// The first `length` bytes of a buffer that a completion has named and that we have not given back.
    #[inline]
    pub(super) fn received(&mut self, id: u16, length: usize) -> &mut [u8] {
        assert!(id < RECEIVE_BUFFERS && length <= RECEIVE_BUFFER_BYTES, "the kernel named buffer {id}, {length} bytes");
        // SAFETY: inside the block, initialized (it was allocated zeroed), and not the kernel's between the completion
        // and `give`. The borrow of `self` keeps `give` and a second slice away while this one lives.
        unsafe { std::slice::from_raw_parts_mut(self.address(id), length) }
    }

    fn address(&self, id: u16) -> *mut u8 {
        // SAFETY: every id is below RECEIVE_BUFFERS (asserted where ids come from outside), so this stays inside.
        unsafe { self.memory.as_ptr().add(usize::from(id) * STRIDE_BYTES) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: both were allocated with these layouts, and the kernel touches them only for an operation: the ring
        // drops its buffers only after the end of every one.
        unsafe {
            dealloc(self.descriptors.as_ptr().cast(), descriptors_layout());
            dealloc(self.memory.as_ptr(), memory_layout());
        }
    }
}

fn descriptors_layout() -> Layout {
    let bytes = usize::from(RECEIVE_BUFFERS) * size_of::<BufRingEntry>();
    Layout::from_size_align(bytes, PAGE_BYTES).expect("constants make a valid layout")
}

fn memory_layout() -> Layout {
    let bytes = usize::from(RECEIVE_BUFFERS) * STRIDE_BYTES;
    Layout::from_size_align(bytes, PAGE_BYTES).expect("constants make a valid layout")
}

fn zeroed(layout: Layout) -> NonNull<u8> {
    // SAFETY: both layouts have a size above zero.
    NonNull::new(unsafe { alloc_zeroed(layout) }).unwrap_or_else(|| handle_alloc_error(layout))
}

const _: () = assert!(RECEIVE_BUFFERS.is_power_of_two() && RECEIVE_BUFFERS <= 32_768, "the kernel's rule");
