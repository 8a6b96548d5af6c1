/* Checks of the slots that multiply: matrices, recurrent layers, convolutions. What they touch: body/ and isa/scalar_matrix.c. */
#include "check_ranges.h"
#include "li_block.h"

typedef enum held { F32 = 4, F16 = 2, I8 = 1 } held; /* how weights are held; bytes of a float, or words of four int8 */

static int64_t weight_bytes(held kind) { return kind == F16 ? 2 : 4; }

/* Elements of weights from one row of 16 units to the next, over all k of `gates` gates. */
static int64_t panel_rows(held kind, int64_t gates, int64_t k) { return gates * LI_UNITS * (kind == I8 && k > 0 ? 3 + (k + 3) / 4 : k); }

#define LI_K_BYTES 131071       /* sums of products of two int8, exact in int32 */
#define LI_K_BYTES_ZEROS 33025 /* with zero points on either side */

static int act_is_known(li_checked *c, const li_act *act)
{
    return li_within(c, "act", act->code, LI_ACT_NONE, LI_ACT_SOFTPLUS);
}

static int quantise_is_known(li_checked *c, int64_t quantize, int64_t zeros)
{
    return li_within(c, "quantize", quantize, LI_QUANT_ROW, LI_QUANT_GIVEN) && li_within(c, "weight_zeros", zeros, 0, 1);
}

/* May so many terms be summed in int32. */
static int terms_fit(li_checked *c, const char *field, int64_t terms, int64_t zeros)
{
    return li_within(c, field, terms, 0, zeros ? LI_K_BYTES_ZEROS : LI_K_BYTES);
}

/* Is a product of what is not negative in proportion: scratch formulae then stay inside int64. */
static int small(li_checked *c, const char *field, double product)
{
    return product < 0x1p50 || li_refuse(c, field, "is out of all proportion");
}

/* ---- matmul ---- */

static int check_matmul(li_checked *c, const li_matmul_args *a, held kind)
{
    if (!LI_FIELD(n, 0, LI_COUNT) || !LI_FIELD(k, 0, LI_COUNT) || !LI_FIELD(m, 0, LI_COUNT) || !act_is_known(c, &a->act)) { return 0; }
    const int64_t m_pad = li_pad_units(a->m);
    if (!small(c, "k", ((double)a->k + 4) * (double)m_pad)) { return 0; }
    LI_TOUCH(x, li_along(li_along(li_dense(1), a->k, a->x_k), a->n, a->x_row), 4, LI_READS);
    LI_TOUCH(w, li_dense(m_pad / LI_UNITS * panel_rows(kind, 1, a->k)), weight_bytes(kind), LI_READS);
    LI_TOUCH_IF(bias, li_dense(m_pad), 4, LI_READS);
    LI_TOUCH(y, li_along(li_along(li_dense(1), a->m, a->y_col), a->n, a->y_row), 4, LI_WRITES);
    c->verdict.work = (double)a->n * (double)(a->m + 1) * (double)(a->k + 8);
    return !c->verdict.field;
}

void li_check_matmul_f32(li_checked *c, const int64_t *words, int64_t n_words)
{
    (void)n_words;
    check_matmul(c, (const li_matmul_args *)(const void *)words, F32);
}

void li_check_matmul_f16(li_checked *c, const int64_t *words, int64_t n_words)
{
    (void)n_words;
    check_matmul(c, (const li_matmul_args *)(const void *)words, F16);
}

void li_check_matmul_i8(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_matmul_i8_args *a = (const li_matmul_i8_args *)(const void *)words;
    (void)n_words;
    if (!quantise_is_known(c, a->quantize, a->weight_zeros) || !terms_fit(c, "k", a->product.k, a->weight_zeros)) { return; }
    if (!(a->scale >= 0.0 && a->scale < 0x1p127)) { li_refuse(c, "scale", "is not a finite number"); return; }
    if (!LI_FIELD(zero, -128, 127) || !check_matmul(c, &a->product, I8)) { return; }
    li_scratch(c, a->scratch, li_matmul_i8_scratch(a->product.n, a->product.k), 0);
    c->verdict.work += 8.0 * (double)a->product.n * (double)a->product.k;
}

/* ---- matmul_dyn, matmul_i64: their records begin alike ---- */

static int check_batched(li_checked *c, const li_matmul_dyn_args *a, int64_t k_least, int64_t element)
{
    if (!LI_FIELD(n, 0, LI_COUNT) || !LI_FIELD(k, k_least, LI_COUNT) || !LI_FIELD(m, 0, LI_COUNT) || !LI_FIELD(batch_rank, 0, LI_RANK)) { return 0; }
    if (!LI_FIELDS(batch, a->batch_rank, 1, LI_COUNT) || !small(c, "k", ((double)a->k + 1) * ((double)a->m + LI_UNITS))) { return 0; }
    li_span of_a = li_along(li_along(li_dense(1), a->k, a->a_k), a->n, a->a_row);
    li_span of_b = li_along(li_along(li_dense(1), a->m, a->b_col), a->k, a->b_k);
    li_span of_y = li_along(li_dense(a->m), a->n, a->y_row);
    double work = ((double)a->n * (double)(a->k + 8) + (double)a->k) * (double)(a->m + 1);
    for (int64_t d = 0; d < a->batch_rank; d++) {
        of_a = li_along(of_a, a->batch[d], a->a_batch[d]);
        of_b = li_along(of_b, a->batch[d], a->b_batch[d]);
        of_y = li_along(of_y, a->batch[d], a->y_batch[d]);
        work *= (double)a->batch[d];
    }
    LI_TOUCH(a, of_a, element, LI_READS);
    LI_TOUCH(b, of_b, element, LI_READS);
    LI_TOUCH(y, of_y, element, LI_WRITES);
    c->verdict.work = work;
    return !c->verdict.field;
}

void li_check_matmul_dyn_f32(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_matmul_dyn_args *a = (const li_matmul_dyn_args *)(const void *)words;
    (void)n_words;
    if (check_batched(c, a, 0, 4)) { li_scratch(c, a->scratch, li_matmul_dyn_scratch(a->k, a->m), 0); }
}

void li_check_matmul_i64(li_checked *c, const int64_t *words, int64_t n_words)
{
    const li_matmul_i64_args *a = (const li_matmul_i64_args *)(const void *)words;
    (void)n_words;
    if (li_integer(a->dtype) == 0) { li_refuse(c, "dtype", "is not an integer type"); return; }
    if (check_batched(c, (const li_matmul_dyn_args *)(const void *)words, 1, li_integer(a->dtype))) { li_scratch(c, a->scratch, 8 * a->k * a->m, 0); }
}

/* ---- lstm, gru, rnn ---- */

/* x and y over all steps, h and c. */
static void touch_signals(li_checked *c, const li_recur_args *a, int lstm)
{
    LI_TOUCH(x, li_along(li_along(li_dense(a->I), a->B, a->x_b), a->T, a->x_t), 4, LI_READS);
    LI_TOUCH_IF(y, li_along(li_along(li_dense(a->H), a->B, a->y_b), a->T, a->y_t), 4, LI_WRITES);
    LI_TOUCH(h, li_along(li_dense(a->H), a->B, a->h_b), 4, LI_UPDATES);
    if (lstm) {
        LI_TOUCH(c, li_along(li_dense(a->H), a->B, a->c_b), 4, LI_UPDATES);
    } else {
        LI_TOUCH_IF(c, li_dense(0), 4, LI_READS);
    }
    LI_TOUCH_IF(lens, li_dense(a->B), 4, LI_READS);
}

/* Panels of w, r and r_h, bias and peepholes. */
static void touch_weights(li_checked *c, const li_recur_args *a, int64_t gates, held kind)
{
    const int64_t H_pad = li_pad_units(a->H), panels = H_pad / LI_UNITS, bytes = weight_bytes(kind);
    const int apart = gates == 3 && !a->linear_before_reset; /* the gate h of a gru lies at r_h */
    LI_TOUCH(w, li_along(li_dense(panel_rows(kind, gates, a->I)), panels, a->w_panel), bytes, LI_READS);
    LI_TOUCH(r, li_along(li_dense(panel_rows(kind, apart ? 2 : gates, a->H)), panels, a->r_panel), bytes, LI_READS);
    if (apart) {
        LI_TOUCH(r_h, li_along(li_dense(panel_rows(kind, 1, a->H)), panels, a->r_h_panel), bytes, LI_READS);
    } else if (a->r_h.base >= 0) {
        li_refuse(c, "r_h", "is there for a layer that has none");
    }
    LI_TOUCH(bias, li_dense(H_pad * (gates == 3 ? 4 : gates)), 4, LI_READS);
    LI_TOUCH_IF(peephole, li_dense(gates == 4 ? 3 * H_pad : 0), 4, LI_READS);
}

static int check_recur(li_checked *c, const li_recur_args *a, int64_t gates, held kind)
{
    if (!LI_FIELD(T, 0, LI_COUNT) || !LI_FIELD(B, 0, LI_COUNT) || !LI_FIELD(I, 0, LI_COUNT) || !LI_FIELD(H, 1, LI_COUNT)) { return 0; }
    for (int i = 0; i < 3; i++) {
        if (!act_is_known(c, &a->act[i])) { return 0; }
    }
    const double terms = (double)a->I + (double)a->H + 48.0, units = (double)a->H + LI_UNITS, columns = (double)a->B * (double)(a->T + 1);
    if (!small(c, "H", terms * units * 4) || !small(c, "B", columns * (units + (double)a->I))) { return 0; }
    c->verdict.work = columns * ((double)gates * terms * units + 64.0);
    touch_signals(c, a, gates == 4);
    touch_weights(c, a, gates, kind);
    return !c->verdict.field;
}

static void check_recur_float(li_checked *c, const int64_t *words, int64_t gates, held kind)
{
    const li_recur_args *a = (const li_recur_args *)(const void *)words;
    if (check_recur(c, a, gates, kind)) { li_scratch(c, a->scratch, li_recur_scratch(gates, a->T, a->B, a->I, a->H), 0); }
}

static void check_recur_i8(li_checked *c, const int64_t *words, int64_t gates)
{
    const li_recur_i8_args *i8 = (const li_recur_i8_args *)(const void *)words;
    const li_recur_args *a = &i8->layer;
    if (!quantise_is_known(c, i8->quantize, i8->weight_zeros)) { return; }
    if (!terms_fit(c, "I", a->I, i8->weight_zeros) || !terms_fit(c, "H", a->H, i8->weight_zeros)) { return; }
    if (check_recur(c, a, gates, I8)) { li_scratch(c, a->scratch, li_recur_i8_scratch(gates, a->T, a->B, a->I, a->H), 0); }
}

#define LI_RECUR(name, gates)                                                                                          \
    void li_check_##name##_f32(li_checked *c, const int64_t *words, int64_t n_words)                                   \
    {                                                                                                                  \
        (void)n_words;                                                                                                 \
        check_recur_float(c, words, gates, F32);                                                                       \
    }                                                                                                                  \
    void li_check_##name##_f16(li_checked *c, const int64_t *words, int64_t n_words)                                   \
    {                                                                                                                  \
        (void)n_words;                                                                                                 \
        check_recur_float(c, words, gates, F16);                                                                       \
    }                                                                                                                  \
    void li_check_##name##_i8(li_checked *c, const int64_t *words, int64_t n_words)                                    \
    {                                                                                                                  \
        (void)n_words;                                                                                                 \
        check_recur_i8(c, words, gates);                                                                               \
    }
LI_RECUR(lstm, 4)
LI_RECUR(gru, 3)
LI_RECUR(rnn, 1)

/* ---- conv ---- */

/* The sizes are those that the kernel takes; those of axes that are not there are 1. */
static int conv_sizes(li_checked *c, const li_conv_args *a)
{
    const int64_t most = INT64_C(1) << 31;
    if (!LI_FIELD(n, 0, LI_COUNT) || !LI_FIELD(channels, 1, most) || !LI_FIELD(filters, 1, most) || !LI_FIELD(groups, 1, most)) { return 0; }
    if (!LI_FIELD(spatial, 0, 3) || !act_is_known(c, &a->act)) { return 0; }
    if (a->channels % a->groups != 0 || a->filters % a->groups != 0) { return li_refuse(c, "groups", "does not divide channels and filters"); }
    if (!LI_FIELDS(in, a->spatial, 0, most) || !LI_FIELDS(out, a->spatial, 1, most) || !LI_FIELDS(kernel, a->spatial, 1, most)) { return 0; }
    if (!LI_FIELDS(stride, a->spatial, 1, most) || !LI_FIELDS(dilation, a->spatial, 1, most) || !LI_FIELDS(pad, a->spatial, -most, most)) { return 0; }
    for (int64_t d = a->spatial; d < 3; d++) {
        if (a->out[d] != 1 || a->kernel[d] != 1 || a->stride[d] != 1 || a->dilation[d] != 1) { return li_refuse(c, "spatial", "leaves sizes behind it that are not 1"); }
    }
    return 1;
}

/* Scratch and work stay in proportion, and so does every place that is computed on the way, inside of x or not. */
static int conv_in_proportion(li_checked *c, const li_conv_args *a)
{
    double taps = (double)a->channels / (double)a->groups, positions = 1.0, staged = 0.0;
    for (int d = 0; d < 3; d++) {
        taps *= (double)a->kernel[d];
        positions *= (double)a->out[d];
    }
    for (int64_t d = 0; d < 3; d++) {
        const double out = (double)a->out[d], window = (double)a->kernel[d] * (double)a->dilation[d];
        const double line = (out + 512.0) * (double)a->stride[d] + window; /* of x, as it is staged where d is the line */
        const double lines = (double)a->groups * taps / (double)a->kernel[d] * positions / out;
        const double pad = a->pad[d] < 0 ? -(double)a->pad[d] : (double)a->pad[d], step = (double)a->x_stride[2 + d];
        if (!small(c, "kernel", taps * line * 2.0)) { return 0; }
        if (d < a->spatial && (line + pad) * (step < 0 ? -step : step) > 0x1p54) { return li_refuse(c, "x_stride", "is out of all proportion"); }
        staged += lines * (line + out / 48.0 * window);
    }
    c->verdict.work = (double)a->n * (positions * ((double)a->filters + (double)a->groups * LI_UNITS) * (taps + 8.0) + staged) + taps;
    return small(c, "filters", taps * ((double)a->filters + LI_UNITS * (double)a->groups)) && small(c, "out", positions * (double)a->filters);
}

static void check_conv(li_checked *c, const li_conv_args *a, held kind)
{
    if (!conv_sizes(c, a) || !conv_in_proportion(c, a)) { return; }
    const int64_t C = a->channels / a->groups, M_pad = li_pad_units(a->filters / a->groups);
    const int64_t K = C * a->kernel[0] * a->kernel[1] * a->kernel[2];
    li_span of_x = li_along(li_along(li_dense(1), a->channels, a->x_stride[1]), a->n, a->x_stride[0]);
    li_span of_y = li_along(li_along(li_dense(1), a->filters, a->y_stride[1]), a->n, a->y_stride[0]);
    for (int64_t d = 0; d < a->spatial; d++) {
        of_x = li_along(of_x, a->in[d], a->x_stride[2 + d]);
        of_y = li_along(of_y, a->out[d], a->y_stride[2 + d]);
    }
    LI_TOUCH(x, of_x, 4, LI_READS);
    LI_TOUCH(w, li_along(li_dense(M_pad * K), a->groups, a->w_group), weight_bytes(kind), LI_READS);
    LI_TOUCH_IF(bias, li_dense(M_pad * a->groups), 4, LI_READS);
    const li_bytes y = LI_TOUCH(y, of_y, 4, LI_WRITES);
    if (c->verdict.field) { return; }
    li_apart(c, "y", y, li_scratch(c, a->scratch, li_conv_scratch(a->channels, a->groups, a->kernel, a->out, a->stride, a->dilation), 1));
}

void li_check_conv_f32(li_checked *c, const int64_t *words, int64_t n_words)
{
    (void)n_words;
    check_conv(c, (const li_conv_args *)(const void *)words, F32);
}

void li_check_conv_f16(li_checked *c, const int64_t *words, int64_t n_words)
{
    (void)n_words;
    check_conv(c, (const li_conv_args *)(const void *)words, F16);
}
