"""Memory of the two classes of _core."""

from libc.stdint cimport int64_t
from numpy cimport npy_intp

from lstm_infer._kernels cimport li_step, li_steps

cdef enum:
    MAX_BASES = 16
    MAX_BLOCKS = 16
    MAX_RANK = 16


cdef struct Block:
    int64_t n  # time steps in one run of the plan
    const li_step *steps
    int64_t n_steps
    bint release  # one run takes several microseconds: let other threads go on


cdef struct Shape:
    int rank
    int time  # position of the axis that may have any extent; -1: none
    npy_intp dims[MAX_RANK]


cdef class Plan:
    cdef li_step *steps
    cdef int64_t *words
    cdef li_steps list  # the same steps, as a loop or a branch of another plan refers to them
    cdef readonly tuple nested
    cdef readonly Py_ssize_t n_steps
    cdef readonly str isa
    cdef readonly tuple slots
    cdef readonly tuple symbols


cdef class StreamCore:
    cdef long busy
    cdef bint step_bound
    cdef bint run_bound
    cdef int x_type
    cdef int y_type
    cdef int input_base
    cdef int output_base
    cdef int n_blocks
    cdef Block one  # the last of blocks: a single step
    cdef char *base[MAX_BASES]
    cdef Shape x_step[2]  # time axis kept, time axis dropped
    cdef Shape y_step[2]
    cdef Shape x_run
    cdef Shape y_run
    cdef int64_t x_frame_bytes
    cdef int64_t y_frame_bytes
    cdef int64_t y_advance  # from the output of one step to that of the next; 0: there is only the last
    cdef Block blocks[MAX_BLOCKS]
    cdef tuple plans
    cdef tuple kept  # constants, state, arena, backup: alive as long as their addresses are
    cdef char *backup  # the state before the call, where a step may fail; NULL where none can
    cdef int64_t state_bytes

    cdef int64_t advance(self, int64_t n_frames, char *x, char *y, int *failed_block) noexcept nogil
    cdef void remember(self) noexcept nogil
    cdef void undo(self) noexcept nogil
    cdef object fail(self, int block, int64_t code)
