"""Keys of rows, numbered in the order in which they are first seen; and the rows of a table, key by key.

Open addressing over hashes that begin at a number of the table's own. What was added last can be forgotten again, since
a table is made anew in the order of the numbers: then the last ones stand in nobody's way.
"""

cimport cython
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, realloc
from libc.string cimport memcmp, memcpy, memset

cimport numpy as cnp

import os

import numpy as np

cnp.import_array()

cdef enum:
    AT_ONCE = 64  # keys whose memory is asked for before any of them is looked at

cdef int64_t MOST_KEYS = 4_000_000_000  # their numbers take 32 bits

cdef extern from *:
    """
    #define LI_KEY_MULTIPLIER 0x9E3779B97F4A7C15ULL /* odd: no two words give the same product */
    #if defined(__GNUC__)
    #define LI_AHEAD(address) __builtin_prefetch((address))
    #else
    #define LI_AHEAD(address) ((void)(address))
    #endif

    /* Memory that is read here and there: large pages, where the system has them, spare looking up where each lies. */
    #if defined(__linux__)
    #include <sys/mman.h>
    static void *li_scattered(void *at, size_t n)
    {
        const uintptr_t page = 4096, first = ((uintptr_t)at + page - 1) / page * page;
        if (at != NULL && n >= (size_t)1 << 22)
            madvise((void *)first, ((uintptr_t)at + n - first) / page * page, MADV_HUGEPAGE);
        return at;
    }
    #else
    #define li_scattered(at, n) (at)
    #endif
    """
    void *li_scattered(void *, size_t) noexcept nogil
    const uint64_t MULTIPLIER "LI_KEY_MULTIPLIER"
    void LI_AHEAD(const void *) noexcept nogil


cdef inline uint64_t mixed(uint64_t lane, uint64_t word) noexcept nogil:
    lane = (lane ^ word) * MULTIPLIER
    return lane << 32 | lane >> 32


cdef inline uint64_t hashed(uint64_t seed, const char *key, int64_t n) noexcept nogil:
    cdef uint64_t word, lane = seed ^ <uint64_t>n
    while n >= 8:
        memcpy(&word, key, 8)
        lane = mixed(lane, word)
        key += 8
        n -= 8
    word = 0
    if n:
        memcpy(&word, key, n)
    return mixed(mixed(lane, word), seed)


cdef struct Place:
    uint32_t tag  # the upper half of the hash
    uint32_t key  # its number and 1; 0: nobody stands here


cdef int bounded(const int64_t[::1] starts, int64_t n_data) except -1:
    cdef int64_t i
    for i in range(starts.shape[0] - 1):
        if starts[i] < 0 or starts[i] > starts[i + 1] or starts[i + 1] > n_data:
            raise ValueError(f"starts: places in {n_data} bytes, in order, expected")
    return 0


def hashes(const unsigned char[::1] data, const int64_t[::1] starts, int64_t width):
    """A number for each key that is the same in every process and release: to deal keys out."""
    cdef int64_t i, n, n_data = data.shape[0]
    cdef const char *base = <const char *>&data[0] if n_data else NULL
    cdef uint64_t[::1] made
    if width < 0 or (width == 0 and (starts is None or starts.shape[0] == 0)) or (width and n_data % width):
        raise ValueError("data: keys of one width, or starts, expected")
    n = n_data // width if width else starts.shape[0] - 1
    if not width:
        bounded(starts, n_data)
    found = np.empty(n, np.uint64)
    made = found
    for i in range(n):
        if width:
            made[i] = hashed(0, base + i * width, width)
        else:
            made[i] = hashed(0, base + starts[i], starts[i + 1] - starts[i])
    return found


@cython.auto_pickle(False)
@cython.final
cdef class KeyTable:
    cdef int64_t width
    cdef uint64_t seed
    cdef int64_t n
    cdef int64_t room
    cdef uint64_t mask
    cdef Place *place
    cdef uint64_t *hash
    cdef int64_t *stop  # of keys of any length: where their bytes end
    cdef char *bytes
    cdef int64_t bytes_room
    cdef uint32_t *mark  # of each key: its place among those of one call, and 1

    def __cinit__(self, int64_t width):
        if width < 0:
            raise ValueError(f"width: bytes of a key, or 0 for any, expected, got {width}")
        self.width = width
        self.seed = int.from_bytes(os.urandom(8), "little")
        if not self.grown(AT_ONCE, AT_ONCE):  # there is memory of keys, be they all empty
            raise MemoryError

    def __dealloc__(self):
        free(self.place)
        free(self.hash)
        free(self.stop)
        free(self.bytes)
        free(self.mark)

    def __len__(self):
        return self.n

    @property
    def nbytes(self):
        """Bytes of memory."""
        each = sizeof(uint64_t) + sizeof(uint32_t) + (0 if self.width else sizeof(int64_t))
        return (self.mask + 1) * sizeof(Place) + self.room * each + self.bytes_room

    cdef int64_t n_bytes(self) noexcept nogil:
        return self.n * self.width if self.width else (self.stop[self.n - 1] if self.n else 0)

    cdef bint grown(self, int64_t more, int64_t more_bytes) noexcept nogil:
        """Room for so many more keys; False: there is no memory."""
        cdef int64_t room, key
        cdef void *found
        if self.n + more > self.room:
            room = max(2 * self.room, self.n + more)
            found = li_scattered(realloc(self.hash, room * sizeof(uint64_t)), room * sizeof(uint64_t))
            if found == NULL:
                return False
            self.hash = <uint64_t *>found
            found = li_scattered(realloc(self.mark, room * sizeof(uint32_t)), room * sizeof(uint32_t))
            if found == NULL:
                return False
            self.mark = <uint32_t *>found
            memset(self.mark + self.room, 0, (room - self.room) * sizeof(uint32_t))
            if not self.width:
                found = li_scattered(realloc(self.stop, room * sizeof(int64_t)), room * sizeof(int64_t))
                if found == NULL:
                    return False
                self.stop = <int64_t *>found
            self.room = room
        if self.n_bytes() + more_bytes > self.bytes_room:
            room = max(2 * self.bytes_room, self.n_bytes() + more_bytes)
            found = li_scattered(realloc(self.bytes, room), room)
            if found == NULL:
                return False
            self.bytes, self.bytes_room = <char *>found, room
        if self.place == NULL or 2 * <uint64_t>(self.n + more) > self.mask + 1:
            room = 2 * AT_ONCE
            while room < 2 * (self.n + more):
                room *= 2
            found = li_scattered(calloc(room, sizeof(Place)), room * sizeof(Place))
            if found == NULL:
                return False
            free(self.place)
            self.place, self.mask = <Place *>found, <uint64_t>room - 1
            for key in range(self.n):
                self.stand(key)
        return True

    cdef void stand(self, int64_t key) noexcept nogil:
        """Give a key its place."""
        cdef uint64_t at = self.hash[key] & self.mask
        while self.place[at].key:
            at = (at + 1) & self.mask
        self.place[at] = Place(<uint32_t>(self.hash[key] >> 32), <uint32_t>key + 1)

    cdef inline bint same(self, int64_t key, const char *other, int64_t n) noexcept nogil:
        cdef int64_t begin
        if self.width:
            return memcmp(self.bytes + key * self.width, other, n) == 0
        begin = self.stop[key - 1] if key else 0
        return self.stop[key] - begin == n and memcmp(self.bytes + begin, other, n) == 0

    cdef inline int64_t found(self, uint64_t hash, const char *key, int64_t n) noexcept nogil:
        """The number of a key, or -1."""
        cdef uint64_t at = hash & self.mask
        while self.place[at].key:
            if self.place[at].tag == <uint32_t>(hash >> 32) and self.same(self.place[at].key - 1, key, n):
                return self.place[at].key - 1
            at = (at + 1) & self.mask
        return -1

    def number(self, const unsigned char[::1] data, const int64_t[::1] starts, bint add):
        cdef int64_t n, i, k, m, key, need, n_data = data.shape[0]
        cdef const char *at[AT_ONCE]
        cdef int64_t length[AT_ONCE]
        cdef uint64_t hash[AT_ONCE]
        cdef const char *base = <const char *>&data[0] if n_data else <const char *>&self.seed
        cdef int64_t[::1] numbers
        cdef int failed = 0
        if self.width:
            n = n_data // self.width
            if n * self.width != n_data:
                raise ValueError(f"data: a multiple of {self.width} bytes expected, got {n_data}")
        else:
            if starts is None or starts.shape[0] == 0:
                raise ValueError("starts: where each key begins, and where the last one ends, expected")
            n = starts.shape[0] - 1
        made = np.empty(n, np.int64)
        numbers = made
        with nogil:
            i = 0
            while i < n:
                m, need = min(<int64_t>AT_ONCE, n - i), 0
                for k in range(m):
                    if self.width:
                        at[k], length[k] = base + (i + k) * self.width, self.width
                    elif 0 <= starts[i + k] and starts[i + k] <= starts[i + k + 1] and starts[i + k + 1] <= n_data:
                        at[k], length[k] = base + starts[i + k], starts[i + k + 1] - starts[i + k]
                    else:
                        failed = 1
                        break
                    need += length[k]
                if failed:
                    break
                if add and (self.n + m > MOST_KEYS or not self.grown(m, need)):
                    failed = 2
                    break
                for k in range(m):
                    hash[k] = hashed(self.seed, at[k], length[k])
                    LI_AHEAD(&self.place[hash[k] & self.mask])
                for k in range(m):
                    key = self.place[hash[k] & self.mask].key
                    if key and self.width:
                        LI_AHEAD(self.bytes + (key - 1) * self.width)
                    elif key:
                        LI_AHEAD(&self.stop[key - 1])
                if not self.width:
                    for k in range(m):
                        key = self.place[hash[k] & self.mask].key
                        if key > 1:
                            LI_AHEAD(self.bytes + self.stop[key - 2])
                for k in range(m):
                    key = self.found(hash[k], at[k], length[k])
                    if key < 0 and add:
                        key = self.n
                        memcpy(self.bytes + self.n_bytes(), at[k], length[k])
                        self.hash[key] = hash[k]
                        if not self.width:
                            self.stop[key] = (self.stop[key - 1] if key else 0) + length[k]
                        self.stand(key)
                        self.n += 1
                    numbers[i + k] = key
                i += AT_ONCE
        if failed == 1:
            raise ValueError(f"starts: places in {n_data} bytes, in order, expected")
        if failed:
            raise MemoryError(f"{self.n} keys")
        return made

    def forget(self, int64_t n):
        cdef uint64_t at
        if n < 0 or n > self.n:
            raise ValueError(f"n: 0 to {self.n} keys expected, got {n}")
        while self.n > n:
            self.n -= 1
            at = self.hash[self.n] & self.mask
            while self.place[at].key != <uint32_t>self.n + 1:
                at = (at + 1) & self.mask
            self.place[at].key = 0

    def values(self):
        cdef int64_t[::1] starts
        cdef unsigned char[::1] to
        cdef int64_t n_bytes = self.n_bytes()
        data = np.empty(n_bytes, np.uint8)
        if n_bytes:
            to = data
            memcpy(&to[0], self.bytes, n_bytes)
        if self.width:
            return data, None
        ends = np.zeros(self.n + 1, np.int64)
        if self.n:
            starts = ends
            memcpy(&starts[1], self.stop, self.n * sizeof(int64_t))
        return data, ends

    def grouped(self, const int64_t[::1] numbers, const int64_t[::1] order):
        cdef int64_t n = numbers.shape[0] if order is None else order.shape[0], n_rows = numbers.shape[0]
        cdef int64_t i, row, key, n_keys = 0, at = 0
        cdef int64_t[::1] keys, starts, rows, group
        cdef bint fits = True
        all_keys, group_of = np.empty(n, np.int64), np.empty(n, np.int64)
        begins, sorted_rows = np.zeros(n + 1, np.int64), np.empty(n, np.int64)
        keys, starts, rows, group = all_keys, begins, sorted_rows, group_of
        with nogil:
            for i in range(n):
                row = i if order is None else order[i]
                if row < 0 or row >= n_rows or numbers[row] >= self.n:
                    fits = False
                    break
                if order is None and i + AT_ONCE < n and 0 <= numbers[i + AT_ONCE] < self.n:
                    LI_AHEAD(&self.mark[numbers[i + AT_ONCE]])
                key = numbers[row]
                if key < 0:
                    group[i] = -1
                    continue
                if not self.mark[key]:
                    keys[n_keys] = key
                    n_keys += 1
                    self.mark[key] = <uint32_t>n_keys
                group[i] = self.mark[key] - 1
                starts[group[i] + 1] += 1
            for i in range(n_keys):
                self.mark[keys[i]] = 0
                starts[i + 1] += starts[i]
            if fits:
                at = starts[n_keys]
                for i in range(n - 1, -1, -1):  # from behind, so that ends go down to begins
                    if group[i] >= 0:
                        starts[group[i] + 1] -= 1
                        rows[starts[group[i] + 1]] = i if order is None else order[i]
        if not fits:
            raise ValueError(f"numbers: those of {self.n} keys expected")
        ends = np.empty(n_keys + 1, np.int64)
        ends[:n_keys], ends[n_keys] = begins[1 : n_keys + 1], at
        return all_keys[:n_keys].copy(), ends, sorted_rows[:at]
