/* Words for 8-bit numbers, avx512 with VNNI: four products of unsigned and signed bytes at once, so inputs are held 128 higher. */
#ifndef LI_VEC_AVX512VNNI_I8_H
#define LI_VEC_AVX512VNNI_I8_H

#include "avx512.h"
#include "x86_i8.h"

#define LI_PARTS 1
#define LI_TIGHT 0
#define LI_OFFSET 128

LI_INLINE vi vb_weights(const int32_t *w, const int part)
{
    (void)part;
    return vi_load(w);
}
LI_INLINE vs vb_dot(vs sum, vi w, vi x) { return vs_of(_mm512_dpbusd_epi32(vi_of(sum), x, w)); }
LI_INLINE void vb_store(int32_t *to, vi q) { _mm_storeu_si128((__m128i *)(void *)to, _mm512_cvtepi32_epi8(q)); }

#include "avx512_all.h"

#endif
