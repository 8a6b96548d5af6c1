/* The packed weight layout. One layout for every instruction set.
 *
 *   at(p, k, g, u) = p * panel + (k * G + g) * 16 + u          panel p = units 16p .. 16p + 15, G gates
 *
 *   k = 0: | gate 0: u0 .. u15 | gate 1: u0 .. u15 | ... | gate G-1 |
 *   k = 1: | gate 0 ...                                               units past the last are zero-filled
 *
 * `panel` is the distance of two panels in floats: K * G * 16 for a matrix alone, (I + H) * G * 16 where W and R
 * of one recurrent layer lie one behind the other in each panel, so that a step reads one stream of memory.
 * A plain matrix is G = 1. */
#ifndef LI_PACK_H
#define LI_PACK_H

#include <stdint.h>

/* dst[at(p, k, g, u)] = src[g * gate_stride + (16p + u) * unit_stride + k * k_stride], strides in elements;
 * units 0 .. n_units-1, k 0 .. K-1. dst holds ceil(n_units / 16) panels of `panel` floats. */
void li_pack_f32(float *dst, const float *src, int64_t gates, int64_t n_units, int64_t K, int64_t gate_stride,
                 int64_t unit_stride, int64_t k_stride, int64_t panel);

#endif
