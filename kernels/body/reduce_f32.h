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

/* n terms x_r apart into 16 lanes. */
LI_INLINE void li_fold_lanes_(li_fold_ f, vf acc[LI_V], const float *x, int64_t n, int64_t x_r, vf shift)
{
    float block[16] = {0};
    int64_t r = 0;
    for (int v = 0; v < LI_V; v++) { acc[v] = li_fold_neutral_(f); }
    for (; r + 16 <= n; r += 16) {
        const float *p = x + r;
        if (x_r != 1) {
            for (int l = 0; l < 16; l++) { block[l] = x[(r + l) * x_r]; }
            p = block;
        }
        LI_UNROLL
        for (int v = 0; v < LI_V; v++) { acc[v] = li_fold_term_(f, acc[v], v_load(p + v * LI_W), shift); }
    }
    if (r == n) { return; }
    for (int64_t l = 0; l < n - r; l++) { block[l] = x[(r + l) * x_r]; }
    for (int v = 0; v < LI_V; v++) {
        const vf more = li_fold_term_(f, acc[v], v_load(block + v * LI_W), shift);
        acc[v] = v_sel(li_lane_mask_(v, n - r), more, acc[v]);
    }
}

/* The tree, in memory: every vector width then joins the same pairs. The result stands in all lanes. */
LI_INLINE vf li_fold_tree_(li_fold_ f, const vf acc[LI_V])
{
    float lanes[32] = {0};
    for (int v = 0; v < LI_V; v++) { v_store(lanes + v * LI_W, acc[v]); }
    LI_UNROLL
    for (int h = 8; h; h >>= 1) {
        for (int i = 0; i < h; i += LI_W) {
            v_store(lanes + i, li_fold_join_(f, v_load(lanes + i), v_load(lanes + i + h)));
        }
    }
    return v_set1(lanes[0]);
}

LI_INLINE vf li_fold_row_(li_fold_ f, const float *x, int64_t n, int64_t x_r, vf shift)
{
    vf acc[LI_V];
    li_fold_lanes_(f, acc, x, n, x_r, shift);
    return li_fold_tree_(f, acc);
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

/* y[i] = value for every lane of a row of n, the last vector in part. */
#define LI_ROW(n, value)                                                                                               \
    for (int64_t i = 0; i < (n); i += LI_W) {                                                                          \
        const int64_t part = (n)-i;                                                                                    \
        if (part >= LI_W) {                                                                                            \
            const vf t = v_load(x + i);                                                                                \
            v_store(y + i, (value));                                                                                   \
        } else {                                                                                                       \
            const vf t = v_load_part(x + i, part);                                                                     \
            v_store_part(y + i, (value), part);                                                                        \
        }                                                                                                              \
    }

li_status LI_NAME(softmax_f32)(const void *args, char *const *base)
{
    const li_softmax_args *g = (const li_softmax_args *)args;
    for (int64_t row = 0; row < g->rows; row++) {
        const float *x = (const float *)li_at(g->x, base) + row * g->x_row;
        float *y = (float *)li_at(g->y, base) + row * g->y_row;
        const vf most = li_fold_row_(LI_FOLD_MAX, x, g->n, 1, v_zero());
        if (g->log) {
            const vf sum = li_log(li_fold_row_(LI_FOLD_EXP, x, g->n, 1, most));
            LI_ROW(g->n, v_sub(v_sub(t, most), sum))
            continue;
        }
        LI_ROW(g->n, li_exp(v_sub(t, most)))
        const vf sum = li_fold_row_(LI_FOLD_ADD, y, g->n, 1, v_zero());
        x = y;
        LI_ROW(g->n, v_div(t, sum))
    }
    return LI_OK;
}

LI_INLINE vf li_part_(const float *p, int64_t n) { return n >= LI_W ? v_load(p) : v_load_part(p, n); }

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
            vf t = v_mul(v_sub(li_part_(x + i, part), mean), inv_std);
            const vf by = scale ? li_part_(scale + i, part) : one;
            t = bias ? v_fma(t, by, li_part_(bias + i, part)) : v_mul(t, by);
            v_store_part(y + i, t, part < LI_W ? part : LI_W);
        }
    }
    return LI_OK;
}
#undef LI_ROW

#endif
