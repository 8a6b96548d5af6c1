"""The one bridge to C: hands memory to the kernels and takes statuses back. No arithmetic, no loops over elements."""

cimport cython
from cpython.buffer cimport PyBuffer_FillInfo
from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport int8_t, int32_t, int64_t, uintptr_t
from libc.string cimport memcpy

cimport numpy as cnp

from lstm_infer._files cimport *
from lstm_infer._kernels cimport *

import numpy as np

from lstm_infer.later import Later

cnp.import_array()
li_crc_begin()

bounds, errors = Later("bounds"), Later("errors")


# ---- tables ----------------------------------------------------------------------------------------------------

cdef dict slots = None  # this and the next are made when somebody asks for them: a mapped model does not
cdef dict map_codes = None


def __getattr__(str name):
    global map_codes
    if name == "slots":
        return slot_table()
    if name != "map_codes":
        raise AttributeError(f"module 'lstm_infer._core' has no attribute {name!r}")
    if map_codes is None:
        map_codes = {li_map_name(i).decode(): (i, li_map_args(i)) for i in range(LI_N_MAP)}
    return map_codes


cdef dict slot_table():
    global slots
    if slots is None:
        slots = {li_slot_name(i).decode(): (i, li_slot_words(i)) for i in range(LI_N_SLOTS)}
    return slots


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
quantize_codes = {
    "ROW": LI_QUANT_ROW, "ROW_U8": LI_QUANT_ROW_U8, "ALL_U8": LI_QUANT_ALL_U8, "GIVEN": LI_QUANT_GIVEN,
}
scatter_codes = {
    "SET": LI_SCATTER_SET, "ADD": LI_SCATTER_ADD, "MUL": LI_SCATTER_MUL, "MIN": LI_SCATTER_MIN, "MAX": LI_SCATTER_MAX,
}
status_codes = {
    "OK": LI_OK, "INDEX": LI_ERR_INDEX, "LENGTH": LI_ERR_LENGTH, "VALUE": LI_ERR_VALUE, "LIMIT": LI_ERR_LIMIT,
    "BRANCH": LI_ERR_BRANCH,
}
control = {"loop": 1, "branch": 2}
slot_names = (*[li_slot_name(i).decode() for i in range(LI_N_SLOTS)], *control)
ISA_VARIABLE = "LSTM_INFER_ISA"
FAR = 1 << 59  # no memory is as large
USE_READ, USE_WRITE, USE_OWN = LI_USE_READ, LI_USE_WRITE, LI_USE_OWN
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


cdef int asked[32]  # can a set run here: 0 not asked, else 1 or 2. A virtual machine answers in some 10 us


cdef bint runs(int index) noexcept:
    if not asked[index]:
        asked[index] = 2 if li_isa_runnable(index) else 1
    return asked[index] == 2


def list_isas():
    return [(li_isa_name(i).decode(), bool(runs(i))) for i in range(li_n_isas())]


def best_isa():
    cdef int i = 0
    while not runs(i):  # the last one is plain C
        i += 1
    return li_isa_name(i).decode()


cdef const li_kernels *find_isa(str isa) except NULL:
    for i in range(li_n_isas()):
        if li_isa_name(i).decode() == isa:
            if not runs(i):
                raise errors.IsaError(f"instruction set {isa!r}: this CPU or its operating system cannot run it; "
                                      f"runnable: {', '.join(n for n, ok in list_isas() if ok)}")
            return li_isa_kernels(i)
    have = ", ".join(n for n, _ in list_isas())
    raise errors.IsaError(f"instruction set {isa!r} is not in this build; it has: {have}")


# ---- memory ----------------------------------------------------------------------------------------------------

def recur_scratch(int64_t gates, int64_t T, int64_t B, int64_t I, int64_t H):
    return li_recur_scratch(gates, T, B, I, H)


def recur_i8_scratch(int64_t gates, int64_t T, int64_t B, int64_t I, int64_t H):
    return li_recur_i8_scratch(gates, T, B, I, H)


def matmul_i8_scratch(int64_t n, int64_t k):
    return li_matmul_i8_scratch(n, k)


def matmul_dyn_scratch(int64_t k, int64_t m):
    return li_matmul_dyn_scratch(k, m)


def pool_scratch(int64_t y_cols, int64_t kernel, int64_t stride, int64_t dilation):
    return li_pool_scratch(y_cols, kernel, stride, dilation)


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


cdef void *elements(str name, object array, int kind, bint write) except NULL:
    """The address of a C-contiguous array of one type."""
    if not cnp.PyArray_Check(array) or cnp.PyArray_TYPE(<cnp.ndarray>array) != kind:
        raise TypeError(f"{name}: {cnp.PyArray_DescrFromType(kind)} array expected")
    if not (cnp.PyArray_ISCARRAY(<cnp.ndarray>array) if write else cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>array)):
        raise ValueError(f"{name}: C-contiguous{' writeable' if write else ''} array expected")
    return cnp.PyArray_DATA(<cnp.ndarray>array)


def pack_f32(src, *, int64_t gates, int64_t n_units, int64_t k, int64_t gate_stride, int64_t unit_stride,
             int64_t k_stride, int64_t src_offset=0, int64_t panel=0, out=None, int64_t out_offset=0):
    panel, n_floats = bounds.panels(gates, n_units, k, panel, LI_UNITS, out_offset)
    if out is None:
        out = aligned_empty((out_offset + n_floats) * 4).view(np.float32)
    if n_units == 0 or k == 0:
        return out
    bounds.packed(src.size, src_offset, [(gates, gate_stride), (n_units, unit_stride), (k, k_stride)],
                  out.size, out_offset, n_floats - panel + gates * k * LI_UNITS)
    li_pack_f32(<float *>elements("out", out, cnp.NPY_FLOAT32, True) + out_offset,
                <float *>elements("src", src, cnp.NPY_FLOAT32, False) + src_offset, gates, n_units, k,
                gate_stride, unit_stride, k_stride, panel)
    return out


def pack_i8(src, scale, zero=None, *, int64_t gates, int64_t n_units, int64_t k, int64_t gate_stride,
            int64_t unit_stride, int64_t k_stride, int64_t src_offset=0, int64_t panel=0, out=None,
            int64_t out_offset=0):
    cdef int64_t rows = 3 + (k + 3) // 4 if k > 0 else 0
    cdef const int32_t *zeros = NULL
    panel, n_words = bounds.panels(gates, n_units, rows, panel, LI_UNITS, out_offset)
    if out is None:
        out = aligned_empty((out_offset + n_words) * 4).view(np.int32)
    if n_units == 0 or k == 0:
        return out
    bounds.packed(src.size, src_offset, [(gates, gate_stride), (n_units, unit_stride), (k, k_stride)],
                  out.size, out_offset, n_words - panel + gates * rows * LI_UNITS)
    bounds.per_unit("scale", scale, gates * n_units)
    if zero is not None:
        bounds.per_unit("zero", zero, gates * n_units)
        zeros = <const int32_t *>elements("zero", zero, cnp.NPY_INT32, False)
    li_pack_i8(<int32_t *>elements("out", out, cnp.NPY_INT32, True) + out_offset,
               <int8_t *>elements("src", src, cnp.NPY_INT8, False) + src_offset,
               <const float *>elements("scale", scale, cnp.NPY_FLOAT32, False), zeros, gates, n_units, k,
               gate_stride, unit_stride, k_stride, panel)
    return out


# ---- files -----------------------------------------------------------------------------------------------------

@cython.auto_pickle(False)
@cython.final
cdef class Mapping:
    cdef void *at
    cdef size_t n_bytes

    def __cinit__(self, int file):
        self.at = li_map(file, &self.n_bytes)
        if self.at == NULL:
            raise OSError("not a file that can be mapped")

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.at, <Py_ssize_t>self.n_bytes, 1, flags)

    def __dealloc__(self):
        if self.at != NULL:
            li_unmap(self.at, self.n_bytes)


def slots_sign():
    """Stands for the table of slots: names, order, and the words of each."""
    return crc32(",".join([f"{li_slot_name(i).decode()} {li_slot_words(i)}" for i in range(LI_N_SLOTS)]).encode())


def crc32(const unsigned char[::1] data not None):
    return li_crc32(&data[0], <size_t>data.shape[0]) if data.shape[0] else 0


# ---- plans -----------------------------------------------------------------------------------------------------

cdef int64_t code_of(str slot) except -1:
    """The number that li_check knows a slot by."""
    if slot in slot_table():
        return slots[slot][0]
    if slot not in control:
        raise ValueError(f"slot {slot!r} is unknown")
    return LI_SLOT_LOOP if slot == "loop" else LI_SLOT_BRANCH


@cython.auto_pickle(False)
@cython.final
cdef class Steps:
    cdef Py_ssize_t n
    cdef readonly tuple controls
    cdef const int64_t *table  # the number of the slot, and of its words, of each
    cdef const int64_t *words
    cdef object kept
    cdef tuple places  # where the words of each begin, once somebody asked for one

    def __cinit__(self, row, Py_ssize_t n):
        cdef Py_ssize_t i, total
        cdef int64_t most, words
        self.n, self.kept = n, row
        self.table = <int64_t *>elements("row", row, cnp.NPY_INT64, False)
        if row.ndim != 1 or n < 0 or n > row.size // 2:
            raise ValueError(f"row: slots and numbers of words of {n} steps, and the words, expected, got {row.shape}")
        self.words, total, most = self.table + 2 * n, 0, row.size - 2 * n
        controls = []
        for i in range(n):
            if not 0 <= self.table[2 * i] < LI_N_SLOTS + 2 or not 0 <= self.table[2 * i + 1] <= most:
                raise ValueError(f"step {i}: slot {self.table[2 * i]} with {self.table[2 * i + 1]} words")
            if self.table[2 * i] < LI_N_SLOTS:
                words = li_slot_words(<int>self.table[2 * i])
                if words and words != self.table[2 * i + 1]:
                    raise ValueError(f"step {i}: {words} words expected, got {self.table[2 * i + 1]}")
            else:
                controls.append(i)
            total += self.table[2 * i + 1]
            most -= self.table[2 * i + 1]
        self.controls = tuple(controls)
        if most:
            raise ValueError(f"row: {total} words expected, got {total + most}")

    def __len__(self):
        return self.n

    def __getitem__(self, Py_ssize_t index):
        cdef Py_ssize_t i
        cdef int64_t at = 2 * self.n
        if index < 0 or index >= self.n:
            raise IndexError(index)
        if self.places is None:
            places = []
            for i in range(self.n):
                places.append(at)
                at += self.table[2 * i + 1]
            self.places = tuple(places)
        at = self.places[index]
        return slot_names[<Py_ssize_t>self.table[2 * index]], self.kept[at:at + self.table[2 * index + 1]]


def memories(constants, int64_t state, int64_t arena, inputs, outputs):
    sizes = [0, state, arena, *inputs, *outputs]
    uses = [USE_READ, USE_READ | USE_WRITE, USE_READ | USE_WRITE | USE_OWN,
            *[USE_READ] * len(inputs), *[USE_READ | USE_WRITE] * len(outputs)]
    blocks = [(0, offset, offset + n) for offset, n in sorted(constants) if n > 0]
    if not all([0 <= n < FAR for n in sizes]) or not all([-FAR < a < b < FAR for _, a, b in blocks]):
        raise ValueError("the plan names memories of impossible sizes")
    rows = [(root, 0, 0, 64, n, use, root == 0) for root, (n, use) in enumerate(zip(sizes, uses))]
    return np.array(rows, np.int64), np.array(blocks, np.int64).reshape(-1, 3)


def check_steps(steps, bases, blocks, kept):
    cdef li_memories memories
    cdef li_verdict verdict
    cdef Py_ssize_t index = 0
    cdef double work = 0.0
    cdef Steps row
    cdef const int64_t *words
    memories.base, memories.n_bases = <li_memory *>rows("bases", bases, 7), bases.shape[0]
    memories.block, memories.n_blocks = <li_bytes *>rows("blocks", blocks, 3), blocks.shape[0]
    memories.kept, memories.n_kept = <li_bytes *>rows("kept", kept, 3), kept.shape[0]
    if type(steps) is Steps:
        row = steps
        words = row.words
        for index in range(row.n):
            verdict = li_check(row.table[2 * index], words, row.table[2 * index + 1], &memories)
            if verdict.field != NULL:
                return index, verdict.field.decode(), verdict.what.decode()
            work += verdict.work
            words += row.table[2 * index + 1]
        return work
    for slot, given in steps:
        verdict = li_check(code_of(slot), <int64_t *>elements("words", given, cnp.NPY_INT64, False), given.size,
                           &memories)
        if verdict.field != NULL:
            return index, verdict.field.decode(), verdict.what.decode()
        work += verdict.work
        index += 1
    return work


def loop_inside(words, bases):
    cdef li_memories memories
    cdef li_bytes table
    memories.base, memories.n_bases = <li_memory *>rows("bases", bases, 7), bases.shape[0]
    inside = np.empty((bases.shape[0] + li_loop_slices(words.size), 7), np.int64)
    limit = li_loop_inside(<int64_t *>elements("words", words, cnp.NPY_INT64, False), &memories,
                           <li_memory *>rows("inside", inside, 7), &table)
    return limit, inside, np.array([[table.root, table.begin, table.end]], np.int64)


cdef void *rows(str name, object table, int width) except NULL:
    """The address of a table of numbers."""
    cdef void *at = elements(name, table, cnp.NPY_INT64, False)
    if table.ndim != 2 or table.shape[1] != width:
        raise ValueError(f"{name}: int64 [n, {width}] expected, got {table.shape}")
    return at


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
        cdef int64_t code, branch
        cdef int64_t *next
        cdef Plan inner
        cdef Py_ssize_t index, i
        cdef Steps row
        self.nested = tuple(nested)
        if type(steps) is not Steps:
            steps = [(slot, np.asarray(words)) for slot, words in steps]
            bounds.plan_steps(steps, len(self.nested), slot_table(), control)
            table = [(code_of(slot), words.size) for slot, words in steps]
            rows = [np.array(table, np.int64).reshape(-1), *[words for _, words in steps]]
            steps = Steps(np.concatenate(rows), len(table))
        row = steps
        self.isa, self.n_steps = isa, row.n
        self.steps = <li_step *>PyMem_Malloc(max(1, self.n_steps) * sizeof(li_step))
        self.words = <int64_t *>PyMem_Malloc(max(1, row.kept.size - 2 * row.n) * sizeof(int64_t))
        self.codes = <int64_t *>PyMem_Malloc(max(1, self.n_steps) * sizeof(int64_t))
        if self.steps == NULL or self.words == NULL or self.codes == NULL:
            raise MemoryError
        next = self.words
        memcpy(next, row.words, (row.kept.size - 2 * row.n) * sizeof(int64_t))
        for index in range(row.n):
            code = self.codes[index] = row.table[2 * index]
            self.steps[index].args = next
            if code < LI_N_SLOTS:
                self.steps[index].fn = kernels.slot[<int>code]
            else:  # its first words name plans of `nested`; -1: none
                self.steps[index].fn = li_loop if code == LI_SLOT_LOOP else li_branch
                for i in range(1 if code == LI_SLOT_LOOP else 2):
                    branch = next[i] if i < row.table[2 * index + 1] else len(self.nested)
                    if branch < -1 or branch >= len(self.nested):
                        raise ValueError(f"step {index}: words that name nested plans expected")
                    if branch < 0:
                        next[i] = <int64_t><uintptr_t>&NO_STEPS
                    else:
                        inner = self.nested[branch]
                        next[i] = <int64_t><uintptr_t>&inner.list
            next += row.table[2 * index + 1]
        self.list.step, self.list.n = self.steps, self.n_steps

    @property
    def slots(self):
        return tuple([slot_names[<Py_ssize_t>self.codes[i]] for i in range(self.n_steps)])

    @property
    def symbols(self):
        cdef const li_kernels *kernels = find_isa(self.isa)
        return tuple([
            f"li_{slot}" if slot in control else f"li_{slot}_{owner(kernels.slot[<int>code_of(slot)], code_of(slot))}"
            for slot in self.slots
        ])

    def __dealloc__(self):
        PyMem_Free(self.steps)
        PyMem_Free(self.words)
        PyMem_Free(self.codes)

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


cdef int64_t run_steps(const li_step *steps, int64_t n_steps, char **bases) noexcept nogil:
    """Run the steps of a plan: for the modules beside this one, which hold no kernels."""
    return li_plan_run(steps, n_steps, bases)
