# cython: cdivision=True
"""A call of a stream, in one crossing: its arrays are looked at once, and what was looked at is what runs.

A `Call` belongs to a plan and is shared by its streams: the ports, and the blocks that a chunk is cut into.
`StreamCore` adds the state of one stream. Memory to work in is lent to a call and comes back when it ends.
"""

cimport cython
from cpython.dict cimport PyDict_CheckExact, PyDict_GetItemWithError, PyDict_Next, PyDict_SetItem, PyDict_Size
from cpython.object cimport PyObject
from cpython.ref cimport Py_DECREF, Py_XDECREF
from libc.stdint cimport INT64_MAX, int64_t, uintptr_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset
from numpy cimport npy_intp

cimport numpy as cnp

from lstm_infer._arrays cimport *
from lstm_infer._core cimport Plan, address, run_steps, step_error

import numpy as np
from lstm_infer.later import Later

cnp.import_array()

bounds, errors, views, within = Later("bounds"), Later("errors"), Later("views"), Later("within")

# ---- memory to work in -----------------------------------------------------------------------------------------

cdef Scratch *lent = NULL  # those that no call has now, the one given back last in front
cdef long lending = 0


cdef Scratch *take_scratch(int64_t n_bytes) noexcept:
    """Memory for one call, as large as the largest that had it before; NULL where there is none."""
    global lent
    cdef Scratch *found
    while not LI_TAKE(&lending):
        pass
    found = lent
    if found != NULL:
        lent = found.next
    LI_GIVE(&lending)
    if found == NULL:
        found = <Scratch *>calloc(1, sizeof(Scratch))
    if found != NULL and (found.raw == NULL or found.n_bytes < n_bytes):
        free(found.raw)
        found.raw, found.n_bytes = <char *>malloc(n_bytes + LINE), n_bytes
        if found.raw == NULL:
            free(found)
            return NULL
        found.memory = found.raw + (LINE - <uintptr_t>found.raw % LINE) % LINE
    return found


def fill_scratch(int value):
    cdef Scratch *one = lent
    while one != NULL:
        memset(one.memory, value, one.n_bytes)
        one = one.next


cdef void give_scratch(Scratch *scratch) noexcept:
    global lent
    while not LI_TAKE(&lending):
        pass
    scratch.next, lent = lent, scratch
    LI_GIVE(&lending)


# ---- ports -----------------------------------------------------------------------------------------------------

cdef Shape shape_of(tuple dims, int time) except *:
    cdef Shape shape
    bounds.step_shape(dims, time, MAX_RANK)
    shape.rank, shape.time = len(dims), time
    for i, extent in enumerate(dims):
        shape.dims[<int>i] = extent
    return shape


cdef Port port_of(name, dtype, tuple step, int time, bint every) except *:
    cdef Port port
    port.name, port.dtype = <PyObject *>name, <PyObject *>dtype
    port.type, port.every = dtype.num, every
    port.step[0] = shape_of(step, time)
    port.each = step[time] if time >= 0 else 1
    port.step[1] = shape_of(step[:time] + step[time + 1:], -1) if time >= 0 and port.each == 1 else port.step[0]
    port.chunk = port.step[0] if time >= 0 or not every else shape_of((1, *step), 0)
    port.step_bytes = np.zeros(step, dtype).nbytes
    port.rows, port.piece = int(np.prod(step[:max(time, 0)])), -1
    return port


@cython.auto_pickle(False)
@cython.final
cdef class Call:
    def __cinit__(self, *, consts, int64_t state_bytes, int64_t arena_bytes, blocks, inputs, outputs, work,
                  int64_t release_from, nodes, bint can_fail=False, int64_t rate=1, lengths=None):
        cdef Plan plan
        cdef int i
        inputs, outputs, blocks = list(inputs), list(outputs), list(blocks)
        bounds.call(inputs, outputs, [n for n, _ in blocks], len(work), (MAX_PORTS, MAX_BLOCKS), rate, lengths)
        names = [port[0] for port in (*inputs, *outputs)]
        dtypes = [np.dtype(port[1]) for port in (*inputs, *outputs)]
        self.n_in, self.n_ports = len(inputs), len(inputs) + len(outputs)
        self.leads = [port[4] for port in inputs].index(True)
        self.counts = not all([port[4] for port in outputs])
        self.consts, self.state_bytes, self.can_fail = address(consts), state_bytes, can_fail
        self.scratch_bytes, self.rate, self.chunks = lines(arena_bytes), rate, lengths is not None
        for i, (_, _, step, time, every) in enumerate([*inputs, *outputs]):
            self.port[i] = port_of(names[i], dtypes[i], step, time, every)
            if self.port[i].every and self.port[i].rows > 1:
                self.port[i].piece = self.scratch_bytes
                self.scratch_bytes += lines(self.port[i].step_bytes * (blocks[0][0] // (1 if i < self.n_in else rate)))
        self.small = max([self.port[i].step_bytes for i in range(self.n_in, self.n_ports)]) <= SPARE_BYTES
        self.backup, self.scratch_bytes = self.scratch_bytes, self.scratch_bytes + state_bytes
        self.n_blocks, self.release_from = len(blocks), release_from
        for i, (n, plan) in enumerate(blocks):
            below = min([length for length in lengths or () if length > n], default=INT64_MAX)
            self.blocks[i] = Block(n, n // rate, below, plan.steps, plan.n_steps, min(work[i], release_from))
        self.sizes = tuple([n for n, _ in blocks])
        self.kept, self.nodes = (consts, *[plan for _, plan in blocks], *names, *dtypes), nodes

    def __dealloc__(self):
        cdef int i
        for i in range(2):
            Py_XDECREF(self.arrays.result[i])
            Py_XDECREF(self.dicts.result[i])

    cdef bint gather(self, dict given, int first, int stop, Held *held) except -1:
        """Hold the arrays of some ports by their names; False: they are given in another way than this road takes."""
        cdef PyObject *found
        cdef int i
        if PyDict_Size(given) != stop - first:
            return False
        for i in range(first, stop):
            found = PyDict_GetItemWithError(given, <object>self.port[i].name)
            if found == NULL or not cnp.PyArray_CheckExact(<object>found):
                return False
            hold(held, found)
        return True

    cdef object open(self, object x, object out, bint chunk, Held *held):
        """Look at the arrays of a call and hold them; what it will return, or None: not for this road.

        Behind the first look at a shape nothing runs that could change an array, and no object is made that the
        garbage collector counts.
        """
        cdef const Shape *shape
        cdef PyObject *lead
        cdef int i, other, form = 0
        cdef bint alone = cnp.PyArray_CheckExact(x) and self.n_in == 1
        if alone:
            hold(held, <PyObject *>x)
        elif not PyDict_CheckExact(x) or not self.gather(x, 0, self.n_in, held):
            return None
        if cnp.PyArray_CheckExact(out) and self.n_ports - self.n_in == 1:
            hold(held, <PyObject *>out)
        elif out is not None and (not PyDict_CheckExact(out) or not self.gather(out, self.n_in, self.n_ports, held)):
            return None
        lead, alone = held.array[self.leads], alone and self.n_ports - self.n_in == 1
        held.n_frames = held.n_made = 1
        if chunk:
            shape = &self.port[self.leads].chunk
            if LI_NDIM(lead) != shape.rank:
                return None
            held.n_frames = LI_DIMS(lead)[shape.time]
            if held.n_frames == 0 and self.counts or self.chunks and not self.cuts(held.n_frames):
                return None
            held.n_made = held.n_frames if self.rate == 1 else held.n_frames // self.rate
        elif LI_NDIM(lead) != self.port[self.leads].step[0].rank:
            form = 1
        if out is None and not chunk:  # before the look: what is dropped may run somebody's code
            made = self.make(alone, chunk, form, held)
        for i in range(held.n):
            shape = &self.port[i].chunk if chunk else &self.port[i].step[form]
            if not fits(held.array[i], &self.port[i], shape, held.n_frames if i < self.n_in else held.n_made):
                return None
            held.data[i] = LI_DATA(held.array[i])
        if out is None:
            return self.make(alone, chunk, form, held) if chunk else made
        for i in range(self.n_in, self.n_ports):
            if not LI_WRITEABLE(held.array[i]):
                return None
            for other in range(i):
                if not apart(held.array[i], held.array[other]):
                    return None
        return out

    cdef object make(self, bint alone, bint chunk, int form, Held *held):
        """What a call returns and holds: an array or a dict of them, new or as good as new."""
        cdef bint again = self.small and not chunk, filled
        cdef npy_intp dims[MAX_RANK]
        cdef PyObject *key = NULL, *found = NULL
        cdef const Shape *shape
        cdef Py_ssize_t at = 0, i
        cdef dict results
        results = None if alone else li_spare_dict(&self.dicts, self.n_ports - self.n_in) if again else {}
        filled = not alone and PyDict_Size(results) > 0
        for i in range(self.n_in, self.n_ports):
            shape = &self.port[i].chunk if chunk else &self.port[i].step[form]
            if filled:
                PyDict_Next(results, &at, &key, &found)
                if key != self.port[i].name:  # who had it put something else in
                    results.clear()
                    return self.make(alone, chunk, form, held)
            if not filled or not li_as_new(found, self.port[i].dtype, shape.rank, shape.dims):
                memcpy(dims, shape.dims, shape.rank * sizeof(npy_intp))
                if shape.time >= 0:
                    dims[shape.time] = held.n_made * self.port[i].each
                out = (li_spare_array(&self.arrays, self.port[i].dtype, shape.rank, dims) if alone and again else
                       li_new_array(self.port[i].dtype, shape.rank, dims))
                found = <PyObject *>out  # held by what is returned
                if not alone:
                    PyDict_SetItem(results, <object>self.port[i].name, out)
            held.data[i] = LI_DATA(found)
        return out if alone else results

    cdef bint cuts(self, int64_t n_frames) noexcept:
        """Are so many frames made up of these blocks, none of which stands for a longer one."""
        cdef int i
        for i in range(self.n_blocks):
            if n_frames >= self.blocks[i].below:
                return False
            n_frames %= self.blocks[i].n
        return n_frames == 0

    cdef int64_t work(self, int64_t n_frames, int first) noexcept:
        """The work of so many frames, cut into blocks from this one on."""
        cdef int64_t runs, total = 0
        cdef const Block *block = &self.blocks[first]
        while n_frames > 0:  # the last one leaves none
            runs = n_frames // block.n if n_frames >= 2 * block.n else n_frames >= block.n
            total += runs * block.work
            n_frames -= runs * block.n
            block += 1
        return total

    cdef int64_t run(self, const Held *held, int64_t at, int64_t stop, char *state, char *scratch, int block,
                     int *failed) noexcept nogil:
        """Cut these frames of what is held into blocks, largest first, and run them; what run_steps returned."""
        cdef char *base[FIRST + MAX_PORTS]
        cdef int64_t n, code, from_here, done = at if self.rate == 1 else at // self.rate
        cdef int i
        base[0], base[1], base[2] = self.consts, state, scratch
        while at < stop:
            n = self.blocks[block].n
            if n > stop - at:
                block += 1
                continue
            for i in range(self.n_ports):
                from_here = at if i < self.n_in else done
                base[FIRST + i] = held.data[i] if n == held.n_frames else self.piece(i, held, from_here, n, scratch)
            code = run_steps(self.blocks[block].steps, self.blocks[block].n_steps, base)
            if code:
                failed[0] = block
                return code
            if n != held.n_frames:
                for i in range(self.n_in, self.n_ports):
                    if self.port[i].piece >= 0:
                        self.move(i, held, done, self.blocks[block].made, scratch)
            at += n
            done += self.blocks[block].made
        return 0

    cdef inline char *piece(self, int i, const Held *held, int64_t at, int64_t n, char *scratch) noexcept nogil:
        """Where a block of a port lies, one of several: in the array itself, or gathered from the rows of it."""
        cdef const Port *port = &self.port[i]
        if not port.every:
            return held.data[i]
        if port.piece < 0:
            return held.data[i] + at * port.step_bytes
        if i < self.n_in:
            self.move(i, held, at, n, scratch)
        return scratch + port.piece

    cdef void move(self, int i, const Held *held, int64_t at, int64_t n, char *scratch) noexcept nogil:
        """Copy a block of each row to where the block lies; an output's from there."""
        cdef const Port *port = &self.port[i]
        cdef int64_t _row, step = port.step_bytes // port.rows, whole = held.n_frames if i < self.n_in else held.n_made
        cdef char *near = scratch + port.piece
        cdef char *far = held.data[i] + at * step
        for _row in range(port.rows):
            memcpy(near if i < self.n_in else far, far if i < self.n_in else near, n * step)
            near += n * step
            far += whole * step


# ---- streams ---------------------------------------------------------------------------------------------------

MAX_CHUNK = 64
IN_USE = "stream is in use by another thread; give each thread a stream of its own (model.stream() or stream.fork())"


@cython.auto_pickle(False)
@cython.final
cdef class Standing:
    def __cinit__(self, plan, phase, bint flushed, first):
        self.plan, self.phase, self.flushed, self.first = plan, phase, flushed, first


@cython.auto_pickle(False)
cdef class StreamCore:
    def _bind(self, Call call, state, standing):
        """Say what a call is, where the state lies (None: where it lay), and where the stream stands."""
        memory = self.kept if state is None else state
        if call is not None and memory.nbytes < call.state_bytes:
            raise ValueError(f"state: at least {call.state_bytes} bytes expected, got {memory.nbytes}")
        self.state = self.state if state is None else address(state)
        self.call, self.kept, self.standing = call, memory, standing

    @property
    def _standing(self):
        return self.standing

    @property
    def _state(self):
        return self.kept

    def _alone(self, body, bint writes=True):
        """Call body(standing), which returns a result and the next standing, with nobody else in the stream.

        All or nothing: where it raises, whatever it is (a signal too), the state is as it was before. Signals are only
        handled inside `body`. writes: False where it leaves the state alone.
        """
        cdef Call call
        cdef Py_ssize_t n_bytes
        if not LI_TAKE(&self.busy):
            raise errors.StateError(IN_USE)
        try:
            call, standing, kept = self.call, self.standing, self.kept
            n_bytes = kept.nbytes if writes and kept is not None else 0
            try:
                before = self.state[:n_bytes]
            except MemoryError as error:
                raise errors.BudgetError(within.NO_MEMORY.format("the call", error)) from error
            try:
                result, self.standing = body(standing)
            except BaseException:  # also a signal behind the last line of `body`
                self.call, self.standing, self.kept, self.state = call, standing, kept, address(kept)
                memcpy(self.state, <char *>before, n_bytes)
                raise
        finally:
            LI_GIVE(&self.busy)
        return result

    def step(self, x, out=None):
        """Feed one time step and return what the model says to it.

        Parameters
        ----------
        x : array, or dict of input name to array
            One frame in the model's own layout and declared dtype, its time axis dropped or kept at 1; a dict for
            several inputs. Also tensors on the CPU, buffers and what has `__dlpack__`: read where they lie.
        out : array, or dict of output name to array, optional
            Filled and returned: dtype and shape of the result, C-contiguous, apart from `x` and from each other.
            Nothing is allocated then, where all are arrays of NumPy.

        Returns
        -------
        array, or dict of output name to array
            A dict where `x` is one, or where there is more than one output; the time axis is dropped where that of `x`
            was, but not from an output that has several steps for each that is fed. An output that does not exist
            yet is None.

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
        A call that raises leaves the stream as it was. A small result that nothing refers to any more may come back.
        """
        result = self.go(x, out, False)
        return self.around(x, out, False) if result is None else result

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
        result = self.go(x, out, True)
        return self.around(x, out, True) if result is None else result

    def flush(self):
        """The outputs that are still behind (`lag`), as the whole run gives them; then only `reset` goes on.

        Where nothing is ever behind, since each step gives its outputs at once, there are none, and the stream goes on.

        Raises
        ------
        StateError
            The stream was flushed before.
        """
        return self._alone(self._flush_slow())

    cdef object around(self, object x, object out, bint chunk):
        """What the fast road does not take: arrays of others go on it as views, all else is the general path's."""
        cdef object given = out, result = None
        if self._refitted(x):
            result = self.go(x, out, chunk)
        if result is None:
            x, out, other = views.views_of(x, out)
            if other:
                self._refitted(x)
                result = self.go(x, out, chunk)
        if result is None:
            result = self._alone((self._run_slow if chunk else self._step_slow)(x, out))
        return result if given is None else given

    cdef object go(self, object x, object out, bint chunk):
        """A call on the fast road; None: it is not for it, and nothing was done."""
        cdef Call call = self.call
        cdef Held held
        cdef Scratch *scratch
        cdef int64_t code, at, stop
        cdef int i, first, failed = 0
        cdef bint release, stopped = False
        if call is None or call.chunks and not chunk:
            return None
        held.n = 0
        try:
            result = call.open(x, out, chunk, &held)
            if result is None:
                return None
            if not LI_TAKE(&self.busy):
                raise errors.StateError(IN_USE)
            if self.call is not call:  # another thread fed other sizes meanwhile
                LI_GIVE(&self.busy)
                return None
            scratch = take_scratch(call.scratch_bytes)
            if scratch == NULL:
                LI_GIVE(&self.busy)
                raise MemoryError(f"{call.scratch_bytes} bytes to work in")
            first = 0 if chunk else call.n_blocks - 1
            while first < call.n_blocks - 1 and call.blocks[first].n > held.n_frames:
                first += 1
            release = call.work(held.n_frames, first) >= call.release_from
            if release or call.can_fail:
                memcpy(scratch.memory + call.backup, self.state, call.state_bytes)
            if not release:
                code = call.run(&held, 0, held.n_frames, self.state, scratch.memory, first, &failed)
            else:
                at = code = 0
                while at < held.n_frames and not code and not stopped:
                    stop = min(at + call.blocks[0].n * BLOCKS_A_LOOK, held.n_frames)
                    with nogil:
                        code = call.run(&held, at, stop, self.state, scratch.memory, first, &failed)
                    at = stop
                    stopped = look_for_signals() != 0
            if code or stopped:
                memcpy(self.state, scratch.memory + call.backup, call.state_bytes)
            give_scratch(scratch)
            LI_GIVE(&self.busy)
            if stopped:
                raised()
        except MemoryError as error:  # before anything ran
            raise errors.BudgetError(within.NO_MEMORY.format("the call", error)) from error
        finally:
            for i in range(held.n):
                Py_DECREF(<object>held.array[i])
        if code:
            return self._step_failed(step_error(code), call.nodes[failed])
        return result

    def _refitted(self, x):
        return False

    def _step_failed(self, error, nodes):
        raise error
