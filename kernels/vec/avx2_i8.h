/* Words for 8-bit numbers, avx2: bytes are widened to 16 bits, whose products and their sums by twos are exact. Of the four
 * bytes of a word, part 0 is the first and the third, part 1 the other two. The same words in every vec/<isa>_i8.h. */
#ifndef LI_VEC_AVX2_I8_H
#define LI_VEC_AVX2_I8_H

#include "avx2.h"
#include "x86_i8.h"

#define LI_PARTS 2  /* words that four inputs are held in */
#define LI_TIGHT 1  /* products take registers before they are added */
#define LI_OFFSET 0 /* what is added to inputs before they are held */

LI_INLINE vi vb_weights(const int32_t *w, const int part) /* of LI_W units */
{
    const vi bytes = vi_load(w);
    return _mm256_srai_epi16(part == 0 ? _mm256_slli_epi16(bytes, 8) : bytes, 8);
}
LI_INLINE vs vb_dot(vs sum, vi w, vi x) { return vs_of(_mm256_add_epi32(vi_of(sum), _mm256_madd_epi16(w, x))); }
LI_INLINE void vb_store(int32_t *to, vi q) /* LI_W inputs as they are held */
{
    const vi at = _mm256_setr_epi8(0, 1, 8, 9, 4, 5, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1, 0, 1, 8, 9, 4, 5, 12, 13, -1, -1, -1, -1, -1, -1, -1, -1);
    const vi halves = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(q, at), 0x08);
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(halves));
}

/* One column: a word of what is above zero in four inputs, one of what is below. Two products of bytes and their sum fit 16 bits,
 * whatever the bytes are: [-2^15, 32512] is what the difference of the two can be, in this order. */
LI_INLINE vs vb_dot_alone(vs sum, vi w, vi up, vi down)
{
    const vi less = _mm256_sub_epi16(_mm256_maddubs_epi16(down, w), _mm256_maddubs_epi16(up, w));
    return vs_of(_mm256_add_epi32(vi_of(sum), _mm256_madd_epi16(less, _mm256_set1_epi16(-1))));
}
LI_INLINE void vb_store_alone(int32_t *to, vi q)
{
    const __m256i at = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8, 12, 1, 5, 9, 13, -1, -1, -1, -1, -1, -1, -1, -1);
    const vi zero = vi_set1(0), up = _mm256_max_epi32(q, zero), down = _mm256_max_epi32(_mm256_sub_epi32(zero, q), zero);
    const vi both = _mm256_shuffle_epi8(_mm256_or_si256(up, _mm256_slli_epi32(down, 8)), at);
    _mm_storeu_si128((__m128i *)(void *)to, _mm256_castsi256_si128(_mm256_permute4x64_epi64(both, 0x08)));
}

LI_INLINE vi vi_max(vi a, vi b) { return _mm256_max_epi32(a, b); }
LI_INLINE int32_t vi_max_all(vi a)
{
    __m128i m = _mm_max_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    m = _mm_max_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_max_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}
LI_INLINE int32_t vi_sum_all(vi a)
{
    __m128i m = _mm_add_epi32(_mm256_castsi256_si128(a), _mm256_extracti128_si256(a, 1));
    m = _mm_add_epi32(m, _mm_shuffle_epi32(m, 0x4e));
    return _mm_cvtsi128_si32(_mm_add_epi32(m, _mm_shuffle_epi32(m, 0xb1)));
}

#endif
