/* Words for 8-bit numbers, avx512 without VNNI: 16-bit products, as in vec/avx2_i8.h. */
#ifndef LI_VEC_AVX512_I8_H
#define LI_VEC_AVX512_I8_H

#include "avx512.h"
#include "x86_i8.h"

#define LI_PARTS 2
#define LI_TIGHT 1
#define LI_OFFSET 0

LI_INLINE vi vb_weights(const int32_t *w, const int part)
{
    const vi bytes = vi_load(w);
    return _mm512_srai_epi16(part == 0 ? _mm512_slli_epi16(bytes, 8) : bytes, 8);
}
LI_INLINE vs vb_dot(vs sum, vi w, vi x) { return vs_of(_mm512_add_epi32(vi_of(sum), _mm512_madd_epi16(w, x))); }
LI_INLINE void vb_store(int32_t *to, vi q)
{
    const __m256i pairs = _mm256_shufflehi_epi16(_mm256_shufflelo_epi16(_mm512_cvtepi32_epi16(q), 0xd8), 0xd8);
    _mm256_storeu_si256((__m256i *)(void *)to, pairs);
}

LI_INLINE vs vb_dot_alone(vs sum, vi w, vi up, vi down)
{
    const vi less = _mm512_sub_epi16(_mm512_maddubs_epi16(down, w), _mm512_maddubs_epi16(up, w));
    return vs_of(_mm512_add_epi32(vi_of(sum), _mm512_madd_epi16(less, _mm512_set1_epi16(-1))));
}
LI_INLINE void vb_store_alone(int32_t *to, vi q)
{
    const vi zero = vi_set1(0);
    const __m128i up = _mm512_cvtepi32_epi8(_mm512_max_epi32(q, zero));
    const __m128i down = _mm512_cvtepi32_epi8(_mm512_max_epi32(_mm512_sub_epi32(zero, q), zero));
    _mm_storeu_si128((__m128i *)(void *)to, _mm_unpacklo_epi32(up, down));
    _mm_storeu_si128((__m128i *)(void *)(to + 4), _mm_unpackhi_epi32(up, down));
}

#include "avx512_all.h"

#endif
