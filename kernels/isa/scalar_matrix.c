/* scalar: matrix products, recurrent layers and convolution as plain loops. The reference that the other sets are
 * tested against and the fallback where none of them runs. Shares nothing with body/: ordinary C, no fused
 * multiply-add, written from the contracts in li_kernels.h. */
#include <math.h>
#include <string.h>

#include "../li_block.h"
#include "../li_kernels.h"
#include "scalar_half.h"
#include "scalar_quantise.h"

/* ONNX operator text of RNN, LSTM, GRU. */
static float activate(const li_act *act, float x)
{
    const float a = (float)act->alpha, b = (float)act->beta;
    switch ((li_act_code)act->code) {
    case LI_ACT_NONE: return x;
    case LI_ACT_SIGMOID: return 1.0f / (1.0f + expf(-x));
    case LI_ACT_TANH: return tanhf(x);
    case LI_ACT_RELU: return x < 0.0f ? 0.0f : x;
    case LI_ACT_AFFINE: return a * x + b;
    case LI_ACT_LEAKY_RELU: return x < 0.0f ? a * x : x;
    case LI_ACT_THRESHOLDED_RELU: return x <= a ? 0.0f : x;
    case LI_ACT_SCALED_TANH: return a * tanhf(b * x);
    case LI_ACT_HARD_SIGMOID: {
        const float y = a * x + b;
        return y < 0.0f ? 0.0f : y > 1.0f ? 1.0f : y;
    }
    case LI_ACT_ELU: return x < 0.0f ? a * expm1f(x) : x;
    case LI_ACT_SOFTSIGN: return x / (1.0f + fabsf(x));
    case LI_ACT_SOFTPLUS: return x > 0.0f ? x + log1pf(expf(-x)) : log1pf(expf(x));
    }
    return x;
}

/* How weights are held. */
typedef enum held { F32, F16, I8 } held;

/* Weight of term k, gate g of G, unit u (li_pack.h). */
static float weight(held kind, const void *w, int64_t panel, int64_t G, int64_t k, int64_t g, int64_t u)
{
    const int64_t at = u / LI_UNITS * panel + (k * G + g) * LI_UNITS + u % LI_UNITS;
    return kind == F32 ? ((const float *)w)[at] : half_to_float(((const uint16_t *)w)[at]);
}

static float clipped(double clip, float z)
{
    const float c = (float)clip;
    if (c > 0.0f) {
        if (z < -c) { return -c; }
        if (z > c) { return c; }
    }
    return z;
}

static li_status matmul(held kind, const void *args, char *const *base)
{
    const li_matmul_args *a = args;
    const float *x = li_at(a->x, base), *bias = li_at(a->bias, base);
    const void *w = li_at(a->w, base);
    float *y = li_at(a->y, base);
    for (int64_t n = 0; n < a->n; n++) {
        for (int64_t m = 0; m < a->m; m++) {
            float sum = bias ? bias[m] : 0.0f;
            for (int64_t k = 0; k < a->k; k++) {
                sum += x[n * a->x_row + k * a->x_k] * weight(kind, w, a->k * LI_UNITS, 1, k, 0, m);
            }
            y[n * a->y_row + m * a->y_col] = activate(&a->act, sum);
        }
    }
    return LI_OK;
}

li_status li_matmul_f32_scalar(const void *args, char *const *base) { return matmul(F32, args, base); }
li_status li_matmul_f16_scalar(const void *args, char *const *base) { return matmul(F16, args, base); }

li_status li_matmul_i8_scalar(const void *args, char *const *base)
{
    const li_matmul_i8_args *i8 = args;
    const li_matmul_args *a = &i8->product;
    const float *x = li_at(a->x, base), *bias = li_at(a->bias, base);
    float *y = li_at(a->y, base);
    quantised *row = li_at(i8->scratch, base);
    quantiser how = {i8->quantize, (float)i8->scale, (int32_t)i8->zero};
    if (how.mode == LI_QUANT_ALL_U8) {
        range all = {0};
        for (int64_t n = 0; n < a->n; n++) { widen(&all, x + n * a->x_row, a->x_k, a->k); }
        quantise_range(&how, all);
    }
    for (int64_t n = 0; n < a->n; n++) {
        quantise(row, how, x + n * a->x_row, a->x_k, a->k);
        for (int64_t m = 0; m < a->m; m++) {
            const float sum = sum_i8(bias ? bias[m] : 0.0f, row, li_at(a->w, base), (3 + (a->k + 3) / 4) * LI_UNITS, 1, a->k, 0, m);
            y[n * a->y_row + m * a->y_col] = activate(&a->act, sum);
        }
    }
    return LI_OK;
}

static void matmul_dyn_axis(const li_matmul_dyn_args *a, int64_t axis, const float *x, const float *b, float *y)
{
    if (axis < a->batch_rank) {
        for (int64_t i = 0; i < a->batch[axis]; i++) {
            matmul_dyn_axis(a, axis + 1, x + i * a->a_batch[axis], b + i * a->b_batch[axis], y + i * a->y_batch[axis]);
        }
        return;
    }
    for (int64_t n = 0; n < a->n; n++) {
        for (int64_t m = 0; m < a->m; m++) {
            float sum = 0.0f;
            for (int64_t k = 0; k < a->k; k++) { sum += x[n * a->a_row + k * a->a_k] * b[k * a->b_k + m * a->b_col]; }
            y[n * a->y_row + m] = sum;
        }
    }
}

li_status li_matmul_dyn_f32_scalar(const void *args, char *const *base)
{
    const li_matmul_dyn_args *a = args;
    matmul_dyn_axis(a, 0, li_at(a->a, base), li_at(a->b, base), li_at(a->y, base));
    return LI_OK;
}

/* One step of one stream. Of x and of what is summed over h: floats, or a row of int8 (I8). */
typedef struct step {
    held kind;
    const li_recur_args *a;
    char *const *base;
    const void *x, *sum_h;
    const float *h; /* old */
    float *h_new, *c; /* c: in place */
    float *spare;      /* [H] */
    quantised *row;    /* of H: gru's r . h */
    quantiser how;
} step;

/* sum + K terms of gate g of G, unit u. */
static float terms(const step *s, float sum, li_ref w, int64_t panel, int64_t G, int64_t K, int64_t g, int64_t u, const void *x)
{
    const void *at = li_at(w, s->base);
    if (s->kind == I8) { return sum_i8(sum, x, at, panel, G, K, g, u); }
    for (int64_t k = 0; k < K; k++) { sum += ((const float *)x)[k] * weight(s->kind, at, panel, G, k, g, u); }
    return sum;
}

static float bias_of(const step *s, int64_t GB, int64_t g, int64_t u)
{
    return ((const float *)li_at(s->a->bias, s->base))[(u / LI_UNITS * GB + g) * LI_UNITS + u % LI_UNITS];
}

/* Sum of gate g of unit u over x and h. GR = 0: over x alone. */
static float gate_sum(const step *s, int64_t GB, int64_t GW, int64_t GR, int64_t g, int64_t u)
{
    const li_recur_args *a = s->a;
    const float sum = terms(s, bias_of(s, GB, g, u), a->w, a->w_panel, GW, a->I, g, u, s->x);
    return GR == 0 ? sum : terms(s, sum, a->r, a->r_panel, GR, a->H, g, u, s->sum_h);
}

static void lstm_step(const step *s)
{
    const li_recur_args *a = s->a;
    const float *peep = li_at(a->peephole, s->base);
    const int64_t H_pad = li_pad_units(a->H);
    float *c = s->c;
    for (int64_t u = 0; u < a->H; u++) {
        float z[4];
        for (int64_t g = 0; g < 4; g++) { z[g] = gate_sum(s, 4, 4, 4, g, u); }
        if (peep) {
            z[0] += peep[u] * c[u];
            z[2] += peep[2 * H_pad + u] * c[u];
        }
        const float it = activate(&a->act[0], clipped(a->clip, z[0]));
        const float ft = a->input_forget ? 1.0f - it : activate(&a->act[0], clipped(a->clip, z[2]));
        c[u] = ft * c[u] + it * activate(&a->act[1], clipped(a->clip, z[3]));
        if (peep) { z[1] += peep[H_pad + u] * c[u]; }
        s->h_new[u] = activate(&a->act[0], clipped(a->clip, z[1])) * activate(&a->act[2], c[u]);
    }
}

static void gru_step(const step *s)
{
    const li_recur_args *a = s->a;
    const int64_t GR = a->linear_before_reset ? 3 : 2;
    const void *reset = s->spare;
    for (int64_t u = 0; u < a->H; u++) { /* rt . Ht-1 of all units first: lbr = 0 sums over them */
        s->spare[u] = activate(&a->act[0], clipped(a->clip, gate_sum(s, 4, 3, GR, 1, u)));
        if (!a->linear_before_reset) { s->spare[u] *= s->h[u]; }
    }
    if (s->kind == I8 && !a->linear_before_reset) {
        quantiser how = s->how;
        if (how.mode == LI_QUANT_ALL_U8) { how.mode = LI_QUANT_ROW_U8; }
        quantise(s->row, how, s->spare, 1, a->H);
        reset = s->row;
    }
    for (int64_t u = 0; u < a->H; u++) {
        const float zt = activate(&a->act[0], clipped(a->clip, gate_sum(s, 4, 3, GR, 0, u)));
        float zh = gate_sum(s, 4, 3, 0, 2, u);
        if (a->linear_before_reset) {
            zh += s->spare[u] * terms(s, bias_of(s, 4, 3, u), a->r, a->r_panel, 3, a->H, 2, u, s->sum_h);
        } else {
            zh = terms(s, zh, a->r_h, a->r_h_panel, 1, a->H, 0, u, reset);
        }
        s->h_new[u] = (1.0f - zt) * activate(&a->act[1], clipped(a->clip, zh)) + zt * s->h[u];
    }
}

static void rnn_step(const step *s)
{
    const li_recur_args *a = s->a;
    for (int64_t u = 0; u < a->H; u++) { s->h_new[u] = activate(&a->act[0], clipped(a->clip, gate_sum(s, 1, 1, 1, 0, u))); }
}

typedef void (*step_fn)(const step *s);

/* The rows of x and h that one step reads as int8: two rows, of x and of h. */
static void quantise_step(step *s, const float *x, quantiser x_how, quantiser h_how, quantised *x_row, quantised *h_row)
{
    quantise(x_row, x_how, x, 1, s->a->I);
    quantise(h_row, h_how, s->h, 1, s->a->H);
    s->x = x_row;
    s->sum_h = h_row;
}

/* `length` steps of rows b .. b + n - 1. */
static void run(step s, step_fn fn, int64_t b, int64_t n, int64_t length, quantiser x_how)
{
    const li_recur_args *a = s.a;
    const float *x = li_at(a->x, s.base);
    float *y = li_at(a->y, s.base), *h = li_at(a->h, s.base), *c = li_at(a->c, s.base);
    const size_t row_bytes = (size_t)a->H * sizeof(float);
    int32_t *rows = (int32_t *)(void *)(s.spare + li_pad_units(a->H));
    s.row = (quantised *)(void *)(rows + li_input_row(a->H) + li_input_row(a->I));
    for (int64_t i = 0; i < length; i++) {
        const int64_t t = a->reverse ? length - 1 - i : i;
        quantiser h_how = s.how;
        if (s.how.mode == LI_QUANT_ALL_U8) {
            range all = {0};
            for (int64_t k = b; k < b + n; k++) { widen(&all, h + k * a->h_b, 1, a->H); }
            quantise_range(&h_how, all);
        }
        for (int64_t k = b; k < b + n; k++) {
            s.x = x + t * a->x_t + k * a->x_b;
            s.sum_h = s.h = h + k * a->h_b;
            s.c = c ? c + k * a->c_b : 0;
            if (s.kind == I8) {
                quantise_step(&s, s.x, x_how, h_how, (quantised *)(void *)rows, (quantised *)(void *)(rows + li_input_row(a->I)));
            }
            fn(&s);
            memmove(h + k * a->h_b, s.h_new, row_bytes);
            if (y) { memmove(y + t * a->y_t + k * a->y_b, s.h_new, row_bytes); }
        }
    }
    for (int64_t t = length; y && t < a->T; t++) {
        for (int64_t k = b; k < b + n; k++) { memset(y + t * a->y_t + k * a->y_b, 0, row_bytes); }
    }
}

static li_status steps(held kind, int64_t mode, const li_recur_args *a, char *const *base, step_fn fn)
{
    const int32_t *lens = li_at(a->lens, base);
    float *scratch = li_at(a->scratch, base);
    step s = {.kind = kind, .a = a, .base = base, .h_new = scratch, .spare = scratch + li_pad_units(a->H), .how = {.mode = mode}};
    quantiser x_how = s.how;
    for (int64_t b = 0; lens && b < a->B; b++) {
        if (lens[b] < 0 || lens[b] > a->T) { return LI_ERR_LENGTH; }
    }
    if (mode == LI_QUANT_ALL_U8) {
        range all = {0};
        for (int64_t i = 0; i < a->T * a->B; i++) {
            widen(&all, (const float *)li_at(a->x, base) + i / a->B * a->x_t + i % a->B * a->x_b, 1, a->I);
        }
        quantise_range(&x_how, all);
    }
    if (!lens) {
        run(s, fn, 0, a->B, a->T, x_how);
        return LI_OK;
    }
    for (int64_t b = 0; b < a->B; b++) {
        const int64_t length = ((const volatile int32_t *)lens)[b];
        if (length < 0 || length > a->T) { return LI_ERR_LENGTH; }
        run(s, fn, b, 1, length, x_how);
    }
    return LI_OK;
}

static li_status steps_i8(const void *args, char *const *base, step_fn fn)
{
    const li_recur_i8_args *a = args;
    return steps(I8, a->quantize, &a->layer, base, fn);
}

li_status li_lstm_f32_scalar(const void *args, char *const *base) { return steps(F32, LI_QUANT_ROW, args, base, lstm_step); }
li_status li_lstm_f16_scalar(const void *args, char *const *base) { return steps(F16, LI_QUANT_ROW, args, base, lstm_step); }
li_status li_lstm_i8_scalar(const void *args, char *const *base) { return steps_i8(args, base, lstm_step); }
li_status li_gru_f32_scalar(const void *args, char *const *base) { return steps(F32, LI_QUANT_ROW, args, base, gru_step); }
li_status li_gru_f16_scalar(const void *args, char *const *base) { return steps(F16, LI_QUANT_ROW, args, base, gru_step); }
li_status li_gru_i8_scalar(const void *args, char *const *base) { return steps_i8(args, base, gru_step); }
li_status li_rnn_f32_scalar(const void *args, char *const *base) { return steps(F32, LI_QUANT_ROW, args, base, rnn_step); }
li_status li_rnn_f16_scalar(const void *args, char *const *base) { return steps(F16, LI_QUANT_ROW, args, base, rnn_step); }
li_status li_rnn_i8_scalar(const void *args, char *const *base) { return steps_i8(args, base, rnn_step); }

/* One output: filter m of group g at position p. x and y point at the batch entry. */
static float conv_sum(held kind, const li_conv_args *a, const float *x, const void *w, float sum, int64_t g, int64_t m, const int64_t p[3])
{
    const int64_t C = a->channels / a->groups, S = a->spatial;
    int64_t taps = 1, at[3];
    for (int64_t d = 0; d < S; d++) { taps *= a->kernel[d]; }
    for (int64_t k = 0; k < C * taps; k++) {
        int64_t rest = k % taps, offset = (g * C + k / taps) * a->x_stride[1], inside = 1;
        for (int64_t d = S - 1; d >= 0; d--) {
            at[d] = p[d] * a->stride[d] + rest % a->kernel[d] * a->dilation[d] - a->pad[d];
            rest /= a->kernel[d];
            inside = inside && at[d] >= 0 && at[d] < a->in[d];
            offset += at[d] * a->x_stride[2 + d];
        }
        if (inside) { sum += x[offset] * weight(kind, w, C * taps * LI_UNITS, 1, k, 0, m); }
    }
    return sum;
}

static li_status conv(held kind, const void *args, char *const *base)
{
    const li_conv_args *a = args;
    const float *x = li_at(a->x, base), *bias = li_at(a->bias, base);
    const char *w = li_at(a->w, base);
    const int64_t group_bytes = a->w_group * (kind == F32 ? 4 : 2);
    float *y = li_at(a->y, base);
    const int64_t M = a->filters / a->groups, M_pad = (M + LI_UNITS - 1) / LI_UNITS * LI_UNITS;
    int64_t positions = 1;
    for (int64_t d = 0; d < a->spatial; d++) { positions *= a->out[d]; }
    for (int64_t n = 0; n < a->n; n++) {
        for (int64_t f = 0; f < a->filters; f++) {
            const int64_t g = f / M, m = f % M;
            for (int64_t i = 0; i < positions; i++) {
                int64_t p[3] = {0, 0, 0}, rest = i, offset = n * a->y_stride[0] + f * a->y_stride[1];
                for (int64_t d = a->spatial - 1; d >= 0; d--) {
                    p[d] = rest % a->out[d];
                    rest /= a->out[d];
                    offset += p[d] * a->y_stride[2 + d];
                }
                y[offset] = activate(&a->act, conv_sum(kind, a, x + n * a->x_stride[0], w + g * group_bytes,
                                                       bias ? bias[g * M_pad + m] : 0.0f, g, m, p));
            }
        }
    }
    return LI_OK;
}

li_status li_conv_f32_scalar(const void *args, char *const *base) { return conv(F32, args, base); }
li_status li_conv_f16_scalar(const void *args, char *const *base) { return conv(F16, args, base); }
