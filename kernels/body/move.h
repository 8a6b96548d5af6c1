/* copy, gather and reverse: bits moved, never interpreted. */
#ifndef LI_BODY_MOVE_H
#define LI_BODY_MOVE_H

#define LI_MOVE_TILE 16

typedef struct li_copy_ {
    char *dst;
    const char *src;
    int64_t bytes, rank, size[LI_RANK], d[LI_RANK], s[LI_RANK]; /* strides in bytes */
} li_copy_;

/* Decodes, drops axes of extent 1 and joins axes that both sides step through evenly. 0: nothing to move. */
LI_INLINE int li_copy_decode_(li_copy_ *m, const int64_t *w, char *const *base)
{
    const li_ref dst = {w[2], w[3]}, src = {w[4], w[5]};
    const int64_t rank = w[1], *size = w + 6, *d = size + rank, *s = d + rank;
    int64_t n = 0;
    m->bytes = w[0];
    m->dst = (char *)li_at(dst, base);
    m->src = (const char *)li_at(src, base);
    for (int64_t i = 0; i < rank; i++) {
        const int64_t di = d[i] * w[0], si = s[i] * w[0];
        if (size[i] == 0) { return 0; }
        if (size[i] == 1) { continue; }
        if (n && m->d[n - 1] == di * size[i] && m->s[n - 1] == si * size[i]) {
            m->size[n - 1] *= size[i];
        } else {
            m->size[n++] = size[i];
        }
        m->d[n - 1] = di;
        m->s[n - 1] = si;
    }
    m->rank = n;
    return 1;
}

/* rows x cols elements: columns step by d0, s0, rows by d1, s1 (bytes). memcpy of a constant size is one move. */
#define LI_COPY_EACH(T)                                                                                                \
    for (int64_t r = 0; r < rows; r++) {                                                                               \
        const char *from = src + r * s1;                                                                               \
        char *to = dst + r * d1;                                                                                       \
        for (int64_t c = 0; c < cols; c++, from += s0, to += d0) {                                                     \
            T t;                                                                                                       \
            memcpy(&t, from, sizeof(T));                                                                               \
            memcpy(to, &t, sizeof(T));                                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    return

LI_INLINE void li_copy_grid_(int64_t bytes, char *dst, const char *src, int64_t rows, int64_t cols, int64_t d1,
                             int64_t d0, int64_t s1, int64_t s0)
{
    switch (bytes) {
    case 1: LI_COPY_EACH(uint8_t);
    case 2: LI_COPY_EACH(uint16_t);
    case 4: LI_COPY_EACH(uint32_t);
    default: LI_COPY_EACH(uint64_t);
    }
}
#undef LI_COPY_EACH

/* Both sides dense along columns. Rows of a few cache lines are moved here: a call costs more. */
LI_INLINE void li_copy_rows_(char *dst, const char *src, int64_t rows, int64_t row_bytes, int64_t d1, int64_t s1)
{
    for (int64_t r = 0; r < rows; r++, dst += d1, src += s1) {
        if (row_bytes % 4 || row_bytes > 256) {
            memmove(dst, src, (size_t)row_bytes); /* as fast, and defined where a plan of a file lets them overlap */
            continue;
        }
        int64_t i = 0;
        for (; i + 4 * LI_W <= row_bytes; i += 4 * LI_W) {
            v_store((float *)(void *)(dst + i), v_load((const float *)(const void *)(src + i)));
        }
        for (; i < row_bytes; i += 4) { memcpy(dst + i, src + i, 4); }
    }
}

/* One element all over rows that are dense. */
LI_INLINE void li_fill_rows_(int64_t bytes, char *dst, const char *src, int64_t rows, int64_t row_bytes, int64_t d1)
{
    float one[LI_W];
    for (int64_t i = 0; i < (int64_t)sizeof(one); i += bytes) { memcpy((char *)one + i, src, (size_t)bytes); }
    const vf all = v_load(one);
    for (int64_t r = 0; r < rows; r++, dst += d1) {
        int64_t i = 0;
        for (; i + 4 * LI_W <= row_bytes; i += 4 * LI_W) { v_store((float *)(void *)(dst + i), all); }
        for (; i < row_bytes; i += bytes) { memcpy(dst + i, src, (size_t)bytes); }
    }
}

/* One plane of two axes, whichever way they lie: dense rows, a transpose in tiles (reads and writes of a tile stay in
 * the first-level cache), or anything. */
LI_NOINLINE void li_copy_plane_(int64_t bytes, char *dst, const char *src, int64_t rows, int64_t cols, int64_t d1,
                                int64_t d0, int64_t s1, int64_t s0)
{
    if (d0 == bytes && s0 == bytes) {
        li_copy_rows_(dst, src, rows, cols * bytes, d1, s1);
    } else if (d0 == bytes && s0 == 0 && s1 == 0) {
        li_fill_rows_(bytes, dst, src, rows, cols * bytes, d1);
    } else if (s1 == bytes && rows > 4) {
        for (int64_t r = 0; r < rows; r += LI_MOVE_TILE) {
            const int64_t nr = rows - r < LI_MOVE_TILE ? rows - r : LI_MOVE_TILE;
            for (int64_t c = 0; c < cols; c += LI_MOVE_TILE) {
                const int64_t nc = cols - c < LI_MOVE_TILE ? cols - c : LI_MOVE_TILE;
                li_copy_grid_(bytes, dst + r * d1 + c * d0, src + r * s1 + c * s0, nr, nc, d1, d0, s1, s0);
            }
        }
    } else {
        li_copy_grid_(bytes, dst, src, rows, cols, d1, d0, s1, s0);
    }
}

li_status LI_NAME(copy)(const void *args, char *const *base)
{
    li_copy_ m;
    int64_t index[LI_RANK] = {0};
    if (!li_copy_decode_(&m, (const int64_t *)args, base)) { return LI_OK; }
    const int64_t d0 = m.rank - 1;
    if (m.rank == 0 || (m.rank == 1 && m.d[0] == m.bytes && m.s[0] == m.bytes)) {
        memmove(m.dst, m.src, (size_t)(m.bytes * (m.rank ? m.size[0] : 1)));
        return LI_OK;
    }
    /* the second axis of the planes: the one the source is dense along, else the next one out */
    int64_t d1 = d0 - 1;
    for (int64_t i = d0 - 1; i >= 0; i--) { d1 = m.s[i] == m.bytes && m.s[d0] != m.bytes ? i : d1; }
    const int64_t rows = d1 >= 0 ? m.size[d1] : 1, dst1 = d1 >= 0 ? m.d[d1] : 0, src1 = d1 >= 0 ? m.s[d1] : 0;
    for (;;) {
        li_copy_plane_(m.bytes, m.dst, m.src, rows, m.size[d0], dst1, m.d[d0], src1, m.s[d0]);
        int64_t i = d0 - 1;
        for (; i >= 0; i--) { /* the next position of the other axes */
            if (i == d1) { continue; }
            const int64_t by = ++index[i] < m.size[i] ? 1 : 1 - m.size[i];
            m.dst += by * m.d[i];
            m.src += by * m.s[i];
            if (by == 1) { break; }
            index[i] = 0;
        }
        if (i < 0) { return LI_OK; }
    }
}

/* n elements of `bytes` (a constant at every call but the last) picked from one axis. */
LI_INLINE li_status li_gather_(const li_gather_args *g, char *dst, const char *src, const char *index, const int64_t bytes)
{
    const int64_t axis = g->axis, wide = g->index_dtype == LI_I64;
    for (int64_t j = 0; j < g->n_index; j++, dst += bytes) {
        int64_t i;
        if (wide) {
            memcpy(&i, index + 8 * j, 8);
        } else {
            int32_t narrow;
            memcpy(&narrow, index + 4 * j, 4);
            i = narrow;
        }
        i += i < 0 ? axis : 0;
        if ((uint64_t)i >= (uint64_t)axis) { return LI_ERR_INDEX; }
        if (bytes == 4 || bytes == 8) {
            memcpy(dst, src + i * bytes, (size_t)bytes);
        } else {
            li_copy_rows_(dst, src + i * bytes, 1, bytes, 0, 0);
        }
    }
    return LI_OK;
}

li_status LI_NAME(gather)(const void *args, char *const *base)
{
    const li_gather_args *g = (const li_gather_args *)args;
    char *dst = (char *)li_at(g->dst, base);
    const char *src = (const char *)li_at(g->src, base), *index = (const char *)li_at(g->index, base);
    const int64_t n = g->inner_bytes;
    for (int64_t o = 0; o < g->n_outer; o++, src += g->axis * n, dst += g->n_index * n) {
        const li_status status = n == 4   ? li_gather_(g, dst, src, index, 4)
                                 : n == 8 ? li_gather_(g, dst, src, index, 8)
                                          : li_gather_(g, dst, src, index, n);
        if (status != LI_OK) { return status; }
    }
    return LI_OK;
}

li_status LI_NAME(reverse)(const void *args, char *const *base)
{
    const li_reverse_args *g = (const li_reverse_args *)args;
    const int64_t *lens = (const int64_t *)li_at(g->lens, base);
    for (int64_t b = 0; b < g->B; b++) {
        if (lens[b] < 0 || lens[b] > g->T) { return LI_ERR_LENGTH; }
    }
    for (int64_t b = 0; b < g->B; b++) {
        char *dst = (char *)li_at(g->dst, base) + b * g->dst_b;
        const char *src = (const char *)li_at(g->src, base) + b * g->src_b;
        const int64_t n = ((const volatile int64_t *)lens)[b]; /* may have changed since: the array may be the caller's */
        if (n < 0 || n > g->T) { return LI_ERR_LENGTH; }
        li_copy_rows_(dst, src + (n > 0 ? n - 1 : 0) * g->src_t, n, g->bytes, g->dst_t, -g->src_t);
        li_copy_rows_(dst + n * g->dst_t, src + n * g->src_t, g->T - n, g->bytes, g->dst_t, g->src_t);
    }
    return LI_OK;
}

#endif
