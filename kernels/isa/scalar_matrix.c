/* scalar: matrix products, recurrent layers and convolution as plain loops. The reference that the other sets are
 * tested against and the fallback where none of them runs. Shares nothing with body/: ordinary C, no fused
 * multiply-add, written from the contracts in li_kernels.h. */
#include <math.h>
#include <string.h>

#include "../li_kernels.h"
#include "scalar_half.h"

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
typedef enum held { F32, F16 } held;

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

/* One step of one stream: x, h (old), c (in place), h_new. */
typedef void (*step_fn)(held kind, const li_recur_args *a, char *const *base, const float *x, const float *h, float *h_new, float *c,
                        float *scratch);

/* Sum of gate g of unit u over x and h. */
static float gate_sum(held kind, const li_recur_args *a, char *const *base, int64_t GB, int64_t GW, int64_t GR, int64_t g, int64_t u,
                      const float *x, const float *h)
{
    const float *bias = li_at(a->bias, base);
    const void *w = li_at(a->w, base), *r = li_at(a->r, base);
    float sum = bias[(u / LI_UNITS * GB + g) * LI_UNITS + u % LI_UNITS];
    for (int64_t k = 0; k < a->I; k++) { sum += x[k] * weight(kind, w, a->w_panel, GW, k, g, u); }
    for (int64_t k = 0; h && k < a->H; k++) { sum += h[k] * weight(kind, r, a->r_panel, GR, k, g, u); }
    return sum;
}

static void lstm_step(held kind, const li_recur_args *a, char *const *base, const float *x, const float *h, float *h_new, float *c,
                      float *scratch)
{
    const float *peep = li_at(a->peephole, base);
    const int64_t H_pad = (a->H + LI_UNITS - 1) / LI_UNITS * LI_UNITS;
    (void)scratch;
    for (int64_t u = 0; u < a->H; u++) {
        float z[4];
        for (int64_t g = 0; g < 4; g++) { z[g] = gate_sum(kind, a, base, 4, 4, 4, g, u, x, h); }
        if (peep) {
            z[0] += peep[u] * c[u];
            z[2] += peep[2 * H_pad + u] * c[u];
        }
        const float it = activate(&a->act[0], clipped(a->clip, z[0]));
        const float ft = a->input_forget ? 1.0f - it : activate(&a->act[0], clipped(a->clip, z[2]));
        c[u] = ft * c[u] + it * activate(&a->act[1], clipped(a->clip, z[3]));
        if (peep) { z[1] += peep[H_pad + u] * c[u]; }
        h_new[u] = activate(&a->act[0], clipped(a->clip, z[1])) * activate(&a->act[2], c[u]);
    }
}

static void gru_step(held kind, const li_recur_args *a, char *const *base, const float *x, const float *h, float *h_new, float *c,
                     float *scratch)
{
    const float *bias = li_at(a->bias, base);
    const void *r_h = li_at(a->r_h, base), *r = li_at(a->r, base);
    const int64_t GR = a->linear_before_reset ? 3 : 2;
    (void)c;
    for (int64_t u = 0; u < a->H; u++) { /* rt . Ht-1 of all units first: lbr = 0 sums over them */
        scratch[u] = activate(&a->act[0], clipped(a->clip, gate_sum(kind, a, base, 4, 3, GR, 1, u, x, h)));
        if (!a->linear_before_reset) { scratch[u] *= h[u]; }
    }
    for (int64_t u = 0; u < a->H; u++) {
        const float zt = activate(&a->act[0], clipped(a->clip, gate_sum(kind, a, base, 4, 3, GR, 0, u, x, h)));
        float zh = gate_sum(kind, a, base, 4, 3, 0, 2, u, x, 0);
        if (a->linear_before_reset) {
            float sum = bias[(u / LI_UNITS * 4 + 3) * LI_UNITS + u % LI_UNITS];
            for (int64_t k = 0; k < a->H; k++) { sum += h[k] * weight(kind, r, a->r_panel, 3, k, 2, u); }
            zh += scratch[u] * sum;
        } else {
            for (int64_t k = 0; k < a->H; k++) { zh += scratch[k] * weight(kind, r_h, a->r_h_panel, 1, k, 0, u); }
        }
        h_new[u] = (1.0f - zt) * activate(&a->act[1], clipped(a->clip, zh)) + zt * h[u];
    }
}

static void rnn_step(held kind, const li_recur_args *a, char *const *base, const float *x, const float *h, float *h_new, float *c,
                     float *scratch)
{
    (void)c;
    (void)scratch;
    for (int64_t u = 0; u < a->H; u++) {
        h_new[u] = activate(&a->act[0], clipped(a->clip, gate_sum(kind, a, base, 1, 1, 1, 0, u, x, h)));
    }
}

static li_status steps(held kind, const li_recur_args *a, char *const *base, step_fn step)
{
    const float *x = li_at(a->x, base);
    const int32_t *lens = li_at(a->lens, base);
    float *y = li_at(a->y, base), *h = li_at(a->h, base), *c = li_at(a->c, base), *h_new = li_at(a->scratch, base);
    const size_t row_bytes = (size_t)a->H * sizeof(float);
    for (int64_t b = 0; lens && b < a->B; b++) {
        if (lens[b] < 0 || lens[b] > a->T) { return LI_ERR_LENGTH; }
    }
    for (int64_t b = 0; b < a->B; b++) {
        const int64_t length = lens ? ((const volatile int32_t *)lens)[b] : a->T;
        if (length < 0 || length > a->T) { return LI_ERR_LENGTH; }
        for (int64_t s = 0; s < length; s++) {
            const int64_t t = a->reverse ? length - 1 - s : s;
            step(kind, a, base, x + t * a->x_t + b * a->x_b, h + b * a->h_b, h_new, c ? c + b * a->c_b : 0, h_new + a->H);
            memcpy(h + b * a->h_b, h_new, row_bytes);
            if (y) { memcpy(y + t * a->y_t + b * a->y_b, h_new, row_bytes); }
        }
        for (int64_t t = length; y && t < a->T; t++) { memset(y + t * a->y_t + b * a->y_b, 0, row_bytes); }
    }
    return LI_OK;
}

li_status li_lstm_f32_scalar(const void *args, char *const *base) { return steps(F32, args, base, lstm_step); }
li_status li_lstm_f16_scalar(const void *args, char *const *base) { return steps(F16, args, base, lstm_step); }
li_status li_gru_f32_scalar(const void *args, char *const *base) { return steps(F32, args, base, gru_step); }
li_status li_gru_f16_scalar(const void *args, char *const *base) { return steps(F16, args, base, gru_step); }
li_status li_rnn_f32_scalar(const void *args, char *const *base) { return steps(F32, args, base, rnn_step); }
li_status li_rnn_f16_scalar(const void *args, char *const *base) { return steps(F16, args, base, rnn_step); }

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
