/* conv_f32 as matrix products: the patches of a block of positions are gathered into scratch, k by position, and go
 * through the micro-kernel. Contract: li_kernels.h. Every path sums k in the same order.
 *
 *   one position, patch evenly spaced in x   no gathering: a matrix times a vector (streaming)
 *   few filters in a group                   lanes run across positions (depthwise)
 *   else                                     lanes run across filters */

typedef struct li_conv {
    const li_conv_args *a;
    const float *x, *w, *bias; /* of this batch entry and group */
    float *y, *patch;
    int64_t C, M, K; /* of one group */
    int64_t positions, block;
} li_conv;

/* dst[i] = x[at + i * stride] for n positions of one line of the innermost axis, 0 outside it. */
LI_INLINE void li_patch_line(const li_conv_args *a, const float *x, int64_t at, int64_t n, float *dst)
{
    const int64_t stride = a->stride[2], step = stride * a->x_stride[4], W = a->in[2];
    int64_t lo = at < 0 ? (-at + stride - 1) / stride : 0, hi = at >= W ? 0 : (W - 1 - at) / stride + 1;
    if (lo > n) { lo = n; }
    if (hi > n) { hi = n; }
    if (hi < lo) { hi = lo; }
    const float *src = x + at * a->x_stride[4];
    for (int64_t i = 0; i < lo; i++) { dst[i] = 0.0f; }
    if (step == 1) {
        for (int64_t i = lo; i < hi; i++) { dst[i] = src[i]; }
    } else {
        for (int64_t i = lo; i < hi; i++) { dst[i] = src[i * step]; }
    }
    for (int64_t i = hi; i < n; i++) { dst[i] = 0.0f; }
}

/* patch[k][0 .. n) for positions first .. first + n - 1 */
LI_NOINLINE void li_gather_patches(const li_conv *c, int64_t first, int64_t n)
{
    const li_conv_args *a = c->a;
    const int64_t O2 = a->out[2], O1 = a->out[1];
    int64_t k = 0;
    for (int64_t ch = 0; ch < c->C; ch++) {
        for (int64_t k0 = 0; k0 < a->kernel[0]; k0++) {
            for (int64_t k1 = 0; k1 < a->kernel[1]; k1++) {
                for (int64_t k2 = 0; k2 < a->kernel[2]; k2++, k++) {
                    float *dst = c->patch + k * c->block;
                    for (int64_t i = 0; i < n;) {
                        const int64_t pos = first + i, p2 = pos % O2, p1 = pos / O2 % O1, p0 = pos / O2 / O1;
                        const int64_t run = O2 - p2 < n - i ? O2 - p2 : n - i;
                        const int64_t i0 = p0 * a->stride[0] + k0 * a->dilation[0] - a->pad[0];
                        const int64_t i1 = p1 * a->stride[1] + k1 * a->dilation[1] - a->pad[1];
                        const int64_t i2 = p2 * a->stride[2] + k2 * a->dilation[2] - a->pad[2];
                        if (i0 < 0 || i0 >= a->in[0] || i1 < 0 || i1 >= a->in[1]) {
                            memset(dst + i, 0, (size_t)run * sizeof(float));
                        } else {
                            li_patch_line(a, c->x + ch * a->x_stride[1] + i0 * a->x_stride[2] + i1 * a->x_stride[3], i2,
                                          run, dst + i);
                        }
                        i += run;
                    }
                }
            }
        }
    }
}

#define LI_FEW_FILTERS 8 /* below, half of a panel or more would be padding */

/* Q vectors of positions of filter m. Reads whole vectors: a row of patches holds a multiple of 16 positions. */
LI_INLINE void li_conv_lanes(const li_conv *c, int64_t m, int64_t i, int64_t n, float *y, int64_t y_pos, const int Q)
{
    const float *w = c->w + m, *patch = c->patch + i;
    const vf first = v_set1(c->bias ? c->bias[m] : 0.0f);
    vf acc[4];
    float lane[4 * LI_W];
    LI_UNROLL for (int q = 0; q < Q; q++) { acc[q] = first; }
    for (int64_t k = 0; k < c->K; k++) {
        const vf weight = v_set1(w[k * LI_UNITS]);
        LI_UNROLL for (int q = 0; q < Q; q++) { acc[q] = v_fma(weight, v_load(patch + k * c->block + q * LI_W), acc[q]); }
    }
    LI_UNROLL for (int q = 0; q < Q; q++) { v_store(lane + q * LI_W, acc[q]); }
    li_finish(&c->a->act, lane, 0, 1, n < Q * LI_W ? n : Q * LI_W, y, 0, y_pos);
}

/* y[m][pos] for few filters: lanes are positions. y_pos = 1 is the fast case of li_finish. */
LI_NOINLINE void li_conv_few(const li_conv *c, int64_t n, float *y, int64_t y_pos)
{
    for (int64_t m = 0; m < c->M; m++) {
        float *row = y + m * c->a->y_stride[1];
        int64_t i = 0;
        for (; i + 4 * LI_W <= n; i += 4 * LI_W) { li_conv_lanes(c, m, i, n - i, row + i * y_pos, y_pos, 4); }
        for (; i < n; i += LI_W) { li_conv_lanes(c, m, i, n - i, row + i * y_pos, y_pos, 1); }
    }
}

/* A product whose columns are read where they lie: `n` of them, `col` apart, k `step` apart. */
LI_INLINE void li_conv_direct(const li_conv *c, int64_t n, const float *x, int64_t col, int64_t step, float *y, int64_t y_pos)
{
    li_gates s = {
        .a = {c->w, c->K * LI_UNITS, LI_UNITS, x, col, step, c->K},
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
        if (d >= 0 && (a->pad[d] != 0 || (size - 1) * a->dilation[d] >= a->in[d])) { return 0; }
        if (size == 1) { continue; }
        if (step == 0) { step = stride; }
        if (stride != step * count) { return 0; }
        count *= size;
    }
    return count == 1 ? 1 : step;
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

LI_NOINLINE void li_conv_one(const li_conv *c, int64_t x_pos)
{
    const li_conv_args *a = c->a;
    const int64_t y_even = li_even(a->out, a->y_stride + 2), O2 = a->out[2], O1 = a->out[1];
    for (int64_t i = 0; i < c->positions;) {
        const int64_t p2 = i % O2;
        int64_t n = c->positions - i;
        if (!y_even && n > O2 - p2) { n = O2 - p2; }
        if (x_pos == 0 && n > c->block) { n = c->block; }
        float *y = c->y + p2 * a->y_stride[4] + i / O2 % O1 * a->y_stride[3] + i / O2 / O1 * a->y_stride[2];
        const int64_t y_pos = y_even ? y_even : a->y_stride[4];
        if (x_pos != 0) {
            li_conv_direct(c, n, c->x + i * x_pos, x_pos, a->x_stride[1], y, y_pos);
        } else {
            li_gather_patches(c, i, n);
            if (c->M < LI_FEW_FILTERS && n >= 4) {
                li_conv_few(c, n, y, y_pos);
            } else {
                li_conv_direct(c, n, c->patch, 1, c->block, y, y_pos);
            }
        }
        i += n;
    }
}

/* The same convolution with its axes at the end of three. */
LI_INLINE li_conv_args li_conv_three(const li_conv_args *a)
{
    li_conv_args n = *a;
    for (int64_t d = 0; d < 3; d++) {
        const int64_t from = d - (3 - a->spatial);
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

static li_status LI_NAME(conv_f32)(const void *args, char *const *base)
{
    const li_conv_args a = li_conv_three(args);
    const float *x = li_at(a.x, base), *w = li_at(a.w, base), *bias = li_at(a.bias, base);
    float *y = li_at(a.y, base);
    li_conv c = {
        .a = &a, .patch = li_at(a.scratch, base),
        .C = a.channels / a.groups, .M = a.filters / a.groups,
        .positions = a.out[0] * a.out[1] * a.out[2],
    };
    c.K = c.C * a.kernel[0] * a.kernel[1] * a.kernel[2];
    c.block = li_conv_block(c.K, a.out);
    const int64_t step = c.positions == 1 ? li_patch_step(&a, c.C) : 0;
    int64_t x_pos = 0;
    if (c.K == c.C && a.pad[0] == 0 && a.pad[1] == 0 && a.pad[2] == 0 && c.M >= LI_FEW_FILTERS) { /* 1 x 1 */
        const int64_t stride[3] = {a.stride[0] * a.x_stride[2], a.stride[1] * a.x_stride[3], a.stride[2] * a.x_stride[4]};
        x_pos = li_even(a.out, stride);
    }
    for (int64_t g = 0; g < a.groups; g++) {
        c.w = w + g * a.w_group;
        c.bias = bias ? bias + g * li_pad_units(c.M) : 0;
        if (step != 0) { /* one position: batch entries are the columns */
            li_conv_direct(&c, a.n, x + g * c.C * a.x_stride[1], a.x_stride[0], step, y + g * c.M * a.y_stride[1],
                           a.y_stride[0]);
            continue;
        }
        for (int64_t n = 0; n < a.n; n++) {
            c.x = x + n * a.x_stride[0] + g * c.C * a.x_stride[1];
            c.y = y + n * a.y_stride[0] + g * c.M * a.y_stride[1];
            li_conv_one(&c, x_pos);
        }
    }
    return LI_OK;
}
