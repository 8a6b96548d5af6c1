/* arg_reduce: where the largest or smallest element of an axis stands.
 *
 * Elements become keys whose order as integers is the one that is asked for: for the smallest, that of the negated or
 * inverted element; NaN above all. f32: int32 keys in vectors, 16 virtual lanes of a row or LI_W columns. Others: int64
 * keys in lanes as in reduce_i64. The place of a lane changes where best < key, for the last one where best < key + 1. */
#ifndef LI_BODY_ARG_REDUCE_H
#define LI_BODY_ARG_REDUCE_H

#define LI_ARG_ROWS (INT32_C(1) << 30) /* places that an int32 lane counts */
#define LI_ARG_NAN 0x7ffffffe          /* above the key of +inf; its successor is an int32 too */

typedef struct li_arg_ {
    vi flip, last; /* the sign bit where the smallest is wanted; 1 where the last is */
    int32_t is_last, turn; /* turn: bits of a place that are inverted where the first is wanted */
} li_arg_;

typedef struct li_arg_lanes_ {
    vi key, at;
} li_arg_lanes_;

/* -0 + 0 is +0: both have one key. */
LI_INLINE vi li_arg_key_(vf x, const li_arg_ *a)
{
    const vi bits = v_bits(v_add(v_float(vi_xor(v_bits(x), a->flip)), v_zero()));
    const vi key = vi_xor(bits, vi_and(vi_sar(bits, 31), vi_set1(0x7fffffff)));
    return v_bits(v_sel(v_unord(x, x), v_float(vi_set1(LI_ARG_NAN)), v_float(key)));
}

LI_INLINE void li_arg_take_(li_arg_lanes_ *best, vi key, vi at, const li_arg_ *a)
{
    const vm better = vi_lt(best->key, vi_add(key, a->last));
    best->key = v_bits(v_sel(better, v_float(key), v_float(best->key)));
    best->at = v_bits(v_sel(better, v_float(at), v_float(best->at)));
}

/* Lane by lane the better of two. */
LI_INLINE void li_arg_join_(li_arg_lanes_ *a, const li_arg_lanes_ *b, const li_arg_ *how)
{
    const vi turn = vi_set1(how->turn);
    const vm even = vi_eq(a->key, b->key), behind = vi_lt(vi_xor(a->at, turn), vi_xor(b->at, turn));
    const vm better = m_or(vi_lt(a->key, b->key), m_and(even, behind));
    a->key = v_bits(v_sel(better, v_float(b->key), v_float(a->key)));
    a->at = v_bits(v_sel(better, v_float(b->at), v_float(a->at)));
}

/* Vector v of the terms r .. r+15 of a row of n; those behind the end are anything. */
LI_INLINE vf li_arg_load_(const float *x, int64_t n, int64_t x_r, int64_t r, int v)
{
    float block[LI_W] = {0};
    const int64_t at = r + v * LI_W, left = n - at < 0 ? 0 : n - at;
    if (x_r == 1 && left >= LI_W) { return v_load(x + at); }
    if (x_r == 1) { return v_load_part(x + at, left); }
    for (int64_t l = 0; l < LI_W && l < left; l++) { block[l] = x[(at + l) * x_r]; }
    return v_load(block);
}

/* One row of at most LI_ARG_ROWS terms: the key and the place of the best. */
LI_INLINE int64_t li_arg_row_(const float *x, int64_t n, int64_t x_r, const li_arg_ *a, int32_t *key)
{
    static const int32_t number[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    int32_t keys[LI_W], places[LI_W];
    int64_t found = INT64_MIN;
    li_arg_lanes_ best[LI_V];
    vi at[LI_V];
    int64_t r = 0;
    for (int v = 0; v < LI_V; v++) {
        best[v].key = vi_set1(INT32_MIN);
        best[v].at = at[v] = vi_load(number + v * LI_W);
    }
    for (; r + 16 <= n; r += 16) {
        LI_UNROLL
        for (int v = 0; v < LI_V; v++) {
            li_arg_take_(&best[v], li_arg_key_(li_arg_load_(x, n, x_r, r, v), a), at[v], a);
            at[v] = vi_add(at[v], vi_set1(16));
        }
    }
    for (int v = 0; v * LI_W < n - r; v++) {
        const vf inside = v_float(li_arg_key_(li_arg_load_(x, n, x_r, r, v), a));
        const vi key_in = v_bits(v_sel(li_lane_mask_(v, n - r), inside, v_float(vi_set1(INT32_MIN))));
        li_arg_take_(&best[v], key_in, at[v], a);
    }
    for (int v = 1; v < LI_V; v++) { li_arg_join_(&best[0], &best[v], a); }
    vi_store(keys, best[0].key);
    vi_store(places, best[0].at);
    for (int l = 0; l < LI_W; l++) { /* key, then place: the greater pair wins; a lane without terms has the least key */
        const int64_t pair = keys[l] * (INT64_C(1) << 32) + (places[l] ^ a->turn);
        found = pair > found ? pair : found;
    }
    *key = (int32_t)(found >> 32);
    return (int32_t)found ^ a->turn;
}

/* A row of any length. */
LI_INLINE int64_t li_arg_long_row_(const float *x, int64_t n, int64_t x_r, const li_arg_ *a)
{
    int32_t best, key;
    int64_t at = li_arg_row_(x, n < LI_ARG_ROWS ? n : LI_ARG_ROWS, x_r, a, &best);
    for (int64_t r = LI_ARG_ROWS; r < n; r += LI_ARG_ROWS) {
        const int64_t left = n - r, found = li_arg_row_(x + r * x_r, left < LI_ARG_ROWS ? left : LI_ARG_ROWS, x_r, a, &key);
        if (best < key + a->is_last) {
            best = key;
            at = r + found;
        }
    }
    return at;
}

/* LI_W columns (fewer: part) at once. */
LI_INLINE void li_arg_columns_(const float *x, int64_t n, int64_t x_r, int64_t part, const li_arg_ *a, int32_t places[LI_W])
{
    li_arg_lanes_ best = {vi_set1(INT32_MIN), vi_set1(0)};
    for (int64_t r = 0; r < n; r++, x += x_r) {
        const vf t = part == LI_W ? v_load(x) : v_load_part(x, part);
        li_arg_take_(&best, li_arg_key_(t, a), vi_set1((int32_t)r), a);
    }
    vi_store(places, best.at);
}

LI_INLINE void li_arg_f32_(const li_reduce_typed_args *g, const float *x, int64_t *y)
{
    const int least = g->code == LI_RED_MIN, is_last = g->last != 0;
    const li_arg_ a = {vi_set1(least ? INT32_MIN : 0), vi_set1(is_last), is_last, is_last ? 0 : INT32_MAX};
    const int across = g->x_inner == 1 && g->n_inner > 1 && g->n <= LI_ARG_ROWS;
    for (int64_t o = 0; o < g->n_outer; o++) {
        const float *from = x + o * g->x_outer;
        int64_t *to = y + o * g->y_outer;
        for (int64_t i = 0; !across && i < g->n_inner; i++) {
            to[i * g->y_inner] = li_arg_long_row_(from + i * g->x_inner, g->n, g->x_r, &a);
        }
        for (int64_t i = 0; across && i < g->n_inner; i += LI_W) {
            int32_t places[LI_W];
            const int64_t left = g->n_inner - i, part = left < LI_W ? left : LI_W;
            li_arg_columns_(from + i, g->n, g->x_r, part, &a, places);
            for (int64_t l = 0; l < part; l++) { to[(i + l) * g->y_inner] = places[l]; }
        }
    }
}

#define LI_ARG_EACH(better)                                                                                            \
    for (int64_t k = 0; k < rows; k++, block += lanes) {                                                               \
        for (int64_t l = 0; l < lanes; l++) {                                                                          \
            const int64_t key = block[l] ^ flip, held = best[l];                                                       \
            best[l] = (better) ? key : held;                                                                           \
            at[l] = (better) ? r + k : at[l];                                                                          \
        }                                                                                                              \
    }                                                                                                                  \
    return

/* rows of lanes into the best so far; the first row holds place r of every lane. */
LI_NOINLINE void li_arg_fold_(int64_t *LI_RESTRICT best, int64_t *LI_RESTRICT at, const int64_t *LI_RESTRICT block,
                              int64_t r, int64_t rows, int64_t lanes, int64_t flip, int is_last)
{
    if (is_last) { LI_ARG_EACH(key >= held); }
    LI_ARG_EACH(key > held);
}
#undef LI_ARG_EACH

/* The place of the best of the lanes that one column was dealt to. */
LI_INLINE int64_t li_arg_of_lanes_(const int64_t *best, const int64_t *at, int64_t lanes, int is_last)
{
    const int64_t turn = is_last ? -1 : 0; /* the last place is the first one of ~place */
    int64_t top = best[0], place = INT64_MAX;
    for (int64_t l = 1; l < lanes; l++) { top = best[l] > top ? best[l] : top; }
    for (int64_t l = 0; l < lanes; l++) {
        const int64_t here = best[l] == top ? (at[l] * lanes + l) ^ turn : INT64_MAX;
        place = here < place ? here : place;
    }
    return place ^ turn;
}

LI_INLINE void li_arg_i64_(const li_reduce_typed_args *g, char *const *base, int64_t *y)
{
    li_int_at_ a = li_int_at_of_(g, base);
    const int64_t flip = g->code == LI_RED_MIN ? ~a.flip : a.flip;
    const int is_last = g->last != 0;
    for (int64_t o = 0; o < g->n_outer; o++) {
        for (int64_t i = 0; i < g->n_inner;) {
            int64_t best[LI_INT_LANES], at[LI_INT_LANES], block[LI_INT_BLOCK];
            const int64_t first = o * g->x_outer + i * g->x_inner, columns = li_int_lanes_(&a, g, i, 1);
            const int64_t rest = columns == 1 ? g->n - a.rows * a.lanes : 0;
            for (int64_t l = 0; l < a.lanes; l++) {
                best[l] = INT64_MIN; /* the key of some element, perhaps: then of the first */
                at[l] = 0;
            }
            for (int64_t r = 0; r < a.rows;) {
                const int64_t rows = li_int_load_(&a, block, first, r, a.rows, a.lanes);
                li_arg_fold_(best, at, block, r, rows, a.lanes, flip, is_last);
                r += rows;
            }
            if (rest > 0) {
                li_int_load_(&a, block, first, a.rows, a.rows + 1, rest);
                li_arg_fold_(best, at, block, a.rows, 1, rest, flip, is_last);
            }
            if (columns == 1) { at[0] = li_arg_of_lanes_(best, at, a.lanes, is_last); }
            for (int64_t l = 0; l < columns; l++) { y[o * g->y_outer + (i + l) * g->y_inner] = at[l]; }
            i += columns;
        }
    }
}

li_status LI_NAME(arg_reduce)(const void *args, char *const *base)
{
    const li_reduce_typed_args *g = (const li_reduce_typed_args *)args;
    int64_t *y = (int64_t *)li_at(g->y, base);
    if (g->dtype == LI_F32) {
        li_arg_f32_(g, (const float *)li_at(g->x, base), y);
    } else {
        li_arg_i64_(g, base, y);
    }
    return LI_OK;
}

#endif
