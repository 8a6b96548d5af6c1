/* pool_f32: windows over rows and columns, one output row after the other. The rows of a window are joined into a line
 * first, whole vectors of columns at a time; then the columns of the line, whole vectors of windows at a time. */
#ifndef LI_BODY_POOL_F32_H
#define LI_BODY_POOL_F32_H

#include "../li_block.h"

/* acc and the next place of the window. Of a NaN in x v_max gives x, that is, the NaN. */
LI_INLINE vf li_pool_join_(int max, vf acc, vf x) { return max ? v_sel(v_unord(acc, acc), acc, v_max(acc, x)) : v_add(acc, x); }

/* A vector of columns, the last of them in part: n_rows of x joined, with zeros above and below where a sum begins or ends in
 * the padding. */
LI_INLINE vf li_pool_rows_(int max, const float *p, int64_t x_row, int64_t n_rows, int above, int below, int64_t part)
{
    vf acc = part == LI_W ? v_load(p) : v_load_part(p, part);
    if (above) { acc = li_pool_join_(max, v_zero(), acc); }
    for (int64_t r = 1; r < n_rows; r++) {
        p += x_row;
        acc = li_pool_join_(max, acc, part == LI_W ? v_load(p) : v_load_part(p, part));
    }
    return below ? li_pool_join_(max, acc, v_zero()) : acc;
}

/* y[j] = places of the line joined, `step` apart, the first of window j at j * stride. Whole vectors of the line are read. */
LI_INLINE void li_pool_columns_(int max, float *y, const float *line, int64_t stride, int64_t kernel, int64_t step, int64_t n)
{
    for (int64_t j = 0; j < n; j += LI_W) {
        const float *p = line + j * stride;
        vf acc = stride == 1 ? v_load(p) : v_load_even(p);
        for (int64_t k = 1; k < kernel; k++) {
            p += step;
            acc = li_pool_join_(max, acc, stride == 1 ? v_load(p) : v_load_even(p));
        }
        if (n - j < LI_W) {
            v_store_part(y + j, acc, n - j);
        } else {
            v_store(y + j, acc);
        }
    }
}

/* The same for any stride: the line is parted into `stride` lines, which lie behind it and are read whole. */
LI_INLINE void li_pool_apart_(int max, float *y, float *line, int64_t stride, const li_pool_args *g)
{
    const int64_t n = g->y_cols, n_part = li_pool_part(n, g->kernel[1], stride, g->dilation[1]);
    float *parts = line + stride * n_part;
    for (int64_t i = 0; i < n_part - LI_UNITS; i++) {
        for (int64_t s = 0; s < stride; s++) { parts[s * n_part + i] = line[i * stride + s]; }
    }
    for (int64_t j = 0; j < n; j += LI_W) {
        vf acc = v_load(parts + j);
        for (int64_t k = 1; k < g->kernel[1]; k++) {
            const int64_t at = k * g->dilation[1];
            acc = li_pool_join_(max, acc, v_load(parts + at % stride * n_part + at / stride + j));
        }
        if (n - j < LI_W) {
            v_store_part(y + j, acc, n - j);
        } else {
            v_store(y + j, acc);
        }
    }
}

LI_INLINE void li_pool_plane_(int max, const li_pool_args *g, const float *x, float *y, float *line, int64_t used)
{
    const int64_t down = g->dilation[0];
    for (int64_t i = 0; i < g->y_rows; i++) {
        const int64_t top = i * g->stride[0] - g->pad[0], left = g->rows - top;
        const int64_t first = top < 0 ? (-top + down - 1) / down : 0;
        const int64_t until = left <= 0 ? 0 : (left + down - 1) / down < g->kernel[0] ? (left + down - 1) / down : g->kernel[0];
        float *to = line + g->pad[1], *out = y + i * g->y_stride[2];
        if (first < until) {
            const float *from = x + (top + first * down) * g->x_stride[2];
            const int above = !max && first > 0, below = !max && until < g->kernel[0];
            int64_t c = 0;
            for (; c + LI_W <= used; c += LI_W) {
                v_store(to + c, li_pool_rows_(max, from + c, down * g->x_stride[2], until - first, above, below, LI_W));
            }
            if (c < used) {
                const vf rest = li_pool_rows_(max, from + c, down * g->x_stride[2], until - first, above, below, used - c);
                v_store_part(to + c, rest, used - c);
            }
        } else {
            for (int64_t c = 0; c < used; c++) { to[c] = line[g->pad[1] + used]; }
        }
        switch (g->stride[1]) {
        case 1: li_pool_columns_(max, out, line, 1, g->kernel[1], g->dilation[1], g->y_cols); break;
        case 2: li_pool_columns_(max, out, line, 2, g->kernel[1], g->dilation[1], g->y_cols); break;
        case 3: li_pool_apart_(max, out, line, 3, g); break;
        default: li_pool_apart_(max, out, line, g->stride[1], g); break;
        }
    }
}

li_status LI_NAME(pool_f32)(const void *args, char *const *base)
{
    const li_pool_args *g = (const li_pool_args *)args;
    const int max = g->code == LI_RED_MAX;
    const int64_t n_line = g->stride[1] * li_pool_part(g->y_cols, g->kernel[1], g->stride[1], g->dilation[1]);
    const int64_t seen = n_line - LI_UNITS - g->pad[1], used = g->cols < seen ? g->cols : seen; /* one place behind is padding */
    const float *x = (const float *)li_at(g->x, base);
    float *y = (float *)li_at(g->y, base), *line = (float *)li_at(g->scratch, base);
    const vf outside = max ? v_neg(v_float(vi_set1(LI_INF_BITS))) : v_zero();
    for (int64_t c = 0; c < n_line; c += LI_W) { v_store_part(line + c, outside, n_line - c < LI_W ? n_line - c : LI_W); }
    for (int64_t a = 0; a < g->n[0]; a++) {
        for (int64_t b = 0; b < g->n[1]; b++) {
            const float *from = x + a * g->x_stride[0] + b * g->x_stride[1];
            float *to = y + a * g->y_stride[0] + b * g->y_stride[1];
            if (max) {
                li_pool_plane_(1, g, from, to, line, used);
            } else {
                li_pool_plane_(0, g, from, to, line, used);
            }
        }
    }
    return LI_OK;
}

#endif
