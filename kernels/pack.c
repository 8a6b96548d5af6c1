#include "li_pack.h"

#include <string.h>

#include "li_kernels.h"

void li_pack_f32(float *dst, const float *src, int64_t gates, int64_t n_units, int64_t K, int64_t gate_stride,
                 int64_t unit_stride, int64_t k_stride, int64_t panel)
{
    const int64_t n_panels = (n_units + LI_UNITS - 1) / LI_UNITS;
    for (int64_t p = 0; p < n_panels; p++) {
        for (int64_t k = 0; k < K; k++) {
            for (int64_t g = 0; g < gates; g++) {
                float *row = dst + p * panel + (k * gates + g) * LI_UNITS;
                for (int64_t u = 0; u < LI_UNITS; u++) {
                    const int64_t unit = p * LI_UNITS + u;
                    row[u] = unit < n_units ? src[g * gate_stride + unit * unit_stride + k * k_stride] : 0.0f;
                }
            }
        }
    }
}

/* Word k4 of one unit. */
static int32_t four(const int8_t *src, int64_t k_stride, int64_t from, int64_t K)
{
    int8_t byte[4] = {0};
    int32_t word;
    for (int64_t k = from; k < K && k < from + 4; k++) { byte[k - from] = src[k * k_stride]; }
    memcpy(&word, byte, 4);
    return word;
}

void li_pack_i8(int32_t *dst, const int8_t *src, const float *scale, const int32_t *zero, int64_t gates, int64_t n_units, int64_t K,
                int64_t gate_stride, int64_t unit_stride, int64_t k_stride, int64_t panel)
{
    const int64_t n_panels = (n_units + LI_UNITS - 1) / LI_UNITS, row = gates * LI_UNITS, K4 = (K + 3) / 4;
    for (int64_t p = 0; p < n_panels; p++) {
        memset(dst + p * panel, 0, (size_t)((3 + K4) * row) * sizeof(int32_t));
        for (int64_t i = 0; i < row; i++) {
            const int64_t g = i / LI_UNITS, unit = p * LI_UNITS + i % LI_UNITS;
            const int8_t *from = src + g * gate_stride + unit * unit_stride;
            int32_t *to = dst + p * panel + i, sum = 0;
            if (unit >= n_units) { continue; }
            for (int64_t k = 0; k < K; k++) { sum += from[k * k_stride]; }
            memcpy(to, scale + g * n_units + unit, sizeof(int32_t));
            to[row] = sum;
            to[2 * row] = zero ? zero[g * n_units + unit] : 0;
            for (int64_t k4 = 0; k4 < K4; k4++) { to[(3 + k4) * row] = four(from, k_stride, 4 * k4, K); }
        }
    }
}
