/* reduce_f32, softmax_f32, layernorm_f32: reductions in one order, whatever the strides and the vector width.
 *
 * Term r goes to virtual lane r % 16. A lane starts from the neutral element, which is truly neutral (-0 for sums, 1,
 * -inf, +inf): a lane's value is its first term, then the others in order. Lanes are combined by the tree
 * (l, l+8), (l, l+4), (l, l+2), (l, l+1). No terms at all: the neutral element, but +0 for sums. */
#ifndef LI_BODY_REDUCE_F32_H
#define LI_BODY_REDUCE_F32_H

/* The accumulations behind the ten reductions. CENTRED: squares of x - shift; EXP: exp(x - shift). */
typedef enum li_fold_ {
    LI_FOLD_ADD, LI_FOLD_MUL, LI_FOLD_MAX, LI_FOLD_MIN, LI_FOLD_SQUARE, LI_FOLD_ABS, LI_FOLD_CENTRED, LI_FOLD_EXP
} li_fold_;

LI_INLINE vf li_fold_neutral_(li_fold_ f)
{
    const vf inf = v_float(vi_set1(LI_INF_BITS));
    return f == LI_FOLD_MUL ? v_set1(1.0f) : f == LI_FOLD_MAX ? v_neg(inf) : f == LI_FOLD_MIN ? inf : v_set1(-0.0f);
}

/* Two lanes into one. */
LI_INLINE vf li_fold_join_(li_fold_ f, vf a, vf b)
{
    switch (f) {
    case LI_FOLD_MUL: return v_mul(a, b);
    case LI_FOLD_MAX: return v_sel(v_unord(a, b), v_add(a, b), v_max(a, b));
    case LI_FOLD_MIN: return v_sel(v_unord(a, b), v_add(a, b), v_min(a, b));
    default: return v_add(a, b);
    }
}

/* One more term into a lane. */
LI_INLINE vf li_fold_term_(li_fold_ f, vf acc, vf x, vf shift)
{
    switch (f) {
    case LI_FOLD_SQUARE: return v_fma(x, x, acc);
    case LI_FOLD_ABS: return v_add(acc, v_abs(x));
    case LI_FOLD_CENTRED: x = v_sub(x, shift); return v_fma(x, x, acc);
    case LI_FOLD_EXP: return v_add(acc, li_exp(v_sub(x, shift)));
    default: return li_fold_join_(f, acc, x);
    }
}

/* Lanes of vector v (of the 16) that hold one of n terms. */
LI_INLINE vm li_lane_mask_(int v, int64_t n)
{
    static const float lane[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    return v_lt(v_load(lane + v * LI_W), v_set1((float)n));
}

#define LI_SIDE_ 4 /* rows side by side */

/* n dense terms of each of rows rows into their 16 lanes. Rows side by side do not wait for one another. */
LI_INLINE void li_fold_dense_(li_fold_ f, vf acc[][LI_V], const float *x, int64_t x_row, int64_t n, const vf *shift, const int rows)
{
    int64_t r = 0;
    LI_UNROLL
    for (int k = 0; k < rows; k++) {
        for (int v = 0; v < LI_V; v++) { acc[k][v] = li_fold_neutral_(f); }
    }
    for (; r + 16 <= n; r += 16) {
        LI_UNROLL
        for (int v = 0; v < LI_V; v++) {
            LI_UNROLL
            for (int k = 0; k < rows; k++) { acc[k][v] = li_fold_term_(f, acc[k][v], v_load(x + k * x_row + r + v * LI_W), shift[k]); }
        }
    }
    for (int v = 0; v < LI_V && r + v * LI_W < n; v++) {
        const vm held = li_lane_mask_(v, n - r);
        LI_UNROLL
        for (int k = 0; k < rows; k++) {
            const vf last = li_load_left(x + k * x_row + r + v * LI_W, n - r - v * LI_W);
            acc[k][v] = v_sel(held, li_fold_term_(f, acc[k][v], last, shift[k]), acc[k][v]);
        }
    }
}

/* n terms x_r apart into 16 lanes. */
LI_INLINE void li_fold_apart_(li_fold_ f, vf acc[LI_V], const float *x, int64_t n, int64_t x_r, vf shift)
{
    float block[16] = {0};
    for (int v = 0; v < LI_V; v++) { acc[v] = li_fold_neutral_(f); }
    for (int64_t r = 0; r < n; r += 16) {
        for (int l = 0; l < 16 && r + l < n; l++) { block[l] = x[(r + l) * x_r]; }
        for (int v = 0; v < LI_V; v++) {
            const vf more = li_fold_term_(f, acc[v], v_load(block + v * LI_W), shift);
            acc[v] = v_sel(li_lane_mask_(v, n - r), more, acc[v]);
        }
    }
}

/* The tree: vectors first, then lanes. What stands in lane 0 has joined the pairs in their order, at every vector width. */
LI_INLINE vf li_fold_tree_(li_fold_ f, vf acc[LI_V])
{
    LI_UNROLL
    for (int h = 8; h >= LI_W; h >>= 1) {
        for (int v = 0; v < h / LI_W; v++) { acc[v] = li_fold_join_(f, acc[v], acc[v + h / LI_W]); }
    }
    LI_UNROLL
    for (int h = LI_W / 2; h; h >>= 1) { acc[0] = li_fold_join_(f, acc[0], v_swap(acc[0], h)); }
    return v_first(acc[0]);
}

LI_INLINE vf li_fold_row_(li_fold_ f, const float *x, int64_t n, int64_t x_r, vf shift)
{
    vf acc[1][LI_V];
    if (x_r == 1) {
        li_fold_dense_(f, acc, x, 0, n, &shift, 1);
    } else {
        li_fold_apart_(f, acc[0], x, n, x_r, shift);
    }
    return li_fold_tree_(f, acc[0]);
}

/* LI_W neighbouring columns at once (fewer: part), rows x_r apart: the 16 lanes are 16 vectors. */
LI_INLINE vf li_fold_columns_(li_fold_ f, const float *x, int64_t n, int64_t x_r, int64_t part, vf shift)
{
    vf acc[16];
    for (int l = 0; l < 16; l++) { acc[l] = li_fold_neutral_(f); }
    for (int64_t r = 0; r < n; r += 16) {
        const int64_t lanes = n - r < 16 ? n - r : 16;
        for (int64_t l = 0; l < lanes; l++) {
            const float *p = x + (r + l) * x_r;
            acc[l] = li_fold_term_(f, acc[l], part == LI_W ? v_load(p) : v_load_part(p, part), shift);
        }
    }
    for (int h = 8; h; h >>= 1) {
        for (int l = 0; l < h; l++) { acc[l] = li_fold_join_(f, acc[l], acc[l + h]); }
    }
    return acc[0];
}

/* Where 16 terms of one output come from: a row, or a column of a vector. */
typedef struct li_reduce_at_ {
    const float *x;
    int64_t n, x_r, part; /* part > 0: so many columns; 0: one row */
} li_reduce_at_;

/* One copy of the loops per fold: the switch stands outside them. */
#define LI_FOLD_CASE(f)                                                                                                \
    case f: return a->part ? li_fold_columns_(f, a->x, a->n, a->x_r, a->part, shift)                                   \
                           : li_fold_row_(f, a->x, a->n, a->x_r, shift)

LI_NOINLINE vf li_fold_any_(li_fold_ f, const li_reduce_at_ *a, vf shift)
{
    switch (f) {
        LI_FOLD_CASE(LI_FOLD_MUL);
        LI_FOLD_CASE(LI_FOLD_MAX);
        LI_FOLD_CASE(LI_FOLD_MIN);
        LI_FOLD_CASE(LI_FOLD_SQUARE);
        LI_FOLD_CASE(LI_FOLD_ABS);
        LI_FOLD_CASE(LI_FOLD_CENTRED);
        LI_FOLD_CASE(LI_FOLD_EXP);
    default:
        LI_FOLD_CASE(LI_FOLD_ADD);
    }
}
#undef LI_FOLD_CASE

/* A sum over nothing is +0. */
LI_INLINE vf li_sum_(li_fold_ f, const li_reduce_at_ *a, vf shift) { return a->n ? li_fold_any_(f, a, shift) : v_zero(); }

LI_INLINE vf li_reduce_one_(int64_t code, const li_reduce_at_ *a)
{
    const vf zero = v_zero(), inf = v_float(vi_set1(LI_INF_BITS));
    switch ((li_reduce_code)code) {
    case LI_RED_MEAN: return v_div(li_sum_(LI_FOLD_ADD, a, zero), v_set1((float)a->n));
    case LI_RED_MAX: return li_fold_any_(LI_FOLD_MAX, a, zero);
    case LI_RED_MIN: return li_fold_any_(LI_FOLD_MIN, a, zero);
    case LI_RED_PROD: return li_fold_any_(LI_FOLD_MUL, a, zero);
    case LI_RED_SUM_SQUARE: return li_sum_(LI_FOLD_SQUARE, a, zero);
    case LI_RED_L1: return li_sum_(LI_FOLD_ABS, a, zero);
    case LI_RED_L2: return v_sqrt(li_sum_(LI_FOLD_SQUARE, a, zero));
    case LI_RED_LOG_SUM: return li_log(li_sum_(LI_FOLD_ADD, a, zero));
    case LI_RED_LOG_SUM_EXP: {
        const vf most = li_fold_any_(LI_FOLD_MAX, a, zero);
        const vf shift = v_sel(v_eq(v_abs(most), inf), zero, most); /* inf - inf would be NaN */
        return v_add(li_log(li_sum_(LI_FOLD_EXP, a, shift)), shift);
    }
    default: return li_sum_(LI_FOLD_ADD, a, zero);
    }
}

li_status LI_NAME(reduce_f32)(const void *args, char *const *base)
{
    const li_reduce_args *g = (const li_reduce_args *)args;
    const float *x = (const float *)li_at(g->x, base);
    float *y = (float *)li_at(g->y, base);
    const int across = g->x_inner == 1 && g->n_inner > 1;
    for (int64_t o = 0; o < g->n_outer; o++) {
        for (int64_t i = 0; i < g->n_inner;) {
            const int64_t left = g->n_inner - i, part = across ? (left < LI_W ? left : LI_W) : 0;
            const li_reduce_at_ at = {x + o * g->x_outer + i * g->x_inner, g->n, g->x_r, part};
            const vf value = li_reduce_one_(g->code, &at);
            float *to = y + o * g->y_outer + i * g->y_inner;
            if (part && g->y_inner == 1) {
                v_store_part(to, value, part);
            } else {
                float lanes[LI_W];
                v_store(lanes, value);
                for (int64_t l = 0; l < (part ? part : 1); l++) { to[l * g->y_inner] = lanes[l]; }
            }
            i += part ? part : 1;
        }
    }
    return LI_OK;
}

/* One value a row, of rows rows side by side. */
LI_INLINE void li_fold_rows_(li_fold_ f, vf *to, const float *x, int64_t x_row, int64_t n, const vf *shift, const int rows)
{
    vf acc[LI_SIDE_][LI_V];
    li_fold_dense_(f, acc, x, x_row, n, shift, rows);
    LI_UNROLL
    for (int k = 0; k < rows; k++) { to[k] = li_fold_tree_(f, acc[k]); }
}

/* y[k][i] = value of t = x[k][i] for every i of rows rows. */
#define LI_EACH_(x, x_row, y, y_row, n, rows, value)                                                                   \
    for (int64_t i = 0; i < (n); i += LI_W) {                                                                          \
        LI_UNROLL                                                                                                      \
        for (int k = 0; k < (rows); k++) {                                                                             \
            const vf t = li_load_left((x) + k * (x_row) + i, (n)-i);                                                   \
            li_store_left((y) + k * (y_row) + i, (value), (n)-i);                                                      \
        }                                                                                                              \
    }

LI_INLINE void li_softmax_rows_(const li_softmax_args *g, const float *x, float *y, const int rows)
{
    const vf zero[LI_SIDE_] = {v_zero(), v_zero(), v_zero(), v_zero()};
    vf most[LI_SIDE_], sum[LI_SIDE_];
    li_fold_rows_(LI_FOLD_MAX, most, x, g->x_row, g->n, zero, rows);
    LI_EACH_(x, g->x_row, y, g->y_row, g->n, rows, li_exp(v_sub(t, most[k])))
    li_fold_rows_(LI_FOLD_ADD, sum, y, g->y_row, g->n, zero, rows);
    LI_EACH_(y, g->y_row, y, g->y_row, g->n, rows, v_div(t, sum[k]))
}

LI_INLINE void li_log_softmax_rows_(const li_softmax_args *g, const float *x, float *y, const int rows)
{
    const vf zero[LI_SIDE_] = {v_zero(), v_zero(), v_zero(), v_zero()};
    vf most[LI_SIDE_], sum[LI_SIDE_];
    li_fold_rows_(LI_FOLD_MAX, most, x, g->x_row, g->n, zero, rows);
    li_fold_rows_(LI_FOLD_EXP, sum, x, g->x_row, g->n, most, rows);
    LI_UNROLL
    for (int k = 0; k < rows; k++) { sum[k] = li_log(sum[k]); }
    LI_EACH_(x, g->x_row, y, g->y_row, g->n, rows, v_sub(v_sub(t, most[k]), sum[k]))
}
#undef LI_EACH_

LI_INLINE void li_any_softmax_rows_(const li_softmax_args *g, const float *x, float *y, const int rows)
{
    if (g->log) {
        li_log_softmax_rows_(g, x, y, rows);
    } else {
        li_softmax_rows_(g, x, y, rows);
    }
}

li_status LI_NAME(softmax_f32)(const void *args, char *const *base)
{
    const li_softmax_args *g = (const li_softmax_args *)args;
    const float *x = (const float *)li_at(g->x, base);
    float *y = (float *)li_at(g->y, base);
    int64_t row = 0;
    for (; row + LI_SIDE_ <= g->rows; row += LI_SIDE_) { li_any_softmax_rows_(g, x + row * g->x_row, y + row * g->y_row, LI_SIDE_); }
    for (; row < g->rows; row++) { li_any_softmax_rows_(g, x + row * g->x_row, y + row * g->y_row, 1); }
    return LI_OK;
}

li_status LI_NAME(layernorm_f32)(const void *args, char *const *base)
{
    const li_layernorm_args *g = (const li_layernorm_args *)args;
    const float *scale = (const float *)li_at(g->scale, base), *bias = (const float *)li_at(g->bias, base);
    float *means = (float *)li_at(g->mean, base), *inv_stds = (float *)li_at(g->inv_std, base);
    const vf n = v_set1((float)g->n), one = v_set1(1.0f), epsilon = v_set1((float)g->epsilon);
    for (int64_t row = 0; row < g->rows; row++) {
        const float *x = (const float *)li_at(g->x, base) + row * g->x_row;
        float *y = (float *)li_at(g->y, base) + row * g->y_row;
        const vf mean = v_div(li_fold_row_(LI_FOLD_ADD, x, g->n, 1, v_zero()), n);
        const vf var = v_div(li_fold_row_(LI_FOLD_CENTRED, x, g->n, 1, mean), n);
        const vf inv_std = v_div(one, v_sqrt(v_add(var, epsilon)));
        if (means) { v_store_part(means + row, mean, 1); }
        if (inv_stds) { v_store_part(inv_stds + row, inv_std, 1); }
        for (int64_t i = 0; i < g->n; i += LI_W) {
            const int64_t part = g->n - i;
            vf t = v_mul(v_sub(li_load_left(x + i, part), mean), inv_std);
            const vf by = scale ? li_load_left(scale + i, part) : one;
            t = bias ? v_fma(t, by, li_load_left(bias + i, part)) : v_mul(t, by);
            li_store_left(y + i, t, part);
        }
    }
    return LI_OK;
}
#undef LI_SIDE_

#endif
