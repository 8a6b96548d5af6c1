"""A flag that one thread holds, and arrays that are held by plain pointers."""

from cpython.object cimport PyObject
from numpy cimport npy_intp

cdef extern from *:
    """
    /* A flag that one thread holds. With a GIL it is only touched by its holder; without one it is an atomic. */
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

    /* Arrays that are held by plain pointers: no counting of references where they are only looked at. */
    #define LI_TYPE(o) PyArray_TYPE((PyArrayObject *)(o))
    #define LI_NDIM(o) PyArray_NDIM((PyArrayObject *)(o))
    #define LI_DIMS(o) PyArray_DIMS((PyArrayObject *)(o))
    #define LI_DATA(o) PyArray_BYTES((PyArrayObject *)(o))
    #define LI_NBYTES(o) PyArray_NBYTES((PyArrayObject *)(o))
    #define LI_PLAIN(o) PyArray_ISCARRAY_RO((PyArrayObject *)(o))
    #define LI_WRITEABLE(o) PyArray_ISWRITEABLE((PyArrayObject *)(o))

    /* A new array of a dtype object, C-contiguous; the cheapest way that NumPy has. */
    CYTHON_UNUSED static inline PyObject *li_new_array(PyObject *dtype, int rank, const npy_intp *dims)
    {
        Py_INCREF(dtype); /* it takes one */
        return PyArray_NewFromDescr(&PyArray_Type, (PyArray_Descr *)dtype, rank, dims, NULL, NULL, 0, NULL);
    }
    """
    bint LI_TAKE(long *flag) noexcept nogil
    void LI_GIVE(long *flag) noexcept nogil
    int LI_TYPE(PyObject *) noexcept nogil
    int LI_NDIM(PyObject *) noexcept nogil
    npy_intp *LI_DIMS(PyObject *) noexcept nogil
    char *LI_DATA(PyObject *) noexcept nogil
    npy_intp LI_NBYTES(PyObject *) noexcept nogil
    bint LI_PLAIN(PyObject *) noexcept nogil
    bint LI_WRITEABLE(PyObject *) noexcept nogil
    object li_new_array(PyObject *dtype, int rank, const npy_intp *dims)

cdef extern from "Python.h":
    int look_for_signals "PyErr_CheckSignals"() noexcept


cdef inline bint apart(PyObject *a, PyObject *b) noexcept:
    """Do two arrays share no memory."""
    return LI_DATA(a) >= LI_DATA(b) + LI_NBYTES(b) or LI_DATA(b) >= LI_DATA(a) + LI_NBYTES(a)
