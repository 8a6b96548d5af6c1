#include "li_pack.h"

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
