/* matmul: the product with packed weights, over the micro-kernel. Contract: li_kernels.h. */

LI_INLINE void li_gates_of(const li_gates *s, int64_t n_panels, int64_t n_cols)
{
#if !LI_BYTES
    if (s->a.at) {
        li_gates_at(s, n_panels, n_cols);
        return;
    }
#endif
    li_gates_1(s, n_panels, n_cols);
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

#if LI_BYTES
li_status LI_SLOT_OF(matmul)(const void *args, char *const *base)
{
    const li_matmul_i8_args *i8 = args;
    const li_matmul_args *a = &i8->product;
    const float *bias = li_at(a->bias, base), *x = li_at(a->x, base);
    float *y = li_at(a->y, base);
    int32_t *rows = li_at(i8->scratch, base);
    const int64_t row = li_input_row(a->k);
    const li_quantiser given = {i8->quantize, i8->weight_zeros, (float)i8->scale, (int32_t)i8->zero, a->n == 1};
    const li_quantiser how = li_quantise_all(given, x, 1, 0, a->n, a->x_row, a->x_k, a->k);
    for (int64_t i = 0, n; i < a->n; i += n) {
        n = a->n - i < LI_QUANT_ROWS ? a->n - i : LI_QUANT_ROWS;
        li_gates s = {
            .a = {.w = li_at(a->w, base), .panel = (3 + (a->k + 3) / 4) * LI_UNITS, .row = LI_UNITS, .x = rows, .col = row, .K = a->k,
                  .zeros = how.zeros},
            .init = bias ? bias : li_zeros,
            .init_panel = bias ? LI_UNITS : 0,
        };
        li_quantise_rows(rows, how, x + i * a->x_row, a->x_row, n, a->x_k, a->k);
        li_product(&s, n, a->m, &a->act, y + i * a->y_row, a->y_row, a->y_col);
    }
    return LI_OK;
}
#else
li_status LI_SLOT_OF(matmul)(const void *args, char *const *base)
{
    const li_matmul_args *a = args;
    const float *bias = li_at(a->bias, base);
    li_gates s = {
        .a = {.w = li_at(a->w, base), .panel = a->k * LI_UNITS, .row = LI_UNITS, .x = li_at(a->x, base), .col = a->x_row, .step = a->x_k,
              .K = a->k},
        .init = bias ? bias : li_zeros,
        .init_panel = bias ? LI_UNITS : 0,
    };
    li_product(&s, a->n, a->m, &a->act, li_at(a->y, base), a->y_row, a->y_col);
    return LI_OK;
}
#endif
