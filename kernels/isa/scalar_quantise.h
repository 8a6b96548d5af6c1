/* scalar: inputs as int8 and their products with int8 weights, written from li_kernels.h and li_pack.h. */
#ifndef LI_SCALAR_QUANTISE_H
#define LI_SCALAR_QUANTISE_H

#include <math.h>
#include <string.h>

#include "../li_kernels.h"

/* One row of inputs: its bytes follow. In scratch, at most li_input_row(K) words. */
typedef struct quantised {
    float scale;
    int32_t zero, sum, unused; /* sum over k of (q - zero) */
} quantised;

static inline int8_t *bytes_of(quantised *row) { return (int8_t *)(row + 1); }

/* How the rows of one product become int8. */
typedef struct quantiser {
    int64_t mode;
    float scale;
    int32_t zero; /* of all rows: ALL_U8, GIVEN */
} quantiser;

typedef struct range {
    float lo, hi; /* 0 among them */
    int odd;      /* a NaN or an infinity */
} range;

static inline void widen(range *r, const float *x, int64_t step, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        const float v = x[i * step];
        if (!isfinite(v)) { r->odd = 1; }
        if (v < r->lo) { r->lo = v; }
        if (v > r->hi) { r->hi = v; }
    }
}

/* lo for a NaN: x may have changed since its range was found, where a plan of a file lays it on what is written. */
static inline float between(float lo, float x, float hi) { return x > lo ? x < hi ? x : hi : lo; }

/* Scale and zero point of a range, as ONNX DynamicQuantizeLinear, less 128. */
static inline void quantise_range(quantiser *how, range r)
{
    how->scale = (r.hi - r.lo) / 255.0f;
    how->zero = 0;
    if (r.odd || !isfinite(how->scale)) { how->scale = NAN; }
    if (how->scale > 0.0f) { how->zero = (int32_t)lrintf(between(0.0f, -r.lo / how->scale, 255.0f)) - 128; }
}

static inline void quantise(quantised *row, quantiser how, const float *x, int64_t step, int64_t K)
{
    int8_t *q = bytes_of(row);
    range r = {0};
    float by = 0.0f;
    widen(&r, x, step, K);
    if (how.mode == LI_QUANT_ROW) {
        const float most = r.hi > -r.lo ? r.hi : -r.lo;
        how.zero = 0;
        how.scale = r.odd ? NAN : most < 0x1p-120f ? 0.0f : most / 127.0f;
        by = 127.0f / most;
    } else if (how.mode == LI_QUANT_ROW_U8) {
        quantise_range(&how, r);
    } else if (how.mode == LI_QUANT_GIVEN) {
        for (int64_t k = 0; k < K; k++) { how.scale = isnan(x[k * step]) ? NAN : how.scale; }
    }
    row->scale = how.scale;
    row->zero = how.zero;
    row->sum = 0;
    row->unused = 0;
    for (int64_t k = 0; k < K; k++) {
        const float zero = (float)how.zero, v = how.mode == LI_QUANT_ROW ? x[k * step] * by : x[k * step] / how.scale;
        q[k] = (int8_t)how.zero;
        if (how.scale > 0.0f) { q[k] = (int8_t)(lrintf(between(-128.0f - zero, v, 127.0f - zero)) + how.zero); }
        row->sum += q[k] - how.zero;
    }
}

/* sum + what K inputs and weights of gate g of G, unit u, add. */
static inline float sum_i8(float sum, const quantised *row, const int32_t *w, int64_t panel, int64_t G, int64_t K, int64_t g, int64_t u)
{
    const int8_t *q = bytes_of((quantised *)(void *)row);
    if (K == 0) { return sum; } /* there are no weights then, and no rows that describe them */
    const int32_t *at = w + u / LI_UNITS * panel + g * LI_UNITS + u % LI_UNITS;
    const int32_t zero = at[2 * G * LI_UNITS];
    uint32_t total = 0; /* wraps where the words of a file are no weights */
    float scale;
    memcpy(&scale, at, sizeof(float));
    for (int64_t k = 0; k < K; k++) {
        int8_t four[4];
        memcpy(four, at + (3 + k / 4) * G * LI_UNITS, 4);
        total += ((uint32_t)q[k] - (uint32_t)row->zero) * ((uint32_t)four[k % 4] - (uint32_t)zero);
    }
    return sum + (float)(int32_t)total * (row->scale * scale);
}

#endif
