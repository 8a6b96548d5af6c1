"""The one bridge to C: hands memory to the kernels and takes statuses back. No arithmetic, no loops over elements."""

cimport cython
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memcpy

cimport numpy as cnp

from lstm_infer._kernels cimport *

import numpy as np

from lstm_infer import bounds
from lstm_infer.errors import BudgetError, IsaError, StateError

cnp.import_array()

cdef extern from *:
    """
    /* The busy flag of a stream. With a GIL it is only touched by its holder; without one it is an atomic. */
    #if !defined(Py_GIL_DISABLED)
    #define LI_TAKE(flag) (*(flag) ? 0 : (*(flag) = 1))
    #define LI_GIVE(flag) (*(flag) = 0)
    #elif defined(_MSC_VER)
    #include <intrin.h>
    #define LI_TAKE(flag) (_InterlockedExchange((volatile long *)(flag), 1) == 0)
    #define LI_GIVE(flag) _InterlockedExchange((volatile long *)(flag), 0)
    #else
    #define LI_TAKE(flag) (__atomic_exchange_n((flag), 1, __ATOMIC_ACQUIRE) == 0)
    #define LI_GIVE(flag) __atomic_store_n((flag), 0, __ATOMIC_RELEASE)
    #endif
    """
    bint LI_TAKE(long *flag) noexcept nogil
    void LI_GIVE(long *flag) noexcept nogil


# ---- tables ----------------------------------------------------------------------------------------------------

slots = {li_slot_name(i).decode(): (i, li_slot_words(i)) for i in range(LI_N_SLOTS)}
map_codes = {li_map_name(i).decode(): (i, li_map_args(i)) for i in range(LI_N_MAP)}
dtypes = {
    "float32": LI_F32, "float64": LI_F64, "float16": LI_F16, "bfloat16": LI_BF16, "int8": LI_I8, "uint8": LI_U8,
    "int16": LI_I16, "uint16": LI_U16, "int32": LI_I32, "uint32": LI_U32, "int64": LI_I64, "uint64": LI_U64,
    "bool": LI_BOOL,
}
act_codes = {
    "NONE": LI_ACT_NONE, "SIGMOID": LI_ACT_SIGMOID, "TANH": LI_ACT_TANH, "RELU": LI_ACT_RELU,
    "AFFINE": LI_ACT_AFFINE, "LEAKY_RELU": LI_ACT_LEAKY_RELU, "THRESHOLDED_RELU": LI_ACT_THRESHOLDED_RELU,
    "SCALED_TANH": LI_ACT_SCALED_TANH, "HARD_SIGMOID": LI_ACT_HARD_SIGMOID, "ELU": LI_ACT_ELU,
    "SOFTSIGN": LI_ACT_SOFTSIGN, "SOFTPLUS": LI_ACT_SOFTPLUS,
}
reduce_codes = {
    "SUM": LI_RED_SUM, "MEAN": LI_RED_MEAN, "MAX": LI_RED_MAX, "MIN": LI_RED_MIN, "PROD": LI_RED_PROD,
    "SUM_SQUARE": LI_RED_SUM_SQUARE, "L1": LI_RED_L1, "L2": LI_RED_L2, "LOG_SUM": LI_RED_LOG_SUM,
    "LOG_SUM_EXP": LI_RED_LOG_SUM_EXP,
}
status_codes = {
    "OK": LI_OK, "INDEX": LI_ERR_INDEX, "LENGTH": LI_ERR_LENGTH, "VALUE": LI_ERR_VALUE, "LIMIT": LI_ERR_LIMIT,
    "BRANCH": LI_ERR_BRANCH,
}
control = {"loop": 1, "branch": 2}
UNITS = LI_UNITS
LANES = LI_LANES
RANK = LI_RANK
MAP_REGS = LI_MAP_REGS


class StepError(Exception):
    """A step of a plan failed: its index and the li_status it returned. Callers add the node's name."""

    def __init__(self, step, status):
        super().__init__(step, status)
        self.step = step
        self.status = status

    def __str__(self):
        names = {code: name for name, code in status_codes.items()}
        return f"step {self.step} failed: {names.get(self.status, self.status)}"


cdef object step_error(int64_t code):
    """Every failure of a plan becomes an exception here. `code` is what li_plan_run returned."""
    return StepError(code >> 8, code & 0xff)


def list_isas():
    return [(li_isa_name(i).decode(), bool(li_isa_runnable(i))) for i in range(li_n_isas())]


cdef const li_kernels *find_isa(str isa) except NULL:
    for i in range(li_n_isas()):
        if li_isa_name(i).decode() == isa:
            if not li_isa_runnable(i):
                raise IsaError(f"instruction set {isa!r}: this CPU or its operating system cannot run it; "
                               f"runnable: {', '.join(n for n, ok in list_isas() if ok)}")
            return li_isa_kernels(i)
    raise IsaError(f"instruction set {isa!r} is not in this build; it has: {', '.join(n for n, _ in list_isas())}")


# ---- memory ----------------------------------------------------------------------------------------------------

def recur_scratch(int64_t gates, int64_t T, int64_t B, int64_t I, int64_t H):
    return li_recur_scratch(gates, T, B, I, H)


def matmul_dyn_scratch(int64_t k, int64_t m):
    return li_matmul_dyn_scratch(k, m)


def conv_scratch(int64_t channels, int64_t groups, kernel, out, stride, dilation):
    cdef int64_t[3] c_kernel = [kernel[0], kernel[1], kernel[2]]
    cdef int64_t[3] c_out = [out[0], out[1], out[2]]
    cdef int64_t[3] c_stride = [stride[0], stride[1], stride[2]]
    cdef int64_t[3] c_dilation = [dilation[0], dilation[1], dilation[2]]
    return li_conv_scratch(channels, groups, c_kernel, c_out, c_stride, c_dilation)


def aligned_empty(Py_ssize_t n_bytes):
    if n_bytes < 0:
        raise ValueError(f"n_bytes: 0 or more expected, got {n_bytes}")
    raw = np.zeros(n_bytes + 63, np.uint8)
    cdef Py_ssize_t shift = (64 - <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>raw) % 64) % 64
    return raw[shift:shift + n_bytes]


cdef float *floats(str name, object array, bint write) except NULL:
    """The address of a C-contiguous float32 array."""
    if not cnp.PyArray_Check(array) or cnp.PyArray_TYPE(<cnp.ndarray>array) != cnp.NPY_FLOAT32:
        raise TypeError(f"{name}: float32 array expected")
    if not (cnp.PyArray_ISCARRAY(<cnp.ndarray>array) if write else cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array)):
        raise ValueError(f"{name}: C-contiguous{' writeable' if write else ''} array expected")
    return <float *>cnp.PyArray_DATA(<cnp.ndarray>array)


def pack_f32(src, *, int64_t gates, int64_t n_units, int64_t k, int64_t gate_stride, int64_t unit_stride,
             int64_t k_stride, int64_t src_offset=0, int64_t panel=0, out=None, int64_t out_offset=0):
    panel, n_floats = bounds.panels(gates, n_units, k, panel, LI_UNITS, out_offset)
    if out is None:
        out = aligned_empty((out_offset + n_floats) * 4).view(np.float32)
    if n_units == 0 or k == 0:
        return out
    bounds.packed(src.size, src_offset, [(gates, gate_stride), (n_units, unit_stride), (k, k_stride)],
                  out.size, out_offset, n_floats - panel + gates * k * LI_UNITS)
    li_pack_f32(floats("out", out, True) + out_offset, floats("src", src, False) + src_offset, gates, n_units, k,
                gate_stride, unit_stride, k_stride, panel)
    return out


# ---- plans -----------------------------------------------------------------------------------------------------

cdef char *address(object base) except? NULL:
    """The memory a base stands for: an array, an address, or None."""
    if base is None:
        return NULL
    if cnp.PyArray_Check(base):
        return cnp.PyArray_BYTES(<cnp.ndarray>base)
    return <char *><uintptr_t>base


cdef li_steps NO_STEPS
NO_STEPS.step = NULL
NO_STEPS.n = -1  # the branch that must not be taken


cdef str owner(li_slot_fn fn, int slot):
    """The instruction set that a kernel was written for: a set may borrow a lesser one's."""
    for i in reversed(range(li_n_isas())):
        if li_isa_kernels(i).slot[slot] == fn:
            return li_isa_name(i).decode()


@cython.auto_pickle(False)
cdef class Plan:
    def __cinit__(self, str isa not None, steps, nested=()):
        cdef const li_kernels *kernels = find_isa(isa)
        cdef int64_t *next
        cdef Plan inner
        self.nested = tuple(nested)
        steps = [(slot, np.asarray(words)) for slot, words in steps]
        bounds.plan_steps(steps, len(self.nested), slots, control)
        self.isa = isa
        self.n_steps = len(steps)
        self.slots = tuple([slot for slot, _ in steps])
        self.steps = <li_step *>PyMem_Malloc(max(1, self.n_steps) * sizeof(li_step))
        self.words = <int64_t *>PyMem_Malloc(max(1, sum([words.size for _, words in steps])) * sizeof(int64_t))
        if self.steps == NULL or self.words == NULL:
            raise MemoryError
        next = self.words
        symbols = []
        for index, (slot, words) in enumerate(steps):
            words = np.ascontiguousarray(words)
            memcpy(next, cnp.PyArray_DATA(<cnp.ndarray>words), words.nbytes)
            self.steps[<Py_ssize_t>index].args = next
            if slot in control:  # its first words name plans of `nested`; -1: none
                if slot == "loop":
                    self.steps[<Py_ssize_t>index].fn = li_loop
                else:
                    self.steps[<Py_ssize_t>index].fn = li_branch
                for i in range(<Py_ssize_t>control[slot]):
                    if next[i] < 0:
                        next[i] = <int64_t><uintptr_t>&NO_STEPS
                    else:
                        inner = self.nested[next[i]]
                        next[i] = <int64_t><uintptr_t>&inner.list
                symbols.append(f"li_{slot}")
            else:
                code = slots[slot][0]
                self.steps[<Py_ssize_t>index].fn = kernels.slot[<int>code]
                symbols.append(f"li_{slot}_{owner(kernels.slot[<int>code], code)}")
            next += <Py_ssize_t>words.size
        self.symbols = tuple(symbols)
        self.list.step, self.list.n = self.steps, self.n_steps

    def __dealloc__(self):
        PyMem_Free(self.steps)
        PyMem_Free(self.words)

    def run(self, bases):
        cdef Py_ssize_t n
        cdef int64_t code
        cdef char **table
        bases = tuple(bases)  # own references: the caller's list may change while the GIL is released
        n = len(bases)
        table = <char **>PyMem_Malloc(max(1, n) * sizeof(char *))
        if table == NULL:
            raise MemoryError
        try:
            for i in range(n):
                table[i] = address(bases[i])
            with nogil:
                code = li_plan_run(self.steps, self.n_steps, table)
        finally:
            PyMem_Free(table)
        if code:
            raise step_error(code)


# ---- streams ---------------------------------------------------------------------------------------------------

cdef inline bint fits(cnp.ndarray a, int dtype, Shape *shape) noexcept:
    """Exactly this dtype and shape, native, aligned, C-contiguous."""
    if cnp.PyArray_TYPE(a) != dtype or cnp.PyArray_NDIM(a) != shape.rank or not cnp.PyArray_ISCARRAY_RO(a):
        return False
    for i in range(shape.rank):  # a call of memcmp costs more than these few words
        if cnp.PyArray_DIM(a, i) != shape.dims[i]:
            return False
    return True


cdef inline bint takes(object out, int dtype, Shape *shape, int64_t n_bytes, cnp.ndarray x,
                       int64_t n_x_bytes) noexcept:
    """An output array that fits, can be written and shares no memory with x."""
    return (cnp.PyArray_CheckExact(out) and fits(<cnp.ndarray>out, dtype, shape)
            and cnp.PyArray_ISWRITEABLE(<cnp.ndarray>out)
            and (cnp.PyArray_BYTES(<cnp.ndarray>out) >= cnp.PyArray_BYTES(x) + n_x_bytes
                 or cnp.PyArray_BYTES(x) >= cnp.PyArray_BYTES(<cnp.ndarray>out) + n_bytes))


cdef object empty(Shape *shape, int dtype):
    try:
        return cnp.PyArray_EMPTY(shape.rank, shape.dims, dtype, 0)
    except MemoryError as error:
        raise BudgetError(f"the output takes more memory than there is ({error}); feed shorter pieces") from error


cdef Shape shape_of(tuple dims, int time) except *:
    cdef Shape shape
    bounds.step_shape(dims, time, MAX_RANK)
    shape.rank = len(dims)
    shape.time = time
    for i, extent in enumerate(dims):
        shape.dims[<int>i] = extent
    return shape


@cython.auto_pickle(False)
cdef class StreamCore:
    def _bind(
        self, *, consts, state, arena, blocks, x_dtype, y_dtype, tuple x_step_shape, int x_time,
        tuple y_step_shape, int y_time, release_gil, backup=None, int input_base=3, int output_base=4,
    ):
        """Set all that the fast path needs: for the package itself; _core.pyi says what each argument is."""
        cdef Plan plan
        blocks = list(blocks)
        sizes = [n for n, _ in blocks]
        bounds.binding(sizes, len(release_gil), (input_base, output_base), (x_time, y_time), state, backup,
                       (MAX_BLOCKS, MAX_BASES))
        self._lock()
        try:
            self.step_bound = self.run_bound = False
            self.x_step[0], self.y_step[0] = shape_of(x_step_shape, x_time), shape_of(y_step_shape, y_time)
            self.x_step[1] = self.x_step[0]
            self.y_step[1] = self.y_step[0]
            if x_time >= 0:
                self.x_step[1] = shape_of(x_step_shape[:x_time] + x_step_shape[x_time + 1:], -1)
                self.x_run, self.y_run = self.x_step[0], self.y_step[0]
            else:  # a frame model: frames along a new leading axis
                self.x_run, self.y_run = shape_of((1, *x_step_shape), 0), shape_of((1, *y_step_shape), 0)
            if y_time >= 0:
                self.y_step[1] = shape_of(y_step_shape[:y_time] + y_step_shape[y_time + 1:], -1)
            x_dtype, y_dtype = np.dtype(x_dtype), np.dtype(y_dtype)
            self.x_type, self.y_type = x_dtype.num, y_dtype.num
            self.x_frame_bytes = np.zeros(x_step_shape, x_dtype).nbytes
            self.y_frame_bytes = np.zeros(y_step_shape, y_dtype).nbytes
            self.y_advance = self.y_frame_bytes if self.y_run.time >= 0 else 0
            self.input_base, self.output_base = input_base, output_base
            self.kept = (consts, state, arena, backup)
            self.backup = address(backup)
            self.state_bytes = 0 if backup is None else backup.nbytes
            for i in range(3):
                self.base[i] = address(self.kept[i])
            self.plans = tuple([plan for _, plan in blocks])
            self.n_blocks = len(sizes)
            for i in range(self.n_blocks):
                plan = self.plans[i]
                self.blocks[i] = Block(sizes[i], plan.steps, plan.n_steps, release_gil[i])
            self.one = self.blocks[self.n_blocks - 1]
            self.step_bound = True
            # T frames are one stretch of memory when every axis before time has extent 1
            self.run_bound = (all([n == 1 for n in x_step_shape[:max(x_time, 0)]])
                              and all([n == 1 for n in y_step_shape[:max(y_time, 0)]]))
        finally:
            self._unlock()

    def _lock(self):
        """Enter the stream, as step and run do; StateError where it is entered already."""
        if not LI_TAKE(&self.busy):
            raise StateError("stream is in use by another thread; give each thread a stream of its own "
                             "(model.stream() or stream.fork())")

    def _unlock(self):
        """Leave the stream, after a lock that succeeded."""
        LI_GIVE(&self.busy)

    def step(self, x, out=None):
        """Feed one time step and return what the model says to it.

        Parameters
        ----------
        x : array, or dict of input name to array
            One frame in the model's own layout and declared dtype, its time axis dropped or kept at 1; a dict where
            there is more than one streamed input, or a side input goes along with the frame.
        out : array, or dict of output name to array, optional
            Filled and returned: dtype and shape of the result, C-contiguous, apart from `x`. Nothing is allocated then.

        Returns
        -------
        array, or dict of output name to array
            A dict where `x` is one, or where there is more than one output; the time axis is dropped where that of `x`
            was. An output that does not exist yet is None.

        Raises
        ------
        FeedError
            An input is unknown or missing, or `out` cannot be used.
        DtypeError
            An input has another dtype; nothing is converted.
        ShapeError
            A shape does not fit, a value lies outside what an operator takes (an index, a length), or the model looks
            ahead: use `run` and `flush` then.
        StateError
            Another thread is inside the stream.

        Notes
        -----
        A call that raises leaves the stream as it was before.
        """
        cdef int kept
        cdef int64_t code
        if not self.step_bound or not cnp.PyArray_CheckExact(x):
            return self._step_slow(x, out)
        kept = cnp.PyArray_NDIM(<cnp.ndarray>x) != self.x_step[0].rank  # 0: time axis kept, 1: dropped
        if not fits(<cnp.ndarray>x, self.x_type, &self.x_step[kept]):
            return self._step_slow(x, out)
        if out is None:
            out = empty(&self.y_step[kept], self.y_type)
        elif not takes(out, self.y_type, &self.y_step[kept], self.y_frame_bytes, <cnp.ndarray>x, self.x_frame_bytes):
            return self._step_slow(x, out)
        if not LI_TAKE(&self.busy):
            self._lock()  # raises
        self.base[self.input_base] = cnp.PyArray_BYTES(<cnp.ndarray>x)
        self.base[self.output_base] = cnp.PyArray_BYTES(<cnp.ndarray>out)
        self.remember()
        if self.one.release:
            with nogil:
                code = li_plan_run(self.one.steps, self.one.n_steps, self.base)
        else:
            code = li_plan_run(self.one.steps, self.one.n_steps, self.base)
        if code:
            self.undo()
        LI_GIVE(&self.busy)
        if code:
            return self.fail(self.n_blocks - 1, code)
        return out

    def run(self, x, out=None):
        """Feed a chunk of T time steps, T >= 0: the same bits as T calls of `step`.

        Parameters
        ----------
        x : array, or dict of input name to array
            Frames along the time axis of each input; along a new leading axis where the model has none.
        out : array, or dict of output name to array, optional
            As in `step`.

        Returns
        -------
        array, or dict of output name to array
            Frames along the time axis of each output; of an output without one, the last value. Where the model looks
            ahead or strides over time: the steps that are complete, possibly none.

        Raises
        ------
        FeedError, DtypeError, ShapeError, StateError
            As in `step`; StateError also after `flush`.

        Notes
        -----
        A call that raises leaves the stream as it was before, however many steps had gone well.
        """
        cdef Shape x_shape, y_shape
        cdef int64_t n_frames, code
        cdef int block, first = 0
        cdef char *x_data
        cdef char *y_data
        if not self.run_bound or not cnp.PyArray_CheckExact(x) or cnp.PyArray_NDIM(<cnp.ndarray>x) != self.x_run.rank:
            return self._run_slow(x, out)
        n_frames = cnp.PyArray_DIM(<cnp.ndarray>x, self.x_run.time)
        x_shape, y_shape = self.x_run, self.y_run
        x_shape.dims[x_shape.time] = n_frames
        if y_shape.time >= 0:
            y_shape.dims[y_shape.time] = n_frames
        if not fits(<cnp.ndarray>x, self.x_type, &x_shape) or (n_frames == 0 and y_shape.time < 0):
            return self._run_slow(x, out)
        if out is None:
            out = empty(&y_shape, self.y_type)
        elif not takes(out, self.y_type, &y_shape, self.y_frame_bytes + (n_frames - 1) * self.y_advance,
                       <cnp.ndarray>x, n_frames * self.x_frame_bytes):
            return self._run_slow(x, out)
        if not LI_TAKE(&self.busy):
            self._lock()  # raises
        while first < self.n_blocks - 1 and self.blocks[first].n > n_frames:
            first += 1
        x_data, y_data = cnp.PyArray_BYTES(<cnp.ndarray>x), cnp.PyArray_BYTES(<cnp.ndarray>out)
        self.remember()
        # more than one of the largest block is long work too, whatever its own flag says
        if self.blocks[first].release or n_frames > self.blocks[0].n:
            with nogil:
                code = self.advance(n_frames, x_data, y_data, &block)
        else:
            code = self.advance(n_frames, x_data, y_data, &block)
        if code:
            self.undo()
        LI_GIVE(&self.busy)
        if code:
            return self.fail(block, code)
        return out

    cdef int64_t advance(self, int64_t n_frames, char *x, char *y, int *failed_block) noexcept nogil:
        """Cut n_frames into blocks, largest first, and run them. Returns what li_plan_run returned."""
        cdef int i = 0
        cdef int64_t code
        while n_frames > 0:
            if self.blocks[i].n > n_frames:
                i += 1
                continue
            self.base[self.input_base] = x
            self.base[self.output_base] = y
            code = li_plan_run(self.blocks[i].steps, self.blocks[i].n_steps, self.base)
            if code:
                failed_block[0] = i
                return code
            x += self.blocks[i].n * self.x_frame_bytes
            y += self.blocks[i].n * self.y_advance
            n_frames -= self.blocks[i].n
        return 0

    cdef void remember(self) noexcept nogil:
        if self.backup != NULL:
            memcpy(self.backup, self.base[1], self.state_bytes)

    cdef void undo(self) noexcept nogil:
        """A failed call leaves the state as it was before."""
        if self.backup != NULL:
            memcpy(self.base[1], self.backup, self.state_bytes)

    cdef object fail(self, int block, int64_t code):
        return self._step_failed(step_error(code), self.plans[block])

    def _step_slow(self, x, out):
        raise NotImplementedError("_step_slow")

    def _run_slow(self, x, out):
        raise NotImplementedError("_run_slow")

    def _step_failed(self, error, plan):
        raise error
