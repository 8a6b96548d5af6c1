/* conv_f32: sums over channel and kernel, in that order, one line of positions (the innermost axis) at a time. Nothing is
 * gathered: term k of every position is read through a table of offsets, from x itself where no position reaches outside
 * it, else from its rows copied into scratch with zeros around them (strided lines apart by phase, so that neighbours lie
 * side by side). Contract: li_kernels.h. Every path sums k in the same order.
 *
 *   one position, patch evenly spaced in x   a matrix times a vector (streaming)
 *   lanes across positions                   few filters or many positions: rows of x times one weight (depthwise)
 *   lanes across filters                     else: the micro-kernel of gates_f32.h */
#include "../li_block.h"

#define LI_CONV_Q 3                     /* vectors of positions in a tile ... */
#define LI_CONV_F (LI_ACC / LI_CONV_Q) /* ... times filters */

typedef struct li_conv {
    const li_conv_args *a;
    const float *x, *w, *bias; /* x: of this batch entry; w, bias: of this group */
    const float *w_all, *bias_all;
    float *y, *rows;
    int64_t *at;      /* [K]: where term k lies, from the first position of a line */
    int64_t C, M, K;  /* of one group */
    int64_t block, col;      /* positions at once; distance of neighbouring positions */
    int64_t phases, phase;   /* of a staged row: how many, floats of each */
    int staged;
} li_conv;

/* The same convolution with its axes at the end of three, the last of them longer than 1 where any is. */
LI_INLINE li_conv_args li_conv_three(const li_conv_args *a)
{
    li_conv_args n = *a;
    int64_t end = a->spatial;
    while (end > 1 && a->in[end - 1] == 1 && a->out[end - 1] == 1 && a->kernel[end - 1] == 1 && a->pad[end - 1] == 0) { end--; }
    for (int64_t d = 0; d < 3; d++) {
        const int64_t from = d - (3 - end);
        n.in[d] = from < 0 ? 1 : a->in[from];
        n.out[d] = from < 0 ? 1 : a->out[from];
        n.kernel[d] = from < 0 ? 1 : a->kernel[from];
        n.stride[d] = from < 0 ? 1 : a->stride[from];
        n.dilation[d] = from < 0 ? 1 : a->dilation[from];
        n.pad[d] = from < 0 ? 0 : a->pad[from];
        n.x_stride[2 + d] = from < 0 ? 0 : a->x_stride[2 + from];
        n.y_stride[2 + d] = from < 0 ? 0 : a->y_stride[2 + from];
    }
    return n;
}

/* The distance of successive positions over all axes, or 0 if they are not evenly spaced. */
LI_INLINE int64_t li_even(const int64_t out[3], const int64_t stride[3])
{
    int64_t step = 0, count = 1;
    for (int d = 2; d >= 0; d--) {
        if (out[d] == 1) { continue; }
        if (step == 0) { step = stride[d]; }
        if (stride[d] != step * count) { return 0; }
        count *= out[d];
    }
    return count == 1 ? 1 : step;
}

/* A kernel of one position: all positions as one line, where they lie evenly. */
LI_INLINE void li_conv_pointwise(li_conv_args *a)
{
    const int64_t x_pos[3] = {a->stride[0] * a->x_stride[2], a->stride[1] * a->x_stride[3], a->stride[2] * a->x_stride[4]};
    const int64_t x_step = li_even(a->out, x_pos), y_step = li_even(a->out, a->y_stride + 2);
    for (int d = 0; d < 3; d++) {
        if (a->kernel[d] != 1 || a->pad[d] != 0 || (a->out[d] - 1) * a->stride[d] >= a->in[d]) { return; }
    }
    if (x_step == 0 || y_step == 0) { return; }
    a->out[2] = a->in[2] = a->out[0] * a->out[1] * a->out[2];
    a->stride[2] = 1;
    a->x_stride[4] = x_step;
    a->y_stride[4] = y_step;
    a->out[0] = a->out[1] = a->in[0] = a->in[1] = 1;
}

/* Does no position reach outside x. */
LI_INLINE int li_conv_inside(const li_conv_args *a)
{
    for (int d = 0; d < 3; d++) {
        const int64_t last = (a->out[d] - 1) * a->stride[d] + (a->kernel[d] - 1) * a->dilation[d] - a->pad[d];
        if (a->pad[d] > 0 || last >= a->in[d]) { return 0; }
    }
    return 1;
}

/* The entries of rows `row` apart, n in each, d apart. Three or one are the rule: a loop over so few costs more than they do. */
LI_INLINE int64_t *li_conv_entries(int64_t *at, int64_t from, int64_t rows, int64_t row, int64_t n, int64_t d)
{
    if (n == 1) {
        for (int64_t r = 0; r < rows; r++, from += row) { *at++ = from; }
        return at;
    }
    if (n == 3) {
        for (int64_t r = 0; r < rows; r++, at += 3, from += row) {
            at[0] = from;
            at[1] = from + d;
            at[2] = from + d + d;
        }
        return at;
    }
    for (int64_t r = 0; r < rows; r++, from += row) {
        for (int64_t k = 0, to = from; k < n; k++, to += d) { *at++ = to; }
    }
    return at;
}

/* at[k] */
LI_NOINLINE void li_conv_table(const li_conv *c)
{
    const li_conv_args *a = c->a;
    const int64_t s = c->phases, row = c->phase * s, n = a->kernel[2], d = a->dilation[2];
    int64_t *at = c->at;
    if (c->staged && s == 1) {
        li_conv_entries(at, 0, c->C * a->kernel[0] * a->kernel[1], row, n, d);
        return;
    }
    if (!c->staged && a->kernel[0] * a->kernel[1] == 1) {
        li_conv_entries(at, 0, c->C, a->x_stride[1], n, d * a->x_stride[4]);
        return;
    }
    int64_t r = 0;
    for (int64_t ch = 0; ch < c->C; ch++) {
        for (int64_t k0 = 0; k0 < a->kernel[0]; k0++) {
            if (!c->staged) {
                const int64_t from = ch * a->x_stride[1] + k0 * a->dilation[0] * a->x_stride[2];
                at = li_conv_entries(at, from, a->kernel[1], a->dilation[1] * a->x_stride[3], n, d * a->x_stride[4]);
                continue;
            }
            for (int64_t k1 = 0; k1 < a->kernel[1]; k1++, r += row) {
                for (int64_t k2 = 0; k2 < n; k2++) { *at++ = r + k2 * d % s * c->phase + k2 * d / s; }
            }
        }
    }
}

/* dst[i] = x[i] for lo <= i < hi, 0 for the others of 0 .. n - 1. Writes whole vectors: what lies behind is written later. */
LI_INLINE void li_conv_row(float *dst, const float *x, int64_t lo, int64_t hi, int64_t n)
{
    int64_t i = 0;
    for (; i < lo; i += LI_W) { v_store(dst + i, v_zero()); }
    for (i = lo; i + LI_W <= hi; i += LI_W) { v_store(dst + i, v_load(x + i)); }
    if (i < hi) {
        v_store(dst + i, v_load_part(x + i, hi - i));
        i += LI_W;
    }
    for (; i < n; i += LI_W) { v_store(dst + i, v_zero()); }
}

/* One row of each of `channels` channels, x_next and dst_next apart: elements lo .. hi - 1 of a span, 0 for the others. */
LI_INLINE void li_conv_rows(const li_conv *c, float *dst, int64_t dst_next, const float *x, int64_t channels, int64_t lo, int64_t hi, int64_t span)
{
    const int64_t s = c->phases, step = c->a->x_stride[4], x_next = c->a->x_stride[1];
    if (s == 1 && step == 1 && span <= LI_W) {
        for (int64_t ch = 0; ch < channels; ch++, dst += dst_next, x += x_next) { v_store_most(dst, v_load_between(x, lo, hi), span); }
    } else if (s == 1 && step == 1) {
        for (int64_t ch = 0; ch < channels; ch++, dst += dst_next, x += x_next) { li_conv_row(dst, x, lo, hi, span); }
    } else {
        for (int64_t ch = 0; ch < channels; ch++, dst += dst_next, x += x_next) {
            for (int64_t q = 0; q < s; q++) {
                for (int64_t i = q, j = q * c->phase; i < span; i += s, j++) { dst[j] = i >= lo && i < hi ? x[i * step] : 0.0f; }
            }
        }
    }
}

/* The rows of x that positions first .. first + n - 1 of line (p0, p1) read, of `channels` channels from x. */
LI_NOINLINE void li_conv_stage(const li_conv *c, const float *first_x, int64_t channels, int64_t p0, int64_t p1, int64_t first, int64_t n)
{
    const li_conv_args *a = c->a;
    const int64_t row = c->phase * c->phases, rows = a->kernel[0] * a->kernel[1];
    const int64_t span = (n - 1) * a->stride[2] + (a->kernel[2] - 1) * a->dilation[2] + 1;
    const int64_t start = first * a->stride[2] - a->pad[2];
    int64_t lo = start < 0 ? -start : 0, hi = a->in[2] - start < span ? a->in[2] - start : span;
    if (lo > span) { lo = span; }
    if (hi < lo) { hi = lo; }
    const int64_t at_once = rows == 1 ? channels : 1; /* rows in the order in which they lie: a store reaches into those behind */
    float *dst = c->rows;
    for (int64_t ch = 0; ch < channels; ch += at_once, first_x += a->x_stride[1]) {
        for (int64_t k0 = 0; k0 < a->kernel[0]; k0++) {
            for (int64_t k1 = 0; k1 < a->kernel[1]; k1++, dst += row) {
                const int64_t i0 = p0 * a->stride[0] + k0 * a->dilation[0] - a->pad[0];
                const int64_t i1 = p1 * a->stride[1] + k1 * a->dilation[1] - a->pad[1];
                const int inside = i0 >= 0 && i0 < a->in[0] && i1 >= 0 && i1 < a->in[1];
                const float *x = first_x + (inside ? i0 * a->x_stride[2] + i1 * a->x_stride[3] : 0) + start * a->x_stride[4];
                li_conv_rows(c, dst, row, x, at_once, inside ? lo : 0, inside ? hi : 0, span);
            }
        }
    }
}

/* F filters from m, Q vectors of positions, n of them. */
LI_INLINE void li_conv_tile(const li_conv *c, int64_t m, const float *x, int64_t n, float *y, const int F, const int Q)
{
    const float *w = c->w + m / LI_UNITS * c->K * LI_UNITS + m % LI_UNITS;
    const int64_t tail = n - (Q - 1) * LI_W, y_pos = c->a->y_stride[4], y_row = c->a->y_stride[1], K = c->K;
    const int part = !c->staged && tail < LI_W;
    const int64_t *at = c->at;
    vf acc[LI_ACC];
    LI_UNROLL for (int f = 0; f < F; f++) {
        LI_UNROLL for (int q = 0; q < Q; q++) { acc[f * Q + q] = v_set1(c->bias ? c->bias[m + f] : 0.0f); }
    }
    for (int64_t k = 0; k < K; k++, w += LI_UNITS) {
        const float *from = x + at[k];
        vf xs[LI_CONV_Q];
        LI_UNROLL for (int q = 0; q < Q - 1; q++) { xs[q] = v_load(from + q * LI_W); }
        xs[Q - 1] = part ? v_load_part(from + (Q - 1) * LI_W, tail) : v_load(from + (Q - 1) * LI_W);
        LI_UNROLL for (int f = 0; f < F; f++) {
            const vf weight = v_set1(w[f]);
            LI_UNROLL for (int q = 0; q < Q; q++) { acc[f * Q + q] = v_fma(weight, xs[q], acc[f * Q + q]); }
        }
    }
    if (y_pos == 1 && c->a->act.code == LI_ACT_NONE) {
        LI_UNROLL for (int f = 0; f < F; f++) {
            LI_UNROLL for (int q = 0; q < Q - 1; q++) { v_store(y + f * y_row + q * LI_W, acc[f * Q + q]); }
            float *end = y + f * y_row + (Q - 1) * LI_W;
            if (tail >= LI_W) {
                v_store(end, acc[f * Q + Q - 1]);
            } else {
                v_store_part(end, acc[f * Q + Q - 1], tail);
            }
        }
        return;
    }
    float lane[LI_ACC * LI_W];
    LI_UNROLL for (int i = 0; i < F * Q; i++) { v_store(lane + i * LI_W, acc[i]); }
    li_finish(&c->a->act, lane, Q * LI_W, F, n, y, y_row, y_pos);
}

/* One line of n positions. */
#define LI_CONV_FILTERS(F)                                                                                           \
    LI_NOINLINE void li_conv_filters_##F(const li_conv *c, int64_t m, const float *x, int64_t n, float *y)             \
    {                                                                                                                \
        const int64_t step = LI_CONV_Q * LI_W, y_pos = c->a->y_stride[4];                                              \
        for (; n > 2 * LI_W; n -= step, x += step, y += step * y_pos) {                                                \
            li_conv_tile(c, m, x, n < step ? n : step, y, F, 3);                                                       \
        }                                                                                                            \
        if (n > LI_W) {                                                                                              \
            li_conv_tile(c, m, x, n, y, F, 2);                                                                         \
        } else if (n > 0) {                                                                                          \
            li_conv_tile(c, m, x, n, y, F, 1);                                                                         \
        }                                                                                                            \
    }
LI_CONV_FILTERS(1)
LI_CONV_FILTERS(2)
LI_CONV_FILTERS(4)
#if LI_CONV_F >= 8
LI_CONV_FILTERS(8)
#endif

LI_NOINLINE void li_conv_lanes(const li_conv *c, const float *x, int64_t n, float *y)
{
    for (int64_t m = 0, F; m < c->M; m += F) {
        const int64_t left = c->M - m;
        float *to = y + m * c->a->y_stride[1];
        F = left >= LI_CONV_F ? LI_CONV_F : left >= 4 ? 4 : left >= 2 ? 2 : 1;
#if LI_CONV_F >= 8
        if (F == 8) { li_conv_filters_8(c, m, x, n, to); }
#endif
        if (F == 4) { li_conv_filters_4(c, m, x, n, to); }
        if (F == 2) { li_conv_filters_2(c, m, x, n, to); }
        if (F == 1) { li_conv_filters_1(c, m, x, n, to); }
    }
}

/* Lanes across filters: n columns, `col` apart. */
LI_INLINE void li_conv_product(const li_conv *c, const float *x, int64_t n, int64_t col, int64_t step, const int64_t *at, float *y,
                               int64_t y_pos)
{
    li_gates s = {
        .a = {c->w, c->K * LI_UNITS, LI_UNITS, x, col, step, c->K, at},
        .init = c->bias ? c->bias : li_zeros,
        .init_panel = c->bias ? LI_UNITS : 0,
    };
    li_product(&s, n, c->M, &c->a->act, y, y_pos, c->a->y_stride[1]);
}

/* The distance of successive k of the only patch, or 0 if they are not evenly spaced inside x. */
LI_INLINE int64_t li_patch_step(const li_conv_args *a, int64_t C)
{
    int64_t step = 0, count = 1;
    for (int d = 2; d >= -1; d--) {
        const int64_t size = d < 0 ? C : a->kernel[d], stride = d < 0 ? a->x_stride[1] : a->dilation[d] * a->x_stride[2 + d];
        if (size == 1) { continue; }
        if (step == 0) { step = stride; }
        if (stride != step * count) { return 0; }
        count *= size;
    }
    return count == 1 ? 1 : step;
}

/* Are lanes across positions the cheaper way: multiply-adds, then moves: of every output across filters, of strided rows. */
LI_INLINE int li_conv_across(const li_conv *c)
{
    const li_conv_args *a = c->a;
    const int64_t n = a->out[2], whole = n / c->block * ((c->block + LI_W - 1) / LI_W) + (n % c->block + LI_W - 1) / LI_W;
    const int64_t panels = (c->M + LI_UNITS - 1) / LI_UNITS * LI_V;
    const int64_t moved = a->stride[2] * a->x_stride[4] == 1 ? 0 : c->C * a->kernel[0] * a->kernel[1] * n * a->stride[2];
    return c->M * whole * c->K + moved <= n * panels * c->K + (a->y_stride[1] == 1 ? 0 : n * c->M);
}

/* Group g of n positions: x where the first of them is read, y where it goes. */
LI_INLINE void li_conv_group(li_conv *c, int64_t g, const float *x, int64_t n, float *y, int across)
{
    const li_conv_args *a = c->a;
    c->w = c->w_all + g * a->w_group;
    c->bias = c->bias_all ? c->bias_all + g * li_pad_units(c->M) : 0;
    if (across) {
        li_conv_lanes(c, x, n, y);
    } else {
        li_conv_product(c, x, n, c->col, 0, c->at, y, a->y_stride[4]);
    }
}

/* All lines of one batch entry. Rows of several small groups are staged before any is used: a load that takes parts of two
 * stores has to wait for both. */
LI_INLINE void li_conv_lines(li_conv *c, int across)
{
    const li_conv_args *a = c->a;
    const int64_t group_rows = c->C * a->kernel[0] * a->kernel[1] * c->phase * c->phases;
    const int64_t few = LI_CONV_STAGE / (group_rows > 0 ? group_rows : 1), at_once = few > 1 ? few : 1;
    for (int64_t p0 = 0; p0 < a->out[0]; p0++) {
        for (int64_t p1 = 0; p1 < a->out[1]; p1++) {
            for (int64_t i = 0, n; i < a->out[2]; i += n) {
                n = a->out[2] - i < c->block ? a->out[2] - i : c->block;
                float *y = c->y + p0 * a->y_stride[2] + p1 * a->y_stride[3] + i * a->y_stride[4];
                const float *x = c->x + (p0 * a->stride[0] - a->pad[0]) * a->x_stride[2] +
                                 (p1 * a->stride[1] - a->pad[1]) * a->x_stride[3] + (i * a->stride[2] - a->pad[2]) * a->x_stride[4];
                for (int64_t g = 0; g < a->groups; g++) {
                    const int64_t held = g % at_once, left = a->groups - g;
                    if (c->staged && held == 0) {
                        li_conv_stage(c, c->x + g * c->C * a->x_stride[1], (left < at_once ? left : at_once) * c->C, p0, p1, i, n);
                    }
                    li_conv_group(c, g, c->staged ? c->rows + held * group_rows : x + g * c->C * a->x_stride[1], n,
                                  y + g * c->M * a->y_stride[1], across);
                }
            }
        }
    }
}

static li_status LI_NAME(conv_f32)(const void *args, char *const *base)
{
    li_conv_args a = li_conv_three(args);
    const float *x = li_at(a.x, base), *w = li_at(a.w, base), *bias = li_at(a.bias, base);
    float *y = li_at(a.y, base);
    li_conv c = {.a = &a, .C = a.channels / a.groups, .M = a.filters / a.groups};
    c.K = c.C * a.kernel[0] * a.kernel[1] * a.kernel[2];
    li_conv_pointwise(&a);
    const int inside = li_conv_inside(&a), single = a.out[0] * a.out[1] * a.out[2] == 1;
    const int64_t step = single && inside ? li_patch_step(&a, c.C) : 0;
    if (step != 0) { x -= a.pad[0] * a.x_stride[2] + a.pad[1] * a.x_stride[3] + a.pad[2] * a.x_stride[4]; }
    c.block = li_conv_block(c.C * a.kernel[0] * a.kernel[1], a.stride[2], a.out[2]);
    const int across = li_conv_across(&c);
    c.staged = !inside || (across && a.stride[2] * a.x_stride[4] != 1 && a.out[2] > 1);
    c.phases = across ? a.stride[2] : 1;
    c.phase = a.stride[2] / c.phases * li_conv_phase(c.block, a.stride[2], a.kernel[2], a.dilation[2]);
    c.col = a.stride[2] / c.phases * (c.staged ? 1 : a.x_stride[4]);
    c.at = li_at(a.scratch, base);
    c.rows = (float *)(void *)(c.at + c.K);
    if (step == 0) { li_conv_table(&c); }
    if (step != 0) { /* one position: batch entries are the columns */
        for (int64_t g = 0; g < a.groups; g++) {
            c.w = w + g * a.w_group;
            c.bias = bias ? bias + g * li_pad_units(c.M) : 0;
            li_conv_product(&c, x + g * c.C * a.x_stride[1], a.n, a.x_stride[0], step, 0, y + g * c.M * a.y_stride[1], a.y_stride[0]);
        }
        return LI_OK;
    }
    c.w_all = w;
    c.bias_all = bias;
    for (int64_t n = 0; n < a.n; n++) {
        c.x = x + n * a.x_stride[0];
        c.y = y + n * a.y_stride[0];
        li_conv_lines(&c, across);
    }
    return LI_OK;
}
