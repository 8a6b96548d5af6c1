"""Signals that lie row by row in slabs: who they are, and calls over any of them, in any order, in one crossing."""

cimport cython
from cpython.object cimport PyObject
from cpython.pythread cimport (
    NOWAIT_LOCK, WAIT_LOCK, PyThread_acquire_lock, PyThread_allocate_lock, PyThread_free_lock,
    PyThread_get_thread_ident, PyThread_release_lock, PyThread_type_lock,
)
from cpython.ref cimport Py_DECREF
from libc.stdint cimport INT64_MAX, int64_t, uint32_t, uintptr_t
from libc.stdlib cimport free, malloc, realloc
from libc.string cimport memcpy, memset

cimport numpy as cnp

from lstm_infer._arrays cimport *
from lstm_infer._core cimport address, step_error
from lstm_infer._rig cimport Cursor, Layout, Order, Rig, li_fetch, shifted
from lstm_infer._stream cimport LINE, Held, Scratch, give_scratch, lines, take_scratch

import numpy as np

from lstm_infer._core import aligned_empty
from lstm_infer.errors import BudgetError, StateError

cnp.import_array()

cdef int64_t LOOK_EVERY = 50_000_000  # work after which signals are looked for: some milliseconds
cdef int64_t SPREAD_FROM = 6_000_000  # work from which on threads share a call: some 300 us
cdef int64_t SLAB_BYTES = 1 << 18
cdef int64_t AHEAD = 8  # rows and slots whose memory is asked for before they are read


@cython.auto_pickle(False)
@cython.final
cdef class Share:
    """A call in parts, for a thread each: rows of their own, memory to work in of their own."""

    def __dealloc__(self):
        free(self.memory)

    def run(self, int part):
        """Do one part; the first one looks for signals."""
        cdef int64_t code = 0
        if part < 0 or part >= self.n_parts:
            raise ValueError(f"part: 0 to {self.n_parts - 1} expected, got {part}")
        cdef Cursor *cursor = &self.cursor[part]
        while cursor.row < cursor.stop and not code and not self.stopped:
            with nogil:
                code = self.rig.advance(&self.order, cursor, self.scratch + part * lines(self.rig.scratch_bytes),
                                        LOOK_EVERY)
            if part == 0 and look_for_signals():
                raised()
        self.code[part] = code

    def stop(self):
        """No part goes on for long."""
        self.stopped = True


@cython.auto_pickle(False)
cdef class PoolCore:
    def __cinit__(self, *args, **kwargs):
        self.lock = PyThread_allocate_lock()
        self.slabs, self.free, self.threads = [], [], 1
        if self.lock == NULL:
            raise MemoryError

    def __dealloc__(self):
        if self.lock != NULL:
            PyThread_free_lock(<PyThread_type_lock>self.lock)
        free(self.slab)
        free(self.slot)

    def _begin(self, int64_t row_bytes):
        """Say how large a row is: before anything else."""
        self.row_bytes = lines(max(row_bytes, 1))
        self.shift = 0
        while self.shift < 12 and self.row_bytes << (self.shift + 1) <= SLAB_BYTES:
            self.shift += 1

    def _equip(self, Rig rig):
        """Say what a call is; None: everything goes the general way."""
        self.rig = rig

    # ---- one call at a time ----

    cdef int enter(self) except -1:
        cdef unsigned long me = PyThread_get_thread_ident()
        if not PyThread_acquire_lock(<PyThread_type_lock>self.lock, NOWAIT_LOCK):
            if self.owner == me:
                raise StateError("the pool is in a call of this thread: a call inside a call cannot use it")
            with nogil:
                PyThread_acquire_lock(<PyThread_type_lock>self.lock, WAIT_LOCK)
        self.owner = me
        return 0

    cdef void leave(self) noexcept:
        self.owner = 0
        PyThread_release_lock(<PyThread_type_lock>self.lock)

    def _alone(self, body):
        """Call body() while no other call is in the pool."""
        self.enter()
        try:
            return body()
        finally:
            self.leave()

    def _forked(self):
        """In the child of a fork: True where nobody was in the pool; else what lies in it may be halfway."""
        quiet = self.owner == 0
        self.lock, self.owner = PyThread_allocate_lock(), 0  # that of the parent may be held for ever
        return quiet

    # ---- slots ----

    cdef char *row(self, int64_t slot) noexcept nogil:
        return self.slab[slot >> self.shift] + (slot & ((<int64_t>1 << self.shift) - 1)) * self.row_bytes

    cdef void ask(self, int64_t id) noexcept:
        """Have the memory fetched that `find` reads."""
        if <int64_t><uint32_t>id < self.n_slots:
            li_fetch(&self.slot[<uint32_t>id], sizeof(Slot))

    cdef int64_t find(self, int64_t id, bint once) noexcept:
        """The slot of an id; -1: there is none, -2: this call named it before."""
        cdef int64_t slot = <uint32_t>id
        cdef int64_t generation = id >> 32
        if slot >= self.n_slots or not generation & 1 or self.slot[slot].generation != <uint32_t>generation or id < 0:
            return -1
        if once:
            if self.slot[slot].stamp == self.now:
                return -2
            self.slot[slot].stamp = self.now
        return slot

    cdef int grow(self) except -1:
        """One more slab; of many, several at once: large pages then hold them, where the system has such."""
        cdef int64_t room, i, each = <int64_t>1 << self.shift, n = each
        cdef void *found
        if self.n_slots * self.row_bytes >= 128 * SLAB_BYTES:
            n = max(each, 32 * SLAB_BYTES // self.row_bytes // each * each)
        slab = aligned_empty(n * self.row_bytes)
        if self.n_slots + n > self.room:
            room = max(2 * self.room, self.n_slots + n)
            found = realloc(self.slot, room * sizeof(Slot))
            if found == NULL:
                raise MemoryError
            self.slot = <Slot *>found
            found = realloc(self.slab, (room >> self.shift) * sizeof(char *))
            if found == NULL:
                raise MemoryError
            self.slab, self.room = <char **>found, room
        memset(self.slot + self.n_slots, 0, n * sizeof(Slot))
        for i in range(n >> self.shift):
            self.slab[(self.n_slots >> self.shift) + i] = address(slab) + i * each * self.row_bytes
        self.slabs.append(slab)
        self.free.extend(range(self.n_slots + n - 1, self.n_slots - 1, -1))
        self.n_slots += n
        return 0

    def _add(self, Layout layout not None, state):
        """A new signal with the state that stands first in a state block; its id."""
        return int(self._add_many(layout, state, 1)[0])

    def _add_many(self, Layout layout not None, state, int64_t n):
        """As many with this state as asked for, or none; their ids."""
        cdef char *block = layout.block(state)
        cdef char *first
        cdef int64_t[::1] ids
        cdef int64_t i, slot
        if n < 0 or layout.row_bytes > self.row_bytes:
            raise ValueError(f"{n} rows of {self.row_bytes} bytes cannot hold {layout.row_bytes} each")
        found = np.empty(n, np.int64)
        while len(self.free) < n:
            self.grow()
        if not n:
            return found
        ids, slots = found, self.free[-n:]
        del self.free[-n:]
        slots.reverse()
        first = self.row(<int64_t>slots[0])
        shifted(layout.parts, layout.n_parts, 0, block, first, False)
        for i in range(n):
            slot = slots[i]
            if i:
                memcpy(self.row(slot), first, self.row_bytes)
            self.slot[slot].generation += 1
            ids[i] = <int64_t>self.slot[slot].generation << 32 | slot
        self.n_open += n
        return found

    def _remove(self, int64_t slot):
        """The slot is free; one that has had as many signals as an id can tell apart is not used again."""
        self.slot[slot].generation += 1
        self.n_open -= 1
        if self.slot[slot].generation < 0x7ffffffe:
            self.free.append(slot)

    def _slot(self, int64_t id):
        return self.find(id, False)

    def _slots(self, ids):
        """The slots of ids, each once: (slots, None), or (where, what is wrong): -1 there is none, -2 named twice."""
        cdef const int64_t[::1] given = ids
        cdef int64_t[::1] slots
        cdef Py_ssize_t i
        found = np.empty(given.shape[0], np.int64)
        slots = found
        self.count()
        for i in range(given.shape[0]):
            if i + AHEAD < given.shape[0]:
                self.ask(given[i + AHEAD])
            slots[i] = self.find(given[i], True)
            if slots[i] < 0:
                return i, slots[i]
        return found, None

    cdef int count(self) except -1:
        """A new call, for who is named twice in it."""
        cdef int64_t slot
        self.now += 1
        if self.now == 0:
            for slot in range(self.n_slots):
                self.slot[slot].stamp = 0
            self.now = 1
        return 0

    def _ids(self):
        """Those that are open, by their slots."""
        cdef int64_t[::1] ids
        cdef int64_t slot, k = 0
        found = np.empty(self.n_open, np.int64)
        ids = found
        for slot in range(self.n_slots):
            if self.slot[slot].generation & 1 and k < self.n_open:
                ids[k] = <int64_t>self.slot[slot].generation << 32 | slot
                k += 1
        return found

    def _load(self, Layout layout not None, const int64_t[::1] slots, state):
        """The states of as many signals as the layout has, or fewer, into a state block."""
        cdef char *block = layout.block(state)
        cdef Py_ssize_t i
        for i in range(min(slots.shape[0], layout.n)):
            shifted(layout.parts, layout.n_parts, i, block, self.row(slots[i]), True)

    def _store(self, Layout layout not None, const int64_t[::1] slots, state):
        """And back."""
        cdef char *block = layout.block(state)
        cdef Py_ssize_t i
        for i in range(min(slots.shape[0], layout.n)):
            shifted(layout.parts, layout.n_parts, i, block, self.row(slots[i]), False)

    def _rows(self, const int64_t[::1] slots, out=None):
        """Copies of rows, in the memory of `out` where that is given."""
        cdef Py_ssize_t i
        found = np.empty((slots.shape[0], self.row_bytes), np.uint8) if out is None else out
        cdef char *at = address(found)
        if found.nbytes < slots.shape[0] * self.row_bytes:
            raise ValueError("out: a row for each slot expected")
        for i in range(slots.shape[0]):
            if i + AHEAD < slots.shape[0]:
                li_fetch(self.row(slots[i + AHEAD]), self.row_bytes)
            memcpy(at + i * self.row_bytes, self.row(slots[i]), self.row_bytes)
        return found

    def _put_rows(self, const int64_t[::1] slots, rows):
        """And back."""
        cdef Py_ssize_t i
        cdef char *at = address(rows)
        if rows.nbytes < slots.shape[0] * self.row_bytes:
            raise ValueError("rows: one for each slot expected")
        for i in range(slots.shape[0]):
            if i + AHEAD < slots.shape[0]:
                li_fetch(self.row(slots[i + AHEAD]), self.row_bytes)
            memcpy(self.row(slots[i]), at + i * self.row_bytes, self.row_bytes)

    @property
    def _row_bytes(self):
        return self.row_bytes

    @property
    def _table_bytes(self):
        """What slabs, and what is known of their slots, take."""
        return self.n_slots * self.row_bytes + self.room * sizeof(Slot) + 8 * len(self.free)

    # ---- calls ----

    def _fast(self, Rig rig, ids, x, out, bint chunk):
        """A call inside `_alone`."""
        return self.go(rig, ids, x, out, chunk)

    def step(self, ids, frames=None, out=None):
        """Feed one time step to each of some signals.

        Parameters
        ----------
        ids : int64 [N], or any sequence of ids; or dict of id to frame
            Each once, in any order. The dict form takes what `Stream.step` takes for each signal, and no `frames`.
        frames : array ``[N, *frame]``, or dict of input name to such
            The frames of `Model.stream(batch=1)`, side by side along a new first axis: their time axis kept at 1 or
            dropped. Of the kinds that `Stream.step` takes.
        out : array, or dict of output name to array, optional
            As in `Stream.step`, ``[N, *out]``. Nothing is allocated then.

        Returns
        -------
        array ``[N, *out]``, or dict of output name to such
            Where `ids` is a dict: a dict of id to what `Stream.step` returns. An output that does not exist yet is NaN
            in an array, and None in a dict of ids.

        Raises
        ------
        StateError
            An id is not open, or its signal was flushed.
        FeedError
            An id is named twice; an input is unknown or missing, or `out` cannot be used.
        DtypeError, ShapeError, ArgumentError
            As in `Stream.step`. Where one signal is the reason, it is named.

        Notes
        -----
        A call that raises leaves every signal as it was before. Other threads wait for the call to end. A small array
        that nothing refers to any more may come back.
        """
        cdef object result = None
        if frames is not None and self.rig is not None:
            self.enter()
            try:
                result = self.go(self.rig, ids, frames, out, False)
            finally:
                self.leave()
        return self._slow(ids, frames, out, False) if result is None else result

    def run(self, ids, chunks=None, out=None):
        """Feed a chunk of T time steps to each of some signals: the same bits as T calls of `step`.

        Parameters
        ----------
        ids, out
            As in `step`; chunks of the dict form may differ in length.
        chunks : array ``[N, *chunk]``, or dict of input name to such
            The chunks of `Model.stream(batch=1)`, all of one length, side by side along a new first axis.

        Returns
        -------
        array ``[N, *out]``, or dict of output name to such
            As in `step`. Where the model looks ahead or strides over time: the steps that are complete; the array form
            then wants signals of equal phase.

        Raises
        ------
        StateError, FeedError, DtypeError, ShapeError, ArgumentError
            As in `step`.

        Notes
        -----
        A call that raises leaves every signal as it was before.
        """
        cdef object result = None
        if chunks is not None and self.rig is not None:
            self.enter()
            try:
                result = self.go(self.rig, ids, chunks, out, True)
            finally:
                self.leave()
        return self._slow(ids, chunks, out, True) if result is None else result

    def _use_threads(self, int threads):
        """So many threads do a call that is large enough, that of the caller among them."""
        if threads < 1 or threads > MAX_THREADS:
            raise ValueError(f"threads: 1 to {MAX_THREADS} expected, got {threads}")
        self.threads = threads

    cdef int64_t spread(self, Rig rig, object ids, Order *order, const Held *held, int64_t n, object result) except -1:
        """A call in parts. What a step that failed returned; -2: an id is not open or named twice, nothing was done."""
        cdef Share share = Share.__new__(Share)
        cdef int64_t slot, each, i, table = lines(2 * n * sizeof(char *))
        cdef const int64_t *id = <const int64_t *>LI_DATA(<PyObject *>ids)
        cdef char *after
        cdef int k, n_parts = <int>min(<int64_t>self.threads, n)
        share.memory = <char *>malloc(LINE + table + n * self.row_bytes + n_parts * lines(rig.scratch_bytes))
        if share.memory == NULL:
            raise MemoryError(f"{n * self.row_bytes + n_parts * rig.scratch_bytes} bytes to work in")
        share.rig, share.order = rig, order[0]
        share.order.rows = <char **>(share.memory + LINE - <uintptr_t>share.memory % LINE)
        share.order.after, share.order.row_bytes = share.order.rows + n, self.row_bytes
        after = <char *>share.order.rows + table
        share.scratch = after + n * self.row_bytes
        self.count()
        for i in range(n):
            if i + AHEAD < n:
                self.ask(id[i + AHEAD])
            slot = self.find(id[i], True)
            if slot < 0:
                return -2
            share.order.rows[i], share.order.after[i] = self.row(slot), after + i * self.row_bytes
        each = (n + n_parts - 1) // n_parts
        if each > 16:  # batches of even sizes
            each = (each + 15) // 16 * 16
        share.n_parts = <int>((n + each - 1) // each)
        for k in range(share.n_parts):
            share.cursor[k] = Cursor(k * each, min(n, (k + 1) * each), 0, 0, 0)
        share.kept = (self, result, *[<object>held.array[i] for i in range(held.n)])
        self._spread(share)
        for k in range(share.n_parts):
            if share.code[k]:
                return share.code[k]
        for i in range(n):
            memcpy(share.order.rows[i], share.order.after[i], self.row_bytes)
        return 0

    cdef object go(self, Rig rig, object ids, object x, object out, bint chunk):
        """A call on the fast road, with nobody else in the pool; None: it is not for it, and nothing was done."""
        cdef Held held
        cdef Order order
        cdef Cursor cursor
        cdef Scratch *scratch
        cdef int64_t n, i, slot, work, budget, table, code = 0
        cdef const int64_t *id
        cdef bint release, staged, stopped = False
        if rig is None or not cnp.PyArray_CheckExact(ids):  # None: closed while this call waited for the pool
            return None
        cdef PyObject *named = <PyObject *>ids
        if LI_TYPE(named) != cnp.NPY_INT64 or LI_NDIM(named) != 1 or not LI_PLAIN(named):
            return None
        n, id = LI_DIMS(named)[0], <const int64_t *>LI_DATA(named)
        if n > rig.most:  # larger batches are worth their plans
            return None
        held.n = 0
        try:
            result = rig.open(x, out, n, chunk, &held, &order)
            if result is None:
                return None
            work = rig.work(n, order.n_frames)
            if self.threads > 1 and n > 1 and work >= SPREAD_FROM:
                code = self.spread(rig, ids, &order, &held, n, result)
                if code == -2:
                    return None
                return self._failed(step_error(code), ids, x, chunk) if code else result
            release, staged = work >= rig.release_from, rig.can_fail or work > LOOK_EVERY
            table = lines(2 * n * sizeof(char *)) + (n * self.row_bytes if staged else 0)
            scratch = take_scratch(rig.scratch_bytes + table)
            if scratch == NULL:
                raise MemoryError(f"{rig.scratch_bytes + table} bytes to work in")
            order.rows = <char **>(scratch.memory + rig.scratch_bytes)
            order.after, order.row_bytes = order.rows + n, self.row_bytes
            self.count()
            for i in range(n):
                if i + AHEAD < n:
                    self.ask(id[i + AHEAD])
                slot = self.find(id[i], True)
                if slot < 0:
                    give_scratch(scratch)
                    return None
                order.rows[i] = self.row(slot)
                if i < rig.lanes[0].n:  # the first batch; who comes behind is fetched while it is stepped
                    li_fetch(order.rows[i], self.row_bytes)
                order.after[i] = order.rows[i]
                if staged:
                    order.after[i] = scratch.memory + rig.scratch_bytes + table - (n - i) * self.row_bytes
            cursor.row, cursor.stop, cursor.at, cursor.lane, cursor.block = 0, n, 0, 0, 0
            budget = LOOK_EVERY if staged else INT64_MAX  # what cannot be taken back is not interrupted
            while cursor.row < n and not code and not stopped:
                if release:
                    with nogil:
                        code = rig.advance(&order, &cursor, scratch.memory, budget)
                    stopped = staged and look_for_signals() != 0
                else:
                    code = rig.advance(&order, &cursor, scratch.memory, budget)
            if staged and not code and not stopped:
                for i in range(n):
                    memcpy(order.rows[i], order.after[i], self.row_bytes)
            give_scratch(scratch)
            if stopped:
                raised()
        except MemoryError as error:
            raise BudgetError(f"the call takes more memory than there is ({error}); feed less at once") from error
        finally:
            for i in range(held.n):
                Py_DECREF(<object>held.array[i])
        if code:
            return self._failed(step_error(code), ids, x, chunk)
        return result

    def _spread(self, share):
        raise NotImplementedError("_spread")

    def _slow(self, ids, frames, out, chunk):
        raise NotImplementedError("_slow")

    def _failed(self, error, ids, frames, chunk):
        raise error
