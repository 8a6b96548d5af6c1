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

    /* What the last calls returned. Who reads step after step drops one result as he is given the next: two go on. */
    typedef struct {
        PyObject *result[2]; /* own references */
        int older;
    } li_spare;

    /* Has nobody else an object, so that it is as good as a new one. Without a GIL a count says nothing. */
    #if defined(Py_GIL_DISABLED)
    #define LI_ALONE(o) 0
    #else
    #define LI_ALONE(o) (Py_REFCNT(o) == 1)
    #endif

    /* Is an array as good as a new one: nobody else has it or watches it, and it was not changed in place. */
    CYTHON_UNUSED static inline int li_as_new(PyObject *o, PyObject *dtype, int rank, const npy_intp *dims)
    {
        PyArrayObject *a = (PyArrayObject *)o;
        const int own = NPY_ARRAY_C_CONTIGUOUS | NPY_ARRAY_OWNDATA | NPY_ARRAY_ALIGNED | NPY_ARRAY_WRITEABLE;
        int i;
        if (!LI_ALONE(o) || !PyArray_CheckExact(o) || (PyArray_FLAGS(a) & own) != own || PyArray_NDIM(a) != rank ||
            (PyObject *)PyArray_DESCR(a) != dtype || *(PyObject **)((char *)o + PyArray_Type.tp_weaklistoffset) != NULL)
            return 0;
        for (i = 0; i < rank; i++)
            if (PyArray_DIM(a, i) != dims[i])
                return 0;
        return 1;
    }

    /* Remember what is returned instead of what was returned before the last; hands it on. */
    CYTHON_UNUSED static inline PyObject *li_remember(li_spare *spare, PyObject *made)
    {
    #if !defined(Py_GIL_DISABLED)
        if (made != NULL) {
            PyObject *gone = spare->result[spare->older];
            Py_INCREF(made);
            spare->result[spare->older] = made;
            spare->older ^= 1;
            Py_XDECREF(gone);
        }
    #endif
        return made;
    }

    /* As li_new_array, or an array returned before that nobody has any more. */
    CYTHON_UNUSED static inline PyObject *li_spare_array(li_spare *spare, PyObject *dtype, int rank,
                                                         const npy_intp *dims)
    {
        int i;
        for (i = 0; i < 2; i++)
            if (spare->result[i] != NULL && li_as_new(spare->result[i], dtype, rank, dims)) {
                Py_INCREF(spare->result[i]);
                return spare->result[i];
            }
        return li_remember(spare, li_new_array(dtype, rank, dims));
    }

    /* A new dict, or one of n items returned before that nobody has any more; what it holds is still in it. */
    CYTHON_UNUSED static inline PyObject *li_spare_dict(li_spare *spare, Py_ssize_t n)
    {
        int i;
        for (i = 0; i < 2; i++)
            if (spare->result[i] != NULL && LI_ALONE(spare->result[i]) && PyDict_Size(spare->result[i]) == n) {
                Py_INCREF(spare->result[i]);
                return spare->result[i];
            }
        return li_remember(spare, PyDict_New());
    }
    """
    ctypedef struct li_spare:
        PyObject *result[2]

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
    object li_spare_array(li_spare *spare, PyObject *dtype, int rank, const npy_intp *dims)
    bint li_as_new(PyObject *, PyObject *dtype, int rank, const npy_intp *dims) noexcept nogil
    dict li_spare_dict(li_spare *spare, Py_ssize_t n)

cdef extern from "Python.h":
    int look_for_signals "PyErr_CheckSignals"() noexcept


cdef inline bint apart(PyObject *a, PyObject *b) noexcept:
    """Do two arrays share no memory."""
    return LI_DATA(a) >= LI_DATA(b) + LI_NBYTES(b) or LI_DATA(b) >= LI_DATA(a) + LI_NBYTES(a)


cdef inline int raised() except -1:
    """Hand on the error that is set."""
    return -1
