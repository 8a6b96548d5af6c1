/* scalar: windows over rows and columns, in plain C. See scalar_select.c. */
#include <math.h>

#include "../li_kernels.h"

li_status li_pool_f32_scalar(const void *args, char *const *base);
li_status li_pool_f32_scalar(const void *args, char *const *base)
{
    const li_pool_args *g = (const li_pool_args *)args;
    const int max = g->code == LI_RED_MAX;
    const float *x = (const float *)li_at(g->x, base);
    float *y = (float *)li_at(g->y, base);
    for (int64_t e = 0; e < g->n[0] * g->n[1] * g->y_rows * g->y_cols; e++) {
        const int64_t j = e % g->y_cols, i = e / g->y_cols % g->y_rows, b = e / g->y_cols / g->y_rows % g->n[1];
        const int64_t a = e / g->y_cols / g->y_rows / g->n[1];
        const float *plane = x + a * g->x_stride[0] + b * g->x_stride[1];
        float all = 0.0f;
        for (int64_t k = 0; k < g->kernel[1]; k++) {
            const int64_t col = j * g->stride[1] - g->pad[1] + k * g->dilation[1];
            float one = 0.0f;
            for (int64_t r = 0; r < g->kernel[0]; r++) {
                const int64_t row = i * g->stride[0] - g->pad[0] + r * g->dilation[0];
                const int inside = row >= 0 && row < g->rows && col >= 0 && col < g->cols;
                const float v = inside ? plane[row * g->x_stride[2] + col] : max ? -INFINITY : 0.0f;
                one = r == 0 ? v : !max ? one + v : isnan(one) || one > v ? one : v;
            }
            all = k == 0 ? one : !max ? all + one : isnan(all) || all > one ? all : one;
        }
        y[a * g->y_stride[0] + b * g->y_stride[1] + i * g->y_stride[2] + j] = all;
    }
    return LI_OK;
}
