"""Memory of a call and of a stream."""

from cpython.object cimport PyObject
from cpython.ref cimport Py_INCREF
from libc.stdint cimport int64_t
from numpy cimport npy_intp

cimport numpy as cnp

from lstm_infer._arrays cimport *
from lstm_infer._kernels cimport li_step

cdef enum:
    FIRST = 3  # bases of a plan: constants, state, arena, then the ports
    MAX_PORTS = 61
    MAX_BLOCKS = 16
    MAX_RANK = 16
    BLOCKS_A_LOOK = 32  # so many of the largest block run before signals are looked for
    SPARE_BYTES = 4096  # larger arrays are made anew for each step
    LINE = 64  # what a part of the scratch begins at a multiple of


cdef struct Scratch:
    Scratch *next
    char *raw
    char *memory  # raw, from a multiple of LINE on
    int64_t n_bytes


cdef struct Shape:
    int rank
    int time  # position of the axis that has an extent for each step; -1: none
    npy_intp dims[MAX_RANK]


cdef struct Port:
    PyObject *name  # this and the next: of Call.kept
    PyObject *dtype
    int type  # NumPy's number of the dtype
    bint every  # has something for every step; else a side input, or the value at the end
    npy_intp each  # entries along time of one step: more than 1 where the rows of a batch lie in that axis too
    Shape step[2]  # one step: time axis kept at 1, time axis dropped
    Shape chunk
    int64_t step_bytes
    int64_t rows  # what stands before time in a chunk: so many stretches of memory
    int64_t piece  # where in the scratch a block of it lies, if it has several rows


cdef struct Block:
    int64_t n  # time steps in one run of the plan
    int64_t made  # steps of each output that come of them
    int64_t below  # where so many steps are left, or more, they are for a longer block, that this call lacks
    const li_step *steps
    int64_t n_steps
    int64_t work  # of one run, as far as it counts: see Call.release_from


cdef struct Held:
    PyObject *array[MAX_PORTS]  # own references
    char *data[MAX_PORTS]
    int n
    int64_t n_frames
    int64_t n_made  # steps of each output


cdef inline void hold(Held *held, PyObject *array) noexcept:
    Py_INCREF(<object>array)
    held.array[held.n] = array
    held.n += 1


cdef inline bint fits(PyObject *a, const Port *port, const Shape *shape, npy_intp n) noexcept:
    """Exactly this dtype and shape (n: the extent along time), native, aligned, C-contiguous."""
    cdef int i
    cdef const npy_intp *dims = LI_DIMS(a)
    if LI_TYPE(a) != port.type or LI_NDIM(a) != shape.rank or not LI_PLAIN(a):
        return False
    for i in range(shape.rank):  # a call of memcmp costs more than these few words
        if dims[i] != shape.dims[i] and i != shape.time:
            return False
    return shape.time < 0 or dims[shape.time] == n * port.each


cdef inline int64_t lines(int64_t n_bytes) noexcept nogil:
    return (n_bytes + LINE - 1) // LINE * LINE


cdef class Call:
    cdef int n_in
    cdef int n_ports
    cdef int leads  # the input whose rank and extent say what is fed
    cdef bint counts  # an output exists from the first step on: chunks of none are not for this road
    cdef bint can_fail
    cdef int64_t rate  # time steps that are fed for one step of the outputs
    cdef bint chunks  # it takes chunks alone, and only those that its blocks make up
    cdef Port port[MAX_PORTS]
    cdef bint small  # all outputs of one step: what is returned may be returned again
    cdef li_spare arrays
    cdef li_spare dicts
    cdef int n_blocks
    cdef Block blocks[MAX_BLOCKS]
    cdef int64_t release_from  # work of a call from which on other threads go on meanwhile
    cdef char *consts
    cdef int64_t state_bytes
    cdef int64_t backup  # where in the scratch
    cdef int64_t scratch_bytes
    cdef tuple kept  # plans, constants, names and dtypes: alive as long as their addresses are
    cdef readonly object nodes
    cdef readonly tuple sizes

    cdef bint gather(self, dict given, int first, int stop, Held *held) except -1
    cdef object open(self, object x, object out, bint chunk, Held *held)
    cdef object make(self, bint alone, bint chunk, int form, Held *held)
    cdef bint cuts(self, int64_t n_frames) noexcept
    cdef int64_t work(self, int64_t n_frames, int first) noexcept
    cdef int64_t run(self, const Held *held, int64_t at, int64_t stop, char *state, char *scratch, int block,
                     int *failed) noexcept nogil
    cdef char *piece(self, int i, const Held *held, int64_t at, int64_t n, char *scratch) noexcept nogil
    cdef void move(self, int i, const Held *held, int64_t at, int64_t n, char *scratch) noexcept nogil


cdef class Standing:
    cdef readonly object plan
    cdef readonly object phase
    cdef readonly bint flushed
    cdef readonly object first


cdef class StreamCore:
    cdef long busy
    cdef Call call
    cdef char *state
    cdef object kept  # the state: alive as long as its address is
    cdef object standing  # of the subclass: whatever a call changes besides the state

    cdef object around(self, object x, object out, bint chunk)
    cdef object go(self, object x, object out, bint chunk)

cdef Scratch *take_scratch(int64_t n_bytes) noexcept
cdef void give_scratch(Scratch *scratch) noexcept
