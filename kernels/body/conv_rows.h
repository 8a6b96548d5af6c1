/* Convolution: sums over channel and kernel, in that order, one line of positions (the innermost axis) at a time. Nothing is
 * gathered: term k of every position is read through a table of offsets, from x itself where no position reaches outside
 * it, else from its rows copied into scratch with zeros around them (strided lines apart by phase, so that neighbours lie
 * side by side). Contract: li_kernels.h. Every path sums k in the same order.
 *
 *   one position, patch evenly spaced in x   a matrix times a vector (streaming)
 *   lanes across positions                   few filters or many positions: rows of x times one weight (depthwise)
 *   lanes across filters                     else: the micro-kernel of gates.h */
#include "../li_block.h"

#define LI_CONV_Q 3                     /* vectors of positions in a tile ... */
#define LI_CONV_F (LI_ACC / LI_CONV_Q) /* ... times filters */
#define LI_CONV_NEAR 6144 /* floats of x that stay in the nearest cache while all filters read them */

typedef struct li_conv {
    const li_conv_args *a;
    const float *x, *bias; /* x: of this batch entry; bias: of this group */
    const void *w;         /* weights of this group */
    const void *w_all;
    const float *bias_all;
    float *y, *rows;
    int64_t *at;      /* [K]: where term k lies, from the first position of a line */
    int64_t C, M, K;  /* of one group */
    int64_t block, col;      /* positions at once; distance of neighbouring positions */
    int64_t phases, phase;   /* of a staged row: how many, floats of each */
    int64_t terms, strip;    /* with lanes across positions: so many of K, and of the positions of a line, at once */
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
