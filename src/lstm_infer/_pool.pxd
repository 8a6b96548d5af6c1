"""The rows of a pool."""

from libc.stdint cimport int64_t, uint32_t

from lstm_infer._rig cimport Cursor, Order, Rig
from lstm_infer._stream cimport Held

cdef enum:
    MAX_THREADS = 64


cdef struct Slot:
    uint32_t generation  # odd: open
    uint32_t stamp  # the call that named it last


cdef class Share:
    cdef Rig rig
    cdef Order order
    cdef Cursor cursor[MAX_THREADS]
    cdef int64_t code[MAX_THREADS]
    cdef char *memory
    cdef char *scratch
    cdef long stopped
    cdef readonly int n_parts
    cdef tuple kept  # arrays and rows: alive as long as a part may run


cdef class PoolCore:
    cdef Rig rig
    cdef void *lock
    cdef unsigned long owner
    cdef int64_t row_bytes
    cdef int64_t shift  # rows of a slab, as a power of two
    cdef int64_t n_slots
    cdef int64_t room
    cdef char **slab
    cdef list slabs
    cdef Slot *slot
    cdef uint32_t now
    cdef list free
    cdef readonly int64_t n_open
    cdef int threads

    cdef int enter(self) except -1
    cdef int count(self) except -1
    cdef int grow(self) except -1
    cdef void leave(self) noexcept
    cdef char *row(self, int64_t slot) noexcept nogil
    cdef void ask(self, int64_t id) noexcept
    cdef int64_t find(self, int64_t id, bint once) noexcept
    cdef int64_t spread(self, Rig rig, object ids, Order *order, const Held *held, int64_t n, object result) except -1
    cdef object go(self, Rig rig, object ids, object x, object out, bint chunk)
