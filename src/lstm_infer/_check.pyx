"""Test door: any slot of any runnable instruction set, and an fmaf twin of one gate sum."""

from cpython.mem cimport PyMem_Free, PyMem_Malloc
from libc.stdint cimport uintptr_t

cimport numpy as cnp

from lstm_infer._core cimport find_isa
from lstm_infer._kernels cimport li_kernels

import numpy as np

from lstm_infer._core import slots

cnp.import_array()

cdef extern from "<math.h>" nogil:
    float fmaf(float a, float b, float c) noexcept


def call(str isa, str slot, words, bases):
    cdef Py_ssize_t n
    cdef int status
    cdef int index = dict(slots)[slot][0]
    cdef const li_kernels *kernels = find_isa(isa)
    cdef const void *args
    cdef char **table
    words = np.ascontiguousarray(words, np.int64)
    args = cnp.PyArray_DATA(<cnp.ndarray>words)
    bases = tuple(bases)
    n = len(bases)
    table = <char **>PyMem_Malloc(max(1, n) * sizeof(char *))
    if table == NULL:
        raise MemoryError
    try:
        for i in range(n):
            base = bases[i]
            if base is None:
                table[i] = NULL
            elif isinstance(base, np.ndarray):
                table[i] = cnp.PyArray_BYTES(<cnp.ndarray>base)
            else:
                table[i] = <char *><uintptr_t>base
        with nogil:
            status = kernels.slot[index](args, table)
    finally:
        PyMem_Free(table)
    return status


def fma_chain(const float[::1] x not None, const float[::1] w not None, float init=0.0):
    if x.shape[0] != w.shape[0]:
        raise ValueError(f"x and w: equal lengths expected, got {x.shape[0]} and {w.shape[0]}")
    for k in range(x.shape[0]):
        init = fmaf(x[k], w[k], init)
    return np.float32(init)


def unaligned(Py_ssize_t n_bytes, Py_ssize_t shift):
    raw = np.zeros(n_bytes + 63 + shift, np.uint8)
    cdef Py_ssize_t start = (64 - <uintptr_t>cnp.PyArray_DATA(<cnp.ndarray>raw) % 64) % 64 + shift
    return raw[start:start + n_bytes]
