/* Matrix products over the micro-kernel: matmul_f32 (packed weights), matmul_dyn_f32 (b packed, or read where it
 * lies). Contracts: li_kernels.h. */

/* y[n][m] = act(buf[n][m]). Rows of buf are ld floats apart and hold whole vectors; buf is used up. */
LI_NOINLINE void li_finish(const li_act *act, float *buf, int64_t ld, int64_t n, int64_t m, float *y, int64_t y_row,
                           int64_t y_col)
{
    if (act->code != LI_ACT_NONE) {
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < m; j += LI_W) { v_store(buf + i * ld + j, li_act_apply(act, v_load(buf + i * ld + j))); }
        }
    }
    if (y_col == 1) {
        for (int64_t i = 0; i < n; i++) {
            int64_t j = 0;
            for (; j + LI_W <= m; j += LI_W) { v_store(y + i * y_row + j, v_load(buf + i * ld + j)); }
            if (j < m) { v_store_part(y + i * y_row + j, v_load(buf + i * ld + j), m - j); }
        }
    } else if (y_row == 1) { /* channels first: positions side by side */
        int64_t i = 0;
        for (; i + 4 <= n; i += 4) {
            int64_t j = 0;
            for (; j + 4 <= m; j += 4) { v_turn4(y + j * y_col + i, y_col, buf + i * ld + j, ld); }
            for (; j < m; j++) {
                for (int64_t q = i; q < i + 4; q++) { y[j * y_col + q] = buf[q * ld + j]; }
            }
        }
        for (; i < n; i++) {
            for (int64_t j = 0; j < m; j++) { y[j * y_col + i] = buf[i * ld + j]; }
        }
    } else {
        for (int64_t i = 0; i < n; i++) {
            for (int64_t j = 0; j < m; j++) { y[i * y_row + j * y_col] = buf[i * ld + j]; }
        }
    }
}

#define LI_BLOCK_PANELS 8 /* a block of output: finished while it is in L1 */
#define LI_BLOCK_COLS 24

/* Columns of the next block: as many as in those behind it, in whole tiles, since few columns read all weights for little. */
LI_INLINE int64_t li_block_cols(int64_t left)
{
    const int64_t blocks = (left + LI_BLOCK_COLS - 1) / LI_BLOCK_COLS, even = (left + blocks - 1) / blocks;
    return blocks == 1 ? left : (even + LI_COLS - 1) / LI_COLS * LI_COLS;
}

LI_INLINE void li_gates_of(const li_gates *s, int64_t n_panels, int64_t n_cols)
{
    if (s->a.at) {
        li_gates_at(s, n_panels, n_cols);
    } else {
        li_gates_1(s, n_panels, n_cols);
    }
}

/* y = act(init + x w): n columns, m outputs. Whole panels go to y straight from the registers when y is dense; the
 * last panel, other strides and activations by way of a block on the stack. */
LI_INLINE void li_product(li_gates *s, int64_t n, int64_t m, const li_act *act, float *y, int64_t y_row, int64_t y_col)
{
    float buf[LI_BLOCK_COLS * LI_BLOCK_PANELS * LI_UNITS];
    const li_gates whole = *s;
    const int64_t n_panels = (m + LI_UNITS - 1) / LI_UNITS;
    int64_t p = 0;
    if (y_col == 1 && act->code == LI_ACT_NONE) {
        p = m / LI_UNITS;
        s->z = y;
        s->z_col = y_row;
        s->z_panel = LI_UNITS;
        if (p > 0) { li_gates_of(s, p, n); }
    }
    for (; p < n_panels; p += LI_BLOCK_PANELS) {
        const int64_t panels = n_panels - p < LI_BLOCK_PANELS ? n_panels - p : LI_BLOCK_PANELS;
        const int64_t left = m - p * LI_UNITS;
        for (int64_t i = 0, cols; i < n; i += cols) {
            cols = li_block_cols(n - i);
            s->a.w = whole.a.w + p * whole.a.panel;
            s->a.x = whole.a.x + i * whole.a.col;
            s->init = whole.init + p * whole.init_panel;
            s->z = buf;
            s->z_col = LI_BLOCK_PANELS * LI_UNITS;
            s->z_panel = LI_UNITS;
            li_gates_of(s, panels, cols);
            li_finish(act, buf, s->z_col, cols, left < panels * LI_UNITS ? left : panels * LI_UNITS,
                      y + i * y_row + p * LI_UNITS * y_col, y_row, y_col);
        }
    }
}

static li_status LI_NAME(matmul_f32)(const void *args, char *const *base)
{
    const li_matmul_args *a = args;
    const float *bias = li_at(a->bias, base);
    li_gates s = {
        .a = {li_at(a->w, base), a->k * LI_UNITS, LI_UNITS, li_at(a->x, base), a->x_row, a->x_k, a->k, 0},
        .init = bias ? bias : li_zeros,
        .init_panel = bias ? LI_UNITS : 0,
    };
    li_product(&s, a->n, a->m, &a->act, li_at(a->y, base), a->y_row, a->y_col);
    return LI_OK;
}

/* dst[k][16] = b[k][j .. j + units - 1], zeros behind. */
LI_INLINE void li_pack_panel(float *dst, const float *b, int64_t K, int64_t b_k, int64_t b_col, int64_t units)
{
    if (b_col == 1 && units == LI_UNITS) {
        for (int64_t k = 0; k < K; k++) {
            LI_UNROLL for (int v = 0; v < LI_V; v++) { v_store(dst + k * LI_UNITS + v * LI_W, v_load(b + k * b_k + v * LI_W)); }
        }
        return;
    }
    for (int64_t k = 0; k < K; k++) {
        for (int64_t u = 0; u < LI_UNITS; u++) { dst[k * LI_UNITS + u] = u < units ? b[k * b_k + u * b_col] : 0.0f; }
    }
}

#define LI_FEW_COLS 12 /* below, packing b costs more than it saves */

LI_NOINLINE void li_matmul_dyn_one(const li_matmul_dyn_args *a, const float *x, const float *b, float *y, float *packed)
{
    const li_act none = {LI_ACT_NONE, 0.0, 0.0};
    const int64_t n_panels = (a->m + LI_UNITS - 1) / LI_UNITS;
    int64_t in_place = 0; /* panels of b read where they lie */
    li_gates s = {
        .a = {b, LI_UNITS, a->b_k, x, a->a_row, a->a_k, a->k, 0},
        .init = li_zeros,
        .z = y,
        .z_col = a->y_row,
        .z_panel = LI_UNITS,
    };
    if (a->b_col == 1 && a->n < LI_FEW_COLS) {
        in_place = a->m / LI_UNITS;
        if (in_place > 0) { li_gates_1(&s, in_place, a->n); }
    }
    if (in_place == n_panels) { return; }
    for (int64_t p = in_place; p < n_panels; p++) {
        const int64_t left = a->m - p * LI_UNITS;
        li_pack_panel(packed + p * a->k * LI_UNITS, b + p * LI_UNITS * a->b_col, a->k, a->b_k, a->b_col,
                      left < LI_UNITS ? left : LI_UNITS);
    }
    s.a.w = packed + in_place * a->k * LI_UNITS;
    s.a.panel = a->k * LI_UNITS;
    s.a.row = LI_UNITS;
    li_product(&s, a->n, a->m - in_place * LI_UNITS, &none, y + in_place * LI_UNITS, a->y_row, 1);
}

static li_status LI_NAME(matmul_dyn_f32)(const void *args, char *const *base)
{
    const li_matmul_dyn_args *a = args;
    const float *x = li_at(a->a, base), *b = li_at(a->b, base);
    float *y = li_at(a->y, base), *packed = li_at(a->scratch, base);
    int64_t total = 1;
    for (int64_t d = 0; d < a->batch_rank; d++) { total *= a->batch[d]; }
    for (int64_t i = 0; i < total; i++) {
        int64_t rest = i, at_a = 0, at_b = 0, at_y = 0;
        for (int64_t d = a->batch_rank - 1; d >= 0; d--) {
            const int64_t j = rest % a->batch[d];
            rest /= a->batch[d];
            at_a += j * a->a_batch[d];
            at_b += j * a->b_batch[d];
            at_y += j * a->y_batch[d];
        }
        li_matmul_dyn_one(a, x + at_a, b + at_b, y + at_y, packed);
    }
    return LI_OK;
}
