/* conv: the tiles of the two ways, and the slot. What is read, and from where: conv_rows.h. */

/* F filters from m, Q vectors of positions, n of them: terms k .. end - 1 of their sums, which lie in y between two blocks of
 * terms. */
LI_INLINE void li_conv_tile(const li_conv *c, int64_t m, int64_t k, int64_t end, const float *x, int64_t n, float *y, const int F,
                            const int Q)
{
    const li_weight *w = (const li_weight *)c->w + (m / LI_UNITS * c->K + k) * LI_UNITS + m % LI_UNITS;
    const int64_t tail = n - (Q - 1) * LI_W, y_pos = c->a->y_stride[4], y_row = c->a->y_stride[1];
    const int part = !c->staged && tail < LI_W, last = end == c->K;
    const int64_t *at = c->at;
    vf acc[LI_ACC];
    LI_UNROLL for (int f = 0; f < F; f++) {
        const float *from = y + f * y_row;
        LI_UNROLL for (int q = 0; q < Q; q++) {
            if (k == 0) {
                acc[f * Q + q] = v_set1(c->bias ? c->bias[m + f] : 0.0f);
            } else if (q < Q - 1 || tail >= LI_W) {
                acc[f * Q + q] = v_load(from + q * LI_W);
            } else {
                acc[f * Q + q] = v_load_part(from + q * LI_W, tail);
            }
        }
    }
    for (; k < end; k++, w += LI_UNITS) {
        const float *from = x + at[k];
        vf xs[LI_CONV_Q];
        LI_UNROLL for (int q = 0; q < Q - 1; q++) { xs[q] = v_load(from + q * LI_W); }
        xs[Q - 1] = part ? v_load_part(from + (Q - 1) * LI_W, tail) : v_load(from + (Q - 1) * LI_W);
        LI_UNROLL for (int f = 0; f < F; f++) {
            const vf weight = li_weight_set1(w + f);
            LI_UNROLL for (int q = 0; q < Q; q++) { acc[f * Q + q] = v_fma(weight, xs[q], acc[f * Q + q]); }
        }
    }
    if (last && c->a->act.code == LI_ACT_RELU) {
        LI_UNROLL for (int i = 0; i < F * Q; i++) { acc[i] = li_relu(acc[i]); }
    }
    if (!last || (y_pos == 1 && (c->a->act.code == LI_ACT_NONE || c->a->act.code == LI_ACT_RELU))) {
        LI_UNROLL for (int f = 0; f < F; f++) {
            LI_UNROLL for (int q = 0; q < Q - 1; q++) { v_store(y + f * y_row + q * LI_W, acc[f * Q + q]); }
            float *rest = y + f * y_row + (Q - 1) * LI_W;
            if (tail >= LI_W) {
                v_store(rest, acc[f * Q + Q - 1]);
            } else {
                v_store_part(rest, acc[f * Q + Q - 1], tail);
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
    LI_NOINLINE void li_conv_filters_##F(const li_conv *c, int64_t m, int64_t k, int64_t end, const float *x,          \
                                         int64_t n, float *y)                                                        \
    {                                                                                                                \
        const int64_t step = LI_CONV_Q * LI_W, y_pos = c->a->y_stride[4];                                              \
        for (; n > 2 * LI_W; n -= step, x += step, y += step * y_pos) {                                                \
            li_conv_tile(c, m, k, end, x, n < step ? n : step, y, F, 3);                                               \
        }                                                                                                            \
        if (n > LI_W) {                                                                                              \
            li_conv_tile(c, m, k, end, x, n, y, F, 2);                                                                 \
        } else if (n > 0) {                                                                                          \
            li_conv_tile(c, m, k, end, x, n, y, F, 1);                                                                 \
        }                                                                                                            \
    }
LI_CONV_FILTERS(1)
LI_CONV_FILTERS(2)
LI_CONV_FILTERS(4)
#if LI_CONV_F >= 8
LI_CONV_FILTERS(8)
#endif

/* All filters, terms k .. end - 1. */
LI_INLINE void li_conv_terms(const li_conv *c, int64_t k, int64_t end, const float *x, int64_t n, float *y)
{
    for (int64_t m = 0, F; m < c->M; m += F) {
        const int64_t left = c->M - m;
        float *to = y + m * c->a->y_stride[1];
        F = left >= LI_CONV_F ? LI_CONV_F : left >= 4 ? 4 : left >= 2 ? 2 : 1;
#if LI_CONV_F >= 8
        if (F == 8) { li_conv_filters_8(c, m, k, end, x, n, to); }
#endif
        if (F == 4) { li_conv_filters_4(c, m, k, end, x, n, to); }
        if (F == 2) { li_conv_filters_2(c, m, k, end, x, n, to); }
        if (F == 1) { li_conv_filters_1(c, m, k, end, x, n, to); }
    }
}

/* One line of n positions. Every filter reads the same rows of x. */
LI_NOINLINE void li_conv_lanes(const li_conv *c, const float *x, int64_t n, float *y)
{
    for (int64_t i = 0; i < n; i += c->strip) {
        const int64_t here = n - i < c->strip ? n - i : c->strip;
        int64_t k = 0, end;
        do { /* once where there is no term at all: the bias */
            end = c->K - k > c->terms ? k + c->terms : c->K;
            li_conv_terms(c, k, end, x + i, here, y + i * c->a->y_stride[4]);
            k = end;
        } while (end < c->K);
    }
}

/* So few terms and positions at once that the rows of x stay in the nearest cache while all filters read them. */
LI_INLINE void li_conv_near(li_conv *c)
{
    const int64_t tile = LI_CONV_Q * LI_W, width = c->a->kernel[2], rows = c->C * c->a->kernel[0] * c->a->kernel[1];
    const int64_t blocks = c->a->y_stride[4] == 1 ? (rows * (tile + LI_W) + LI_CONV_NEAR - 1) / LI_CONV_NEAR : 1;
    const int64_t fit = LI_CONV_NEAR / (rows + 1) / tile * tile;
    c->terms = blocks > 1 ? (rows + blocks - 1) / blocks * width : c->K;
    c->strip = c->M <= LI_CONV_F ? c->a->out[2] : fit > tile ? fit : tile;
}

/* Lanes across filters: n columns, `col` apart. */
LI_INLINE void li_conv_product(const li_conv *c, const float *x, int64_t n, int64_t col, int64_t step, const int64_t *at, float *y,
                               int64_t y_pos)
{
    li_gates s = {
        .a = {.w = c->w, .panel = c->K * LI_UNITS, .row = LI_UNITS, .x = x, .col = col, .step = step, .K = c->K, .at = at},
        .init = c->bias ? c->bias : li_zeros,
        .init_panel = c->bias ? LI_UNITS : 0,
    };
    li_product(&s, n, c->M, &c->a->act, y, y_pos, c->a->y_stride[1]);
}

/* Group g of n positions: x where the first of them is read, y where it goes. */
LI_INLINE void li_conv_group(li_conv *c, int64_t g, const float *x, int64_t n, float *y, int across)
{
    const li_conv_args *a = c->a;
    c->w = (const li_weight *)c->w_all + g * a->w_group;
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

li_status LI_SLOT_OF(conv)(const void *args, char *const *base)
{
    li_conv_args a = li_conv_three(args);
    const float *x = li_at(a.x, base), *bias = li_at(a.bias, base);
    const li_weight *w = li_at(a.w, base);
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
    if (across) { li_conv_near(&c); }
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
