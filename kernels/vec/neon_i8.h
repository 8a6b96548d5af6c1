/* Words for 8-bit numbers, neon without dot products: products of 16 bits, added by twos. */
#ifndef LI_VEC_NEON_I8_H
#define LI_VEC_NEON_I8_H

#include "neon.h"

#define LI_TIGHT 1
typedef vi vs;

LI_INLINE vs vb_dot(vs sum, vi w, vi x)
{
    const int8x16_t a = vreinterpretq_s8_s32(w), b = vreinterpretq_s8_s32(x);
    const int32x4_t low = vpaddlq_s16(vmull_s8(vget_low_s8(a), vget_low_s8(b)));
    return vaddq_s32(sum, vpaddq_s32(low, vpaddlq_s16(vmull_high_s8(a, b))));
}

#include "neon_all.h"

#endif
