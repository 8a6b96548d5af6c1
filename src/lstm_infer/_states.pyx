"""What a stream keeps, to a stretch of bytes and back: one pass over a table that a plan makes once.

In a stretch the parts of each signal stand together, signal by signal, and behind them what is nobody's own.
"""

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from libc.stdint cimport int32_t, int64_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memset

cimport numpy as cnp

from lstm_infer import bounds

cnp.import_array()

cdef enum:
    CHECKSUM = 8  # where it stands in a stretch with a header
    CHECKED = 16  # and from where on it counts

cdef extern from *:
    """
    #define LI_MULTIPLIER 0x9E3779B97F4A7C15ULL /* odd: no two words give the same product */
    """
    const uint64_t MULTIPLIER "LI_MULTIPLIER"


cdef inline uint64_t mixed(uint64_t lane, uint64_t word) noexcept nogil:
    lane = (lane ^ word) * MULTIPLIER
    return lane << 32 | lane >> 32


cdef inline uint64_t word_at(const char *data) noexcept nogil:
    cdef uint64_t word
    memcpy(&word, data, 8)
    return word


cdef uint64_t sum_of(const char *data, Py_ssize_t n_bytes) noexcept nogil:
    """Four sums side by side over words of eight bytes: one that is changed always shows (docs/snapshots.md)."""
    cdef uint64_t a = 1, b = 2, c = 3, d = 4
    cdef char rest[32]
    cdef const char *stop = data + n_bytes // 32 * 32
    cdef const char *at = data
    while at < stop:
        a, b = mixed(a, word_at(at)), mixed(b, word_at(at + 8))
        c, d = mixed(c, word_at(at + 16)), mixed(d, word_at(at + 24))
        at += 32
    memset(rest, 0, 32)
    memcpy(rest, at, n_bytes % 32)
    a, b = mixed(a, word_at(rest)), mixed(b, word_at(rest + 8))
    c, d = mixed(c, word_at(rest + 16)), mixed(d, word_at(rest + 24))
    return mixed(mixed(mixed(mixed(<uint64_t>n_bytes, a), b), c), d)


def begins_with(bytes data not None, bytes header not None):
    cdef Py_ssize_t n = PyBytes_GET_SIZE(header)
    cdef const char *mine = PyBytes_AS_STRING(header)
    cdef const char *found = PyBytes_AS_STRING(data)
    cdef uint64_t total
    if n < CHECKED or PyBytes_GET_SIZE(data) < n or memcmp(found, mine, CHECKSUM):
        return False
    if memcmp(found + CHECKED, mine + CHECKED, n - CHECKED):
        return False
    total = sum_of(found + CHECKED, PyBytes_GET_SIZE(data) - CHECKED)
    return not memcmp(found + CHECKSUM, &total, 8)


def checksum(bytes data not None):
    if len(data) < CHECKED:
        raise ValueError(f"data: at least {CHECKED} bytes expected, got {len(data)}")
    return sum_of(PyBytes_AS_STRING(data) + CHECKED, PyBytes_GET_SIZE(data) - CHECKED)


cdef struct Piece:
    int64_t at  # in the state block
    int64_t between  # from the part of one signal to that of the next
    int64_t n0
    int64_t s0
    int64_t n1
    int64_t s1
    int64_t run
    int64_t check


cdef char *copied(const Piece *piece, char *block, char *stretch, bint out) noexcept nogil:
    """One part: to the stretch, or from there; returns what stands behind it there."""
    cdef int64_t i, _j
    cdef char *near
    if piece.n0 == 1 and piece.n1 == 1:
        if out:
            memcpy(stretch, block, piece.run)
        else:
            memcpy(block, stretch, piece.run)
        return stretch + piece.run
    for i in range(piece.n0):
        near = block + i * piece.s0
        for _j in range(piece.n1):
            if out:
                memcpy(stretch, near, piece.run)
            else:
                memcpy(near, stretch, piece.run)
            stretch += piece.run
            near += piece.s1
    return stretch


cdef bint holds(const Piece *piece, const char *stretch) noexcept nogil:
    """May a state hold what stands in the stretch for it."""
    cdef int64_t i = 0, n = piece.n0 * piece.n1 * piece.run
    cdef int32_t small
    cdef int64_t large
    while i < n:
        if piece.check == 1:
            if <unsigned char>stretch[i] > 1:
                return False
        elif piece.check == 4:
            memcpy(&small, stretch + i, 4)
            if small < 0:
                return False
        else:
            memcpy(&large, stretch + i, 8)
            if large < 0:
                return False
        i += piece.check
    return True


cdef char *memory(state, int64_t n_bytes) except NULL:
    if not cnp.PyArray_Check(state) or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>state) or state.nbytes < n_bytes:
        raise ValueError(f"state: a C-contiguous array of at least {n_bytes} bytes expected")
    return cnp.PyArray_BYTES(<cnp.ndarray>state)


@cython.auto_pickle(False)
cdef class Table:
    cdef Piece *piece
    cdef int n_own
    cdef int n_pieces
    cdef int64_t batch
    cdef int64_t block_bytes
    cdef bint checked
    cdef readonly int64_t signal_bytes
    cdef readonly int64_t shared_bytes

    def __cinit__(self, pieces, int n_own, int64_t batch, int64_t block_bytes):
        cdef int i
        pieces = [tuple(piece) for piece in pieces]
        self.signal_bytes, self.shared_bytes = bounds.pieces(pieces, n_own, batch, block_bytes)
        self.n_own, self.n_pieces, self.batch, self.block_bytes = n_own, len(pieces), batch, block_bytes
        self.piece = <Piece *>malloc(max(1, len(pieces)) * sizeof(Piece))
        if self.piece == NULL:
            raise MemoryError
        for i, (at, between, n0, s0, n1, s1, run, check) in enumerate(pieces):
            self.piece[i] = Piece(at, between, n0, s0, n1, s1, run, check)
            self.checked = self.checked or check != 0

    def __dealloc__(self):
        free(self.piece)

    cdef int64_t row(self, rows, int64_t index) except -1:
        """The place in the batch of a signal of the stretch."""
        cdef int64_t row = index if rows is None else rows[index]
        if row < 0 or row >= self.batch:
            raise ValueError(f"row {row} lies outside a batch of {self.batch}")
        return row

    cdef void move(self, int64_t row, int first, int stop, char *block, char **stretch, bint out) noexcept:
        cdef int i
        for i in range(first, stop):
            stretch[0] = copied(&self.piece[i], block + self.piece[i].at + row * self.piece[i].between, stretch[0], out)

    def gather(self, bytes header not None, state, tuple rows):
        cdef Py_ssize_t n_header = PyBytes_GET_SIZE(header)
        cdef int64_t k, n = self.batch if rows is None else len(rows)
        cdef char *block = memory(state, self.block_bytes)
        if n_header < CHECKED:
            raise ValueError(f"header: at least {CHECKED} bytes expected, got {n_header}")
        found = PyBytes_FromStringAndSize(NULL, n_header + n * self.signal_bytes + self.shared_bytes)
        cdef char *begin = PyBytes_AS_STRING(found)
        cdef char *stretch = begin + n_header
        memcpy(begin, PyBytes_AS_STRING(header), n_header)
        for k in range(n):
            self.move(self.row(rows, k), 0, self.n_own, block, &stretch, True)
        self.move(0, self.n_own, self.n_pieces, block, &stretch, True)
        cdef uint64_t total = sum_of(begin + CHECKED, stretch - begin - CHECKED)
        memcpy(begin + CHECKSUM, &total, 8)
        return found

    def scatter(self, bytes data not None, Py_ssize_t at, state, tuple rows):
        cdef int64_t k, n = self.batch if rows is None else len(rows)
        cdef char *block = memory(state, self.block_bytes)
        cdef char *stretch
        cdef int i
        if at < 0 or len(data) - at != n * self.signal_bytes + self.shared_bytes:
            raise ValueError(f"data: {n * self.signal_bytes + self.shared_bytes} bytes expected, got {len(data) - at}")
        for k in range(n):
            self.row(rows, k)
        stretch = PyBytes_AS_STRING(data) + at
        if self.checked:
            for k in range(n + 1):
                for i in range(0 if k < n else self.n_own, self.n_own if k < n else self.n_pieces):
                    if self.piece[i].check and not holds(&self.piece[i], stretch):
                        return i
                    stretch += self.piece[i].n0 * self.piece[i].n1 * self.piece[i].run
            stretch = PyBytes_AS_STRING(data) + at
        for k in range(n):
            self.move(self.row(rows, k), 0, self.n_own, block, &stretch, False)
        self.move(0, self.n_own, self.n_pieces, block, &stretch, False)
        return -1
