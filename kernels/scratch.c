#include "li_block.h"

int64_t li_recur_scratch(int64_t gates, int64_t T, int64_t B, int64_t I, int64_t H)
{
    (void)I;
    return li_recur_floats(gates, T, B, H) * (int64_t)sizeof(float);
}

/* The same, then rows that are quantised: h (or gru's r . h) of a step, the inputs of one block of steps. */
int64_t li_recur_i8_scratch(int64_t gates, int64_t T, int64_t B, int64_t I, int64_t H)
{
    const int64_t rows = (li_recur_block(gates, T, B, H) + 1) * B;
    return li_recur_scratch(gates, T, B, I, H) + (B * li_input_row(H) + rows * li_input_row(I)) * (int64_t)sizeof(int32_t);
}

int64_t li_matmul_i8_scratch(int64_t n, int64_t k)
{
    return (n < LI_QUANT_ROWS ? n : LI_QUANT_ROWS) * li_input_row(k) * (int64_t)sizeof(int32_t);
}

int64_t li_matmul_dyn_scratch(int64_t k, int64_t m) { return k * li_pad_units(m) * (int64_t)sizeof(float); }

/* The offset of every k, then the rows of x for one block of positions, for whichever axis the slot takes as the line. */
int64_t li_conv_scratch(int64_t channels, int64_t groups, const int64_t kernel[3], const int64_t out[3], const int64_t stride[3],
                        const int64_t dilation[3])
{
    const int64_t C = channels / (groups > 0 ? groups : 1), K = C * kernel[0] * kernel[1] * kernel[2];
    int64_t most = K * li_conv_phase(li_conv_block(K, 1, out[0] * out[1] * out[2]), 1, 1, 1);
    if (groups > 1 && most < LI_CONV_STAGE) { most = LI_CONV_STAGE; }
    for (int d = 0; d < 3; d++) {
        const int64_t rows = K / (kernel[d] > 0 ? kernel[d] : 1), block = li_conv_block(rows, stride[d], out[d]);
        const int64_t need = rows * stride[d] * li_conv_phase(block, stride[d], kernel[d], dilation[d]);
        if (need > most) { most = need; }
    }
    return (K + 1) * (int64_t)sizeof(int64_t) + (most + 64) * (int64_t)sizeof(float);
}

/* A row of x with its padding, and the same parted into lines where its windows are 3 apart or more. */
int64_t li_pool_scratch(int64_t y_cols, int64_t kernel, int64_t stride, int64_t dilation)
{
    return (stride > 2 ? 2 : 1) * stride * li_pool_part(y_cols, kernel, stride, dilation) * (int64_t)sizeof(float);
}
