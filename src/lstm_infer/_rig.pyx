"""What a call over many signals is: where the state of each lies, the ports, and a lane for each size of a batch.

A `Layout` says where the state of each signal lies in the state block of a batch, a `Rig` cuts the rows of a call into
batches, gathers each, runs the plan of its lane and puts the rows back. Who owns the rows is `_pool`.
"""

cimport cython
from cpython.dict cimport PyDict_CheckExact, PyDict_GetItemWithError, PyDict_SetItem, PyDict_Size
from cpython.object cimport PyObject
from cpython.ref cimport Py_XDECREF
from libc.stdint cimport int64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy
from numpy cimport npy_intp

cimport numpy as cnp

from lstm_infer._arrays cimport *
from lstm_infer._core cimport Plan, address, run_steps
from lstm_infer._stream cimport FIRST, MAX_PORTS, MAX_RANK, SPARE_BYTES, Held, hold, lines

import numpy as np

from lstm_infer import bounds

cnp.import_array()

cdef extern from *:
    """
    /* Short stretches: a call of memcpy costs more than what it copies. */
    static inline void li_copy(char *to, const char *from, int64_t n)
    {
        if (n > 1024 || n & 15) {
            memcpy(to, from, (size_t)n);
            return;
        }
        for (; n >= 64; n -= 64, to += 64, from += 64)
            memcpy(to, from, 64);
        for (; n > 0; n -= 16, to += 16, from += 16)
            memcpy(to, from, 16);
    }
    """
    void li_copy(char *, const char *, int64_t) noexcept nogil


# ---- from rows to batches and back -----------------------------------------------------------------------------

cdef int fill(Loops *found, loops, int64_t run) except -1:
    cdef int i
    found.n_loops, found.run = len(loops), run
    for i in range(3):
        found.n[i], found.near[i], found.far[i], found.scaled[i] = 1, 0, 0, False
    for i, (n, near, far, scaled) in enumerate(loops):
        found.n[i], found.near[i], found.far[i], found.scaled[i] = n, near, far, scaled
    return 0


cdef inline void copied(const Loops *loops, char *near, char *far, int64_t steps, bint inwards) noexcept nogil:
    """The part of one signal, inwards: to where a batch has it."""
    cdef int64_t _a, _b, _c, i
    cdef int64_t by[3]
    cdef char *near_b
    cdef char *far_b
    cdef char *near_c
    cdef char *far_c
    if loops.n_loops == 0:
        if inwards:
            memcpy(near, far, loops.run)
        else:
            memcpy(far, near, loops.run)
        return
    for i in range(3):
        by[i] = loops.far[i] * steps if loops.scaled[i] else loops.far[i]
    for _a in range(loops.n[0]):
        near_b, far_b = near, far
        for _b in range(loops.n[1]):
            near_c, far_c = near_b, far_b
            for _c in range(loops.n[2]):
                if inwards:
                    memcpy(near_c, far_c, loops.run)
                else:
                    memcpy(far_c, near_c, loops.run)
                near_c += loops.near[2]
                far_c += by[2]
            near_b += loops.near[1]
            far_b += by[1]
        near += loops.near[0]
        far += by[0]


cdef void shifted(const Part *parts, int n_parts, int64_t index, char *block, char *row,
                  bint inwards) noexcept nogil:
    cdef int i
    for i in range(n_parts):
        copied(&parts[i].loops, block + parts[i].near + index * parts[i].between, row + parts[i].far, 1, inwards)


cdef void shift_all(const Lane *lane, char *block, char **rows, bint inwards) noexcept nogil:
    """The states of a batch."""
    cdef const Part *part
    cdef char *near
    cdef int64_t i
    cdef int p
    for p in range(lane.n_parts):
        part = &lane.parts[p]
        near = block + part.near
        if part.loops.n_loops:
            for i in range(lane.n):
                copied(&part.loops, near + i * part.between, rows[i] + part.far, 1, inwards)
        elif inwards:
            for i in range(lane.n):
                li_copy(near + i * part.between, rows[i] + part.far, part.loops.run)
        else:
            for i in range(lane.n):
                li_copy(rows[i] + part.far, near + i * part.between, part.loops.run)


@cython.auto_pickle(False)
@cython.final
cdef class Layout:
    def __cinit__(self, parts, *, int64_t n, int64_t state_bytes, int64_t row_bytes):
        cdef int i
        parts = list(parts)
        bounds.parts(parts, n, state_bytes, row_bytes)
        self.n, self.state_bytes, self.row_bytes, self.n_parts = n, state_bytes, row_bytes, len(parts)
        self.parts = <Part *>malloc(max(1, len(parts)) * sizeof(Part))
        if self.parts == NULL:
            raise MemoryError
        for i, (near, between, far, loops, run) in enumerate(parts):
            self.parts[i].near, self.parts[i].between, self.parts[i].far = near, between, far
            fill(&self.parts[i].loops, loops, run)

    def __dealloc__(self):
        free(self.parts)

    cdef char *block(self, state) except NULL:
        if not cnp.PyArray_Check(state) or not cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>state):
            raise ValueError("state: a C-contiguous array expected")
        if state.nbytes < self.state_bytes:
            raise ValueError(f"state: at least {self.state_bytes} bytes expected, got {state.nbytes}")
        return cnp.PyArray_BYTES(<cnp.ndarray>state)


# ---- what a call is --------------------------------------------------------------------------------------------

@cython.auto_pickle(False)
@cython.final
cdef class Rig:
    def __cinit__(self, *, inputs, outputs, lanes, bint leading, int64_t most, int64_t release_from, nodes,
                  bint can_fail):
        cdef int i
        inputs, outputs, lanes = list(inputs), list(outputs), list(lanes)
        sizes = [layout.n for layout, *_ in lanes]
        bounds.rig(inputs, outputs, lanes, sizes, (MAX_PORTS, MAX_LANES, MAX_LENGTHS, MAX_RANK))
        self.n_in, self.n_ports, self.n_lanes = len(inputs), len(inputs) + len(outputs), 0
        self.leads = [port[4] for port in inputs].index(True)
        self.counts, self.leading = not all([port[4] for port in outputs]), leading
        self.release_from, self.can_fail, self.nodes = release_from, can_fail, tuple(nodes)
        self.most, self.kept = most, [lanes]
        for i, (name, dtype, shape, time, every) in enumerate([*inputs, *outputs]):
            dtype = np.dtype(dtype)
            self.kept.append((name, dtype))
            self.port[i].name, self.port[i].dtype = <PyObject *>name, <PyObject *>dtype
            self.port[i].type, self.port[i].every = dtype.num, every
            self.port[i].rank, self.port[i].time = len(shape), time
            self.port[i].each = shape[time] if time >= 0 else 1
            self.port[i].step_bytes = dtype.itemsize
            for axis, extent in enumerate(shape):
                self.port[i].dims[<int>axis] = extent
                self.port[i].step_bytes *= extent
        for layout, consts, first, arena_bytes, blocks in lanes:
            self.add(layout, consts, first, arena_bytes, list(blocks))

    cdef int add(self, Layout layout, consts, first, int64_t arena_bytes, list blocks) except -1:
        """One more lane."""
        cdef Lane *lane = &self.lanes[self.n_lanes]
        cdef Plan plan
        cdef Block *block
        cdef int64_t at
        cdef int k, i
        lane.n, lane.state_bytes = layout.n, layout.state_bytes
        lane.parts, lane.n_parts, lane.consts = layout.parts, layout.n_parts, address(consts)
        lane.first = NULL if first is None else layout.block(first)
        lane.arena = lines(layout.state_bytes)
        lane.n_blocks = len(blocks)
        lane.blocks = <Block *>calloc(len(blocks), sizeof(Block))
        if lane.blocks == NULL:
            raise MemoryError
        self.n_lanes += 1
        for k, (n, plan, work, ports) in enumerate(blocks):
            block = &lane.blocks[k]
            block.n, block.steps, block.n_steps, block.work = n, plan.steps, plan.n_steps, work
            at = lane.arena + lines(arena_bytes)
            for i, (between, loops, run, at_bytes, near_bytes) in enumerate(ports):
                block.port[i].between, block.port[i].at_bytes, block.port[i].piece = between, at_bytes, at
                block.port[i].timed = self.port[i].every
                fill(&block.port[i].loops, loops, run)
                at += lines(near_bytes)
            self.scratch_bytes = max(self.scratch_bytes, at)
        return 0

    def __dealloc__(self):
        for i in range(self.n_lanes):
            free(self.lanes[i].blocks)
        for i in range(self.n_ports):
            Py_XDECREF(self.port[i].spare.result[0])
            Py_XDECREF(self.port[i].spare.result[1])

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

    cdef int extents(self, int i, npy_intp n, int form, npy_intp n_frames, npy_intp *dims) noexcept:
        """The shape of a port of a call; form: 0 a step, 1 its time axis dropped, 2 a chunk. Returns the rank."""
        cdef const Port *port = &self.port[i]
        cdef int axis, rank = 1
        dims[0] = n
        if form == 2 and self.leading and port.every:
            dims[1], rank = n_frames, 2
        for axis in range(port.rank):
            if axis == port.time:
                if form == 1 and port.each == 1:
                    continue
                dims[rank] = n_frames * port.each
            else:
                dims[rank] = port.dims[axis]
            rank += 1
        return rank

    cdef bint fits(self, const PyObject *a, int i, npy_intp n, int form, npy_intp n_frames) noexcept:
        cdef npy_intp dims[MAX_RANK + 2]
        cdef int axis, rank = self.extents(i, n, form, n_frames, dims)
        if LI_TYPE(a) != self.port[i].type or LI_NDIM(a) != rank or not LI_PLAIN(a):
            return False
        for axis in range(rank):
            if LI_DIMS(a)[axis] != dims[axis]:
                return False
        return True

    cdef object open(self, object x, object out, npy_intp n, bint chunk, Held *held, Order *order):
        """Look at the arrays of a call and hold them; what it will return, or None: not for this road."""
        cdef PyObject *lead
        cdef const Port *port
        cdef int i, other, axis, form = 0
        cdef bint alone = cnp.PyArray_CheckExact(x) and self.n_in == 1
        if alone:
            hold(held, <PyObject *>x)
        elif not PyDict_CheckExact(x) or not self.gather(x, 0, self.n_in, held):
            return None
        if cnp.PyArray_CheckExact(out) and self.n_ports - self.n_in == 1:
            hold(held, <PyObject *>out)
        elif out is not None and (not PyDict_CheckExact(out) or not self.gather(out, self.n_in, self.n_ports, held)):
            return None
        lead, port, alone = held.array[self.leads], &self.port[self.leads], alone and self.n_ports - self.n_in == 1
        held.n_frames = 1
        if chunk:
            form, axis = 2, 1 if self.leading else 1 + port.time
            if LI_NDIM(lead) <= axis:
                return None
            held.n_frames = LI_DIMS(lead)[axis]
            if held.n_frames == 0 and self.counts:
                return None
        elif port.time >= 0 and LI_NDIM(lead) == port.rank:
            form = 1
        if out is None and not chunk:  # before the look: what is dropped may run somebody's code
            made = self.make(alone, n, form, 1, order)
        for i in range(held.n):
            if not self.fits(held.array[i], i, n, form, held.n_frames):
                return None
            order.data[i] = LI_DATA(held.array[i])
        order.n_frames = held.n_frames
        for i in range(self.n_ports):
            order.signal_bytes[i] = self.port[i].step_bytes * (held.n_frames if self.port[i].every else 1)
        if out is None:
            return self.make(alone, n, form, held.n_frames, order) if chunk else made
        for i in range(self.n_in, self.n_ports):
            if not LI_WRITEABLE(held.array[i]):
                return None
            for other in range(i):
                if not apart(held.array[i], held.array[other]):
                    return None
        return out

    cdef object make(self, bint alone, npy_intp n, int form, npy_intp n_frames, Order *order):
        """What a call returns: an array or a dict of them, new; small ones of a step may be as good as new."""
        cdef npy_intp dims[MAX_RANK + 2]
        cdef dict results = None if alone else {}
        cdef Port *port
        cdef int i, rank
        for i in range(self.n_in, self.n_ports):
            port, rank = &self.port[i], self.extents(i, n, form, n_frames, dims)
            if form < 2 and n * port.step_bytes <= SPARE_BYTES:
                out = li_spare_array(&port.spare, port.dtype, rank, dims)
            else:
                out = li_new_array(port.dtype, rank, dims)
            order.data[i] = LI_DATA(<PyObject *>out)  # held by what is returned
            if not alone:
                PyDict_SetItem(results, <object>port.name, out)
        return out if alone else results

    cdef int64_t work(self, int64_t n, int64_t n_frames) noexcept:
        """The work of a call, near enough: a step of each signal in the largest batches."""
        cdef int i = 0
        while i < self.n_lanes - 1 and self.lanes[i].n > n:
            i += 1
        cdef const Lane *lane = &self.lanes[i]
        return (n + lane.n - 1) // lane.n * n_frames * lane.blocks[lane.n_blocks - 1].work

    cdef int64_t advance(self, const Order *order, Cursor *cursor, char *scratch, int64_t budget) noexcept nogil:
        """Go on with a call until so much work is done; what run_steps returned."""
        cdef int64_t i, code
        cdef const Lane *lane
        while cursor.row < cursor.stop and budget > 0:
            if cursor.at == 0:
                while self.lanes[cursor.lane].n > cursor.stop - cursor.row:
                    cursor.lane += 1
                lane, cursor.block = &self.lanes[cursor.lane], 0
                if lane.first != NULL:
                    memcpy(scratch, lane.first, lane.state_bytes)
                shift_all(lane, scratch, order.rows + cursor.row, True)
                for i in range(cursor.row + lane.n, min(cursor.row + 2 * lane.n, cursor.stop)):  # meanwhile
                    li_fetch(order.rows[i], order.row_bytes)
            lane = &self.lanes[cursor.lane]
            if cursor.at < order.n_frames:
                while lane.blocks[cursor.block].n > order.n_frames - cursor.at:
                    cursor.block += 1
                code = self.block_of(order, cursor, scratch)
                if code:
                    return code
                budget -= lane.blocks[cursor.block].work
                cursor.at += lane.blocks[cursor.block].n
            if cursor.at >= order.n_frames:
                shift_all(lane, scratch, order.after + cursor.row, False)
                cursor.row += lane.n
                cursor.at = 0
        return 0

    cdef int64_t block_of(self, const Order *order, Cursor *cursor, char *scratch) noexcept nogil:
        """One block of one batch."""
        cdef char *base[FIRST + MAX_PORTS]
        cdef const Lane *lane = &self.lanes[cursor.lane]
        cdef const Block *block = &lane.blocks[cursor.block]
        cdef const Move *move
        cdef char *far
        cdef int64_t i, code
        cdef int p
        cdef bint whole
        base[0], base[1], base[2] = lane.consts, scratch, scratch + lane.arena
        for p in range(self.n_ports):
            move = &block.port[p]
            far = order.data[p] + cursor.row * order.signal_bytes[p] + cursor.at * move.at_bytes
            whole = block.n == order.n_frames or not move.timed
            if (lane.n == 1 and (whole or move.loops.n_loops == 0)) or (
                whole and move.loops.n_loops == 0 and move.between == move.loops.run
            ):
                base[FIRST + p] = far
                continue
            base[FIRST + p] = scratch + move.piece
            if p < self.n_in:
                for i in range(lane.n):
                    copied(&move.loops, scratch + move.piece + i * move.between, far + i * order.signal_bytes[p],
                           order.n_frames, True)
        code = run_steps(block.steps, block.n_steps, base)
        if code:
            return code
        for p in range(self.n_in, self.n_ports):
            move = &block.port[p]
            if base[FIRST + p] != scratch + move.piece:
                continue
            far = order.data[p] + cursor.row * order.signal_bytes[p] + cursor.at * move.at_bytes
            for i in range(lane.n):
                copied(&move.loops, scratch + move.piece + i * move.between, far + i * order.signal_bytes[p],
                       order.n_frames, False)
        return 0
