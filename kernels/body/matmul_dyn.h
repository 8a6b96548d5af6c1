/* matmul_dyn_f32: both sides computed; b is packed, or read where it lies. Contract: li_kernels.h. */

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
        .a = {.w = b, .panel = LI_UNITS, .row = a->b_k, .x = x, .col = a->a_row, .step = a->a_k, .K = a->k},
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

li_status LI_NAME(matmul_dyn_f32)(const void *args, char *const *base)
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
