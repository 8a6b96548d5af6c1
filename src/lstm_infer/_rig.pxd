"""Memory of a call over many signals."""

from cpython.object cimport PyObject
from libc.stdint cimport int64_t
from numpy cimport npy_intp

from lstm_infer._arrays cimport *
from lstm_infer._kernels cimport li_step
from lstm_infer._stream cimport MAX_PORTS, MAX_RANK, Held

cdef extern from *:
    """
    /* Have memory fetched that is read and written soon: the rest of a long stretch comes as it is read. */
    static inline void li_fetch(const void *at, int64_t n)
    {
    #if defined(__GNUC__)
        for (int64_t i = 0; i < n && i < 1024; i += 64)
            __builtin_prefetch((const char *)at + i, 1);
    #else
        (void)at, (void)n;
    #endif
    }
    """
    void li_fetch(const void *, int64_t) noexcept nogil

cdef enum:
    MAX_LANES = 8
    MAX_LENGTHS = 16  # of the blocks of a lane


cdef struct Loops:
    int n_loops
    int64_t n[3]
    int64_t near[3]  # strides where a batch has it
    int64_t far[3]  # and where the signal has it
    bint scaled[3]  # those count by the steps of a call
    int64_t run


cdef struct Part:  # of the state of one signal
    int64_t near  # in the state block of a batch
    int64_t between  # there, from signal to signal
    int64_t far  # in the row of the signal
    Loops loops


cdef struct Move:  # of one port
    int64_t between
    int64_t at_bytes  # from step to step of a call
    int64_t piece  # where in the scratch a block of it lies
    bint timed  # has something for every step
    Loops loops


cdef struct Block:
    int64_t n  # steps
    const li_step *steps
    int64_t n_steps
    int64_t work
    Move port[MAX_PORTS]


cdef struct Lane:
    int64_t n  # signals
    char *consts
    const char *first  # what stands in a state block besides the signals; NULL: nothing
    int64_t state_bytes
    int64_t arena
    int n_parts
    Part *parts
    int n_blocks
    Block *blocks


cdef struct Port:
    PyObject *name  # this and the next: of Rig.kept
    PyObject *dtype
    int type  # NumPy's number of the dtype
    bint every  # has something for every step; else a side input, or the value at the end
    int rank  # of one step of one signal
    int time  # its axis; -1: none
    npy_intp each  # entries along it of one step
    npy_intp dims[MAX_RANK]
    int64_t step_bytes
    li_spare spare  # of an output: what steps returned


cdef struct Order:  # what a call does
    char **rows  # states of its signals
    char **after  # where they go
    int64_t row_bytes  # of a state
    char *data[MAX_PORTS]
    int64_t signal_bytes[MAX_PORTS]
    int64_t n_frames


cdef struct Cursor:  # how far a call is
    int64_t row
    int64_t stop
    int64_t at  # steps done of the signals in hand
    int lane
    int block


cdef class Layout:
    cdef Part *parts
    cdef int n_parts
    cdef int64_t state_bytes
    cdef readonly int64_t n
    cdef readonly int64_t row_bytes

    cdef char *block(self, state) except NULL


cdef class Rig:
    cdef int n_in
    cdef int n_ports
    cdef int leads
    cdef bint leading  # the steps of a chunk stand along an axis of their own
    cdef bint counts
    cdef bint can_fail
    cdef Port port[MAX_PORTS]
    cdef int n_lanes
    cdef Lane lanes[MAX_LANES]
    cdef int64_t release_from
    cdef int64_t scratch_bytes
    cdef readonly int64_t most  # signals of a call: for more, larger batches are worth their plans
    cdef list kept
    cdef tuple nodes

    cdef int add(self, Layout layout, object consts, object first, int64_t arena_bytes, list blocks) except -1
    cdef bint gather(self, dict given, int first, int stop, Held *held) except -1
    cdef object open(self, object x, object out, npy_intp n, bint chunk, Held *held, Order *order)
    cdef object make(self, bint alone, npy_intp n, int form, npy_intp n_frames, Order *order)
    cdef bint fits(self, const PyObject *a, int i, npy_intp n, int form, npy_intp n_frames) noexcept
    cdef int extents(self, int i, npy_intp n, int form, npy_intp n_frames, npy_intp *dims) noexcept
    cdef int64_t work(self, int64_t n, int64_t n_frames) noexcept
    cdef int64_t advance(self, const Order *order, Cursor *cursor, char *scratch, int64_t budget) noexcept nogil
    cdef int64_t block_of(self, const Order *order, Cursor *cursor, char *scratch) noexcept nogil


cdef void shifted(const Part *parts, int n_parts, int64_t index, char *block, char *row, bint inwards) noexcept nogil
