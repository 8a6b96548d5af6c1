/* Rows of floats as int8, for products of 8-bit numbers. Contract: li_kernels.h. A row is four words (scale, zero point, sum of
 * the inputs less their zero point, is it the only one), then the inputs as vb_store leaves them. */
#define LI_HEAD 4

typedef struct li_quantiser {
    int64_t mode;  /* li_quantize */
    int64_t zeros; /* weights have zero points */
    float scale;   /* GIVEN, and ALL_U8 once all rows are known */
    int32_t zero;
    int alone; /* there is one row */
} li_quantiser;

/* LI_W inputs as they are held. Where four take two words, those of an only row lie otherwise. */
LI_INLINE void li_hold(int32_t *to, vi q, int alone)
{
#if LI_PARTS == 2
    if (alone) {
        vb_store_alone(to, q);
        return;
    }
#endif
    (void)alone;
    vb_store(to, q);
}

/* The bits of the largest of 0 and all x, and of the largest of 0 and all -x: floats of one sign lie in the order of their
 * bits, infinities and then NaN behind all others. */
typedef struct li_extent {
    int32_t up, down;
} li_extent;

#define LI_ODD 0x7f800000 /* from here on: infinities and NaN */

LI_INLINE vf li_row_part(const float *x, int64_t step, int64_t k, int64_t K)
{
    float lane[LI_W] = {0};
    if (step == 1) { return K - k >= LI_W ? v_load(x + k) : v_load_part(x + k, K - k); }
    for (int64_t i = 0; i < LI_W && k + i < K; i++) { lane[i] = x[(k + i) * step]; }
    return v_load(lane);
}

LI_INLINE li_extent li_extent_of(const float *x, int64_t step, int64_t K)
{
    vi up = vi_set1(0), down = vi_set1(0);
    for (int64_t k = 0; k < K; k += LI_W) {
        const vf v = li_row_part(x, step, k, K);
        up = vi_max(up, v_bits(v));
        down = vi_max(down, v_bits(v_neg(v)));
    }
    return (li_extent){vi_max_all(up), vi_max_all(down)};
}

LI_INLINE int32_t li_most(const float *x, int64_t step, int64_t K) /* the bits of the largest |x| */
{
    vi most = vi_set1(0), more = most;
    int64_t k = 0;
    for (; step == 1 && k + 2 * LI_W <= K; k += 2 * LI_W) {
        most = vi_max(most, v_bits(v_abs(v_load(x + k))));
        more = vi_max(more, v_bits(v_abs(v_load(x + k + LI_W))));
    }
    for (; k < K; k += LI_W) { most = vi_max(most, v_bits(v_abs(li_row_part(x, step, k, K)))); }
    return vi_max_all(vi_max(most, more));
}

LI_INLINE float li_bits_float(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof(x));
    return x;
}

/* Scale and zero point of an extent. */
LI_INLINE void li_quantise_extent(li_quantiser *how, li_extent e)
{
    const float lo = -li_bits_float(e.down), scale = (li_bits_float(e.up) - lo) / 255.0f;
    how->zero = 0;
    how->scale = scale;
    if (e.up >= LI_ODD || e.down >= LI_ODD || !(scale < li_bits_float(LI_ODD))) {
        how->scale = li_bits_float(0x7fc00000);
    } else if (scale > 0.0f) {
        const float at = -lo / scale, round = 12582912.0f; /* 1.5 * 2^23: a sum with it is rounded to an integer */
        how->zero = (int32_t)((at < 255.0f ? at : 255.0f) + round - round) - 128;
    }
}

LI_INLINE void li_quantise_row(int32_t *row, li_quantiser how, const float *x, int64_t step, int64_t K)
{
    int32_t *to = row + LI_HEAD;
    float by = 0.0f;
    vi sum = vi_set1(0);
    if (how.mode == LI_QUANT_ROW) {
        const int32_t bits = li_most(x, step, K);
        const float most = li_bits_float(bits);
        how.zero = 0;
        how.scale = bits >= LI_ODD ? li_bits_float(0x7fc00000) : most < 0x1p-120f ? 0.0f : most / 127.0f;
        by = 127.0f / most;
    } else if (how.mode == LI_QUANT_ROW_U8) {
        li_quantise_extent(&how, li_extent_of(x, step, K));
    } else if (li_most(x, step, K) > LI_ODD) { /* a NaN */
        how.scale = li_bits_float(0x7fc00000);
    }
    const vi zero = vi_set1(how.zero), held = vi_set1(how.zero + LI_OFFSET);
    if (!(how.scale > 0.0f)) {
        for (int64_t k = 0; k < K; k += LI_W, to += LI_W / 4 * LI_PARTS) { li_hold(to, held, how.alone); }
    } else if (how.mode == LI_QUANT_ROW) {
        const vf factor = v_set1(by);
        for (int64_t k = 0; k < K; k += LI_W, to += LI_W / 4 * LI_PARTS) {
            const vi q = v_to_i(v_mul(li_row_part(x, step, k, K), factor));
            sum = vi_add(sum, q);
            li_hold(to, vi_add(q, held), how.alone);
        }
    } else {
        const vf scale = v_set1(how.scale), lo = v_to_f(vi_sub(vi_set1(-128), zero)), hi = v_to_f(vi_sub(vi_set1(127), zero));
        for (int64_t k = 0; k < K; k += LI_W, to += LI_W / 4 * LI_PARTS) {
            const vi q = v_to_i(v_min(v_max(v_div(li_row_part(x, step, k, K), scale), lo), hi));
            sum = vi_add(sum, q);
            li_hold(to, vi_add(q, held), how.alone);
        }
    }
    memcpy(row, &how.scale, sizeof(float));
    row[1] = how.zero + LI_OFFSET;
    row[2] = how.zeros ? vi_sum_all(sum) : 0;
    row[3] = how.alone;
}

LI_NOINLINE void li_quantise_together(li_quantiser *how, const float *x, int64_t outer, int64_t outer_step, int64_t inner, int64_t inner_step,
                                      int64_t step, int64_t K)
{
    li_extent all = {0, 0};
    for (int64_t i = 0; i < outer * inner; i++) {
        const li_extent e = li_extent_of(x + i / inner * outer_step + i % inner * inner_step, step, K);
        all.up = e.up > all.up ? e.up : all.up;
        all.down = e.down > all.down ? e.down : all.down;
    }
    li_quantise_extent(how, all);
    how->mode = LI_QUANT_GIVEN;
}

/* How `inner` rows of K, `outer` times, are quantised: their common scale is now known where they have one. */
LI_INLINE li_quantiser li_quantise_all(li_quantiser how, const float *x, int64_t outer, int64_t outer_step, int64_t inner, int64_t inner_step,
                                       int64_t step, int64_t K)
{
    if (how.mode == LI_QUANT_ALL_U8) { li_quantise_together(&how, x, outer, outer_step, inner, inner_step, step, K); }
    return how;
}

LI_NOINLINE void li_quantise_rows(int32_t *rows, li_quantiser how, const float *x, int64_t col, int64_t n, int64_t step, int64_t K)
{
    const int64_t row = li_input_row(K);
    for (int64_t i = 0; i < n; i++) {
        if (step == 1) {
            li_quantise_row(rows + i * row, how, x + i * col, 1, K);
        } else {
            li_quantise_row(rows + i * row, how, x + i * col, step, K);
        }
    }
}
