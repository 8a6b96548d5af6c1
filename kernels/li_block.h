/* How the recurrent and convolution slots cut their work to keep scratch small. Shared by the bodies and scratch.c. */
#ifndef LI_BLOCK_H
#define LI_BLOCK_H

#include <stdint.h>

#include "li_kernels.h"

static inline int64_t li_pad_units(int64_t n) { return (n + LI_UNITS - 1) / LI_UNITS * LI_UNITS; }

/* Time steps whose input projection is kept at once: about 128 KiB of it, at least 24 columns so that a panel of w
 * is used a few times while it is in cache. Grows with T: scratch for a long chunk serves a short one. */
static inline int64_t li_recur_block(int64_t gates, int64_t T, int64_t B, int64_t H)
{
    const int64_t row_bytes = gates * li_pad_units(H) * 4;
    int64_t cols = 131072 / (row_bytes > 0 ? row_bytes : 1);
    if (cols < 24) { cols = 24; }
    const int64_t steps = cols / (B > 0 ? B : 1);
    if (T <= 1) { return 0; } /* nothing to project ahead */
    return steps < 2 ? (T < 2 ? T : 2) : (steps < T ? steps : T);
}

/* Floats of scratch of the recurrent slots: h twice, gru with linear_before_reset = 0: z, h sums, r . h; then the projected
 * inputs of one block of steps. Rows run one by one (lens) cut blocks as for B = 1: those have at most B - 1 columns more than
 * the block counted here, 4 (B - 1) H_pad floats, and leave 6 (B - 1) H_pad in front unused. */
static inline int64_t li_recur_floats(int64_t gates, int64_t T, int64_t B, int64_t H)
{
    const int64_t H_pad = li_pad_units(H);
    return li_recur_block(gates, T, B, H) * B * gates * H_pad + 6 * B * H_pad;
}

/* Words of a row of K inputs that are quantised: scale, zero, sum, one that is left, then their bytes, or each as 16 bits where a
 * set multiplies those; whole lines of memory. */
static inline int64_t li_input_row(int64_t K) { return li_pad_units(4 + (K + 3) / 4 * 2 + 2 * LI_UNITS); }

#define LI_QUANT_ROWS 96 /* rows of a matmul that are quantised at once */

/* Positions of one line that a convolution works on at once: the rows of x they read are held in some 64 KiB. */
static inline int64_t li_conv_block(int64_t rows, int64_t stride, int64_t out)
{
    int64_t cols = 16384 / (rows * stride > 0 ? rows * stride : 1) / 48 * 48;
    if (cols < 48) { cols = 48; }
    if (cols > 480) { cols = 480; }
    return out <= cols + cols / 2 ? out : cols; /* no few are left over: they cost what many do */
}

#define LI_CONV_STAGE 4096 /* floats of rows of several small groups that are held at once */

/* Floats from one phase of a row of x to the next (phase: every stride-th element), for `block` positions. */
static inline int64_t li_conv_phase(int64_t block, int64_t stride, int64_t kernel, int64_t dilation)
{
    return block + (kernel - 1) * dilation / stride + 1;
}

/* Floats of one of the `stride` lines into which pool_f32 parts a row: those that y_cols windows see, and a vector more. */
static inline int64_t li_pool_part(int64_t y_cols, int64_t kernel, int64_t stride, int64_t dilation)
{
    return y_cols + (kernel - 1) * dilation / stride + 1 + LI_UNITS;
}

#endif
