/* The packed weight layout. One layout for every instruction set.
 *
 *   at(p, k, g, u) = p * panel + (k * G + g) * 16 + u          panel p = units 16p .. 16p + 15, G gates
 *
 *   k = 0: | gate 0: u0 .. u15 | gate 1: u0 .. u15 | ... | gate G-1 |
 *   k = 1: | gate 0 ...                                               units past the last are zero-filled
 *
 * `panel` is the distance of two panels in floats: K * G * 16 for a matrix alone, (I + H) * G * 16 where W and R
 * of one recurrent layer lie one behind the other in each panel, so that a step reads one stream of memory.
 * A plain matrix is G = 1.
 *
 * Weights of 8 bits: words of 4 bytes, in each 4 successive k of one unit, the first of them in the lowest byte; k past the
 * last is 0. K4 = ceil(K / 4). Before the words of a panel stand three rows that describe its units:
 *
 *   at(p, k4, g, u) = p * panel + ((3 + k4) * G + g) * 16 + u
 *
 *   row 0: | scale (float) of gate 0: u0 .. u15 | ... gate G-1 |
 *   row 1: | sum over k of w (int32) ...
 *   row 2: | zero point (int32): what is held is w, what it stands for (w - zero) * scale
 *   row 3: | k = 0..3 of gate 0: u0 .. u15 | ...               units past the last: scale, sum, zero and weights 0
 *
 * A matrix has (3 + K4) * G * 16 words a panel; W, R and the r_h of a GRU have rows 0 .. 2 each. */
#ifndef LI_PACK_H
#define LI_PACK_H

#include <stdint.h>

/* dst[at(p, k, g, u)] = src[g * gate_stride + (16p + u) * unit_stride + k * k_stride], strides in elements;
 * units 0 .. n_units-1, k 0 .. K-1. dst holds ceil(n_units / 16) panels of `panel` floats. */
void li_pack_f32(float *dst, const float *src, int64_t gates, int64_t n_units, int64_t K, int64_t gate_stride,
                 int64_t unit_stride, int64_t k_stride, int64_t panel);

/* The same of weights of 8 bits, in words: dst[at(p, k4, g, u)] and its rows of scale, sum and zero. scale and zero are
 * [gates][n_units], dense; zero absent (null): all 0. `panel` in words. */
void li_pack_i8(int32_t *dst, const int8_t *src, const float *scale, const int32_t *zero, int64_t gates, int64_t n_units, int64_t K,
                int64_t gate_stride, int64_t unit_stride, int64_t k_stride, int64_t panel);

#endif
