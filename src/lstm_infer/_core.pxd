"""What the modules beside _core share with it: plans, and how they are run."""

from libc.stdint cimport int64_t

from lstm_infer._kernels cimport li_kernels, li_step, li_steps


cdef class Plan:
    cdef li_step *steps
    cdef int64_t *words
    cdef int64_t *codes  # the number of the slot of each step
    cdef li_steps list  # the same steps, as a loop or a branch of another plan refers to them
    cdef readonly tuple nested
    cdef readonly Py_ssize_t n_steps
    cdef readonly str isa


cdef const li_kernels *find_isa(str isa) except NULL
cdef char *address(object base) except? NULL
cdef object step_error(int64_t code)
cdef int64_t run_steps(const li_step *steps, int64_t n_steps, char **bases) noexcept nogil
