/* reduce_i64: reductions of integers and booleans, in int64 lanes.
 *
 * LI_INT_LANES neighbouring columns at once, or, where there is one column, as many terms of it: the lanes are joined at
 * the end. Integer arithmetic modulo 2^64 gives the same in any order; L2, which sums in f64, keeps the order of r. */
#ifndef LI_BODY_REDUCE_I64_H
#define LI_BODY_REDUCE_I64_H

#define LI_INT_LANES 64
#define LI_INT_BLOCK 256 /* elements that are converted at once */

/* x[o][r][i] of one call, seen from its first lane: `lanes` columns, or the terms of one column dealt to lanes. */
typedef struct li_int_at_ {
    li_map_operand_ x;
    int64_t lanes, rows, step, lane; /* rows of lanes; strides from row to row and from lane to lane */
    int64_t flip;                    /* changes the order of uint64 into that of int64 */
} li_int_at_;

LI_INLINE li_int_at_ li_int_at_of_(const li_reduce_typed_args *g, char *const *base)
{
    li_int_at_ a;
    memset(&a, 0, sizeof(a));
    a.x.at = (char *)li_at(g->x, base);
    a.x.dtype = g->dtype;
    a.x.bytes = li_dtype_bytes_(g->dtype);
    a.flip = g->dtype == LI_U64 ? INT64_MIN : 0;
    return a;
}

/* Lanes and rows from column i on; how many columns they are. `deal`: may the terms of one column be dealt out. */
LI_INLINE int64_t li_int_lanes_(li_int_at_ *a, const li_reduce_typed_args *g, int64_t i, int deal)
{
    const int64_t left = g->n_inner - i, columns = left < LI_INT_LANES ? left : LI_INT_LANES;
    const int one = deal && g->n_inner == 1;
    a->lanes = !one ? columns : g->n < LI_INT_LANES ? g->n : LI_INT_LANES;
    a->rows = one ? g->n / a->lanes : g->n;
    a->step = one ? a->lanes * g->x_r : g->x_r;
    a->lane = one ? g->x_r : g->x_inner;
    return one ? 1 : columns;
}

/* Rows from r on, as many as a block holds, of `lanes` lanes. */
LI_INLINE int64_t li_int_load_(const li_int_at_ *a, int64_t *block, int64_t first, int64_t r, int64_t most, int64_t lanes)
{
    const int64_t room = LI_INT_BLOCK / lanes, rows = most - r < room ? most - r : room;
    li_map_load_i64_(block, &a->x, a->x.at + (first + r * a->step) * a->x.bytes, rows, lanes, a->step, a->lane);
    return rows;
}

LI_INLINE int64_t li_int_neutral_(int64_t code)
{
    return code == LI_RED_MAX ? INT64_MIN : code == LI_RED_MIN ? INT64_MAX : code == LI_RED_PROD;
}

#define LI_INT_EACH(value)                                                                                             \
    for (int64_t r = 0; r < rows; r++) {                                                                               \
        const int64_t *LI_RESTRICT p = block + r * lanes;                                                              \
        for (int64_t l = 0; l < lanes; l++) {                                                                          \
            const int64_t x = p[l], y = acc[l];                                                                        \
            acc[l] = (int64_t)(value);                                                                                 \
        }                                                                                                              \
    }                                                                                                                  \
    break
#define U(v) ((uint64_t)(v))

/* rows of lanes into the accumulators. */
LI_NOINLINE void li_int_fold_(int64_t code, int64_t *LI_RESTRICT acc, const int64_t *LI_RESTRICT block, int64_t rows,
                              int64_t lanes, int64_t flip)
{
    switch ((li_reduce_code)code) {
    case LI_RED_MAX: LI_INT_EACH((x ^ flip) > y ? (x ^ flip) : y);
    case LI_RED_MIN: LI_INT_EACH((x ^ flip) < y ? (x ^ flip) : y);
    case LI_RED_PROD: LI_INT_EACH(U(x) * U(y));
    case LI_RED_SUM_SQUARE: LI_INT_EACH(U(y) + U(x) * U(x));
    case LI_RED_L1: LI_INT_EACH(U(y) + (x < 0 && !flip ? 0 - U(x) : U(x)));
    default: LI_INT_EACH(U(y) + U(x));
    }
}
#undef LI_INT_EACH

/* Lanes of one column into one: sums of sums, whatever the terms were. */
LI_INLINE int64_t li_int_join_(int64_t code, const int64_t *acc, int64_t lanes)
{
    int64_t made = li_int_neutral_(code);
    for (int64_t l = 0; l < lanes; l++) {
        switch ((li_reduce_code)code) {
        case LI_RED_MAX: made = acc[l] > made ? acc[l] : made; break;
        case LI_RED_MIN: made = acc[l] < made ? acc[l] : made; break;
        case LI_RED_PROD: made = (int64_t)(U(made) * U(acc[l])); break;
        default: made = (int64_t)(U(made) + U(acc[l]));
        }
    }
    return made;
}

/* What is stored of an accumulator. */
LI_INLINE int64_t li_int_done_(const li_reduce_typed_args *g, int64_t acc, int64_t flip)
{
    const int wide = g->dtype == LI_U64;
    switch ((li_reduce_code)g->code) {
    case LI_RED_MAX: case LI_RED_MIN: return acc ^ flip;
    case LI_RED_MEAN: return wide ? (int64_t)(U(acc) / U(g->n)) : acc / g->n;
    default: return acc;
    }
}
#undef U

/* One column: the root of its squares. */
LI_INLINE int64_t li_int_norm_(const li_int_at_ *a, const li_reduce_typed_args *g, int64_t first)
{
    int64_t block[LI_INT_BLOCK];
    const int wide = g->dtype == LI_U64;
    double sum = 0.0;
    for (int64_t r = 0; r < g->n;) {
        const int64_t rows = li_int_load_(a, block, first, r, g->n, 1);
        for (int64_t k = 0; k < rows; k++) {
            const double x = wide ? (double)(uint64_t)block[k] : (double)block[k];
            sum += x * x;
        }
        r += rows;
    }
    sum = v_sqrt_f64(sum);
    return wide ? (int64_t)li_to_u64_(sum) : li_to_i64_(sum);
}

/* The columns of `lanes`; first: where the first of them begins. Results go to acc. */
LI_INLINE void li_int_columns_(const li_int_at_ *a, const li_reduce_typed_args *g, int64_t first, int64_t columns,
                               int64_t acc[LI_INT_LANES])
{
    int64_t block[LI_INT_BLOCK];
    const int64_t rest = columns == 1 ? g->n - a->rows * a->lanes : 0;
    for (int64_t l = 0; l < a->lanes; l++) { acc[l] = li_int_neutral_(g->code); }
    for (int64_t r = 0; r < a->rows;) {
        const int64_t rows = li_int_load_(a, block, first, r, a->rows, a->lanes);
        li_int_fold_(g->code, acc, block, rows, a->lanes, a->flip);
        r += rows;
    }
    if (rest > 0) { /* terms of the last row: fewer than lanes */
        li_int_load_(a, block, first, a->rows, a->rows + 1, rest);
        li_int_fold_(g->code, acc, block, 1, rest, a->flip);
    }
    if (columns == 1) { acc[0] = li_int_join_(g->code, acc, a->lanes); }
    for (int64_t l = 0; l < columns; l++) { acc[l] = li_int_done_(g, acc[l], a->flip); }
}

li_status LI_NAME(reduce_i64)(const void *args, char *const *base)
{
    const li_reduce_typed_args *g = (const li_reduce_typed_args *)args;
    li_int_at_ a = li_int_at_of_(g, base);
    li_map_operand_ to = a.x;
    char *y = (char *)li_at(g->y, base);
    for (int64_t o = 0; o < g->n_outer; o++) {
        for (int64_t i = 0; i < g->n_inner;) {
            int64_t acc[LI_INT_LANES];
            const int64_t first = o * g->x_outer + i * g->x_inner, columns = li_int_lanes_(&a, g, i, g->code != LI_RED_L2);
            if (g->code == LI_RED_L2) {
                for (int64_t l = 0; l < columns; l++) { acc[l] = li_int_norm_(&a, g, first + l * g->x_inner); }
            } else {
                li_int_columns_(&a, g, first, columns, acc);
            }
            li_map_store_i64_(acc, &to, y + (o * g->y_outer + i * g->y_inner) * to.bytes, 1, columns, 0, g->y_inner);
            i += columns;
        }
    }
    return LI_OK;
}

#endif
