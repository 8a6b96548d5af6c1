/* Vector vocabulary, avx2: 8 lanes, two vectors to a panel of 16 units. The same words in every vec/<isa>.h.
 * Comparisons are quiet (NaN compares false); v_min and v_max give b where either is NaN; v_to_i rounds to
 * nearest even and is defined only inside the range of int32. */
#ifndef LI_VEC_AVX2_H
#define LI_VEC_AVX2_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "../li_compiler.h"
#include "x86.h"

#define LI_W 8  /* lanes */
#define LI_V 2  /* vectors of 16 lanes */
#define LI_R 16 /* vector registers */

typedef __m256 vf;
typedef __m256i vi;
typedef __m256 vm; /* all bits of a lane set or clear */

LI_INLINE vi v_lanes_(int64_t n)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

LI_INLINE vf v_load(const float *p) { return _mm256_loadu_ps(p); }
LI_INLINE void v_store(float *p, vf v) { _mm256_storeu_ps(p, v); }
LI_INLINE vf v_load_part(const float *p, int64_t n) { return _mm256_maskload_ps(p, v_lanes_(n)); }
LI_INLINE vf v_load_between(const float *p, int64_t lo, int64_t hi) /* lanes lo .. hi - 1 of those from p, 0 else */
{
    return _mm256_maskload_ps(p, _mm256_andnot_si256(v_lanes_(lo), v_lanes_(hi)));
}
LI_INLINE void v_store_part(float *p, vf v, int64_t n) { _mm256_maskstore_ps(p, v_lanes_(n), v); }
LI_INLINE void v_store_most(float *p, vf v, int64_t n) /* n lanes; those behind may be written too, in any way */
{
    if (n > 4) {
        v_store(p, v);
    } else {
        _mm_storeu_ps(p, _mm256_castps256_ps128(v));
    }
}
LI_INLINE vf v_set1(float x) { return _mm256_set1_ps(x); }
LI_INLINE vf v_zero(void) { return _mm256_setzero_ps(); }
LI_INLINE vf v_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)); }
#define LI_HAS_HALVES 0
LI_INLINE vf v_set1_f16(uint16_t x) { return _mm256_cvtph_ps(_mm_set1_epi16((short)x)); }

LI_INLINE vf v_load_even(const float *p) /* p[0], p[2], ...: reads one more behind the last of them */
{
    const vf mixed = _mm256_shuffle_ps(v_load(p), v_load(p + LI_W), 0x88);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
}
LI_INLINE vf v_load_odd(const float *p) /* p[1], p[3], ... */
{
    const vf mixed = _mm256_shuffle_ps(v_load(p), v_load(p + LI_W), 0xdd);
    return _mm256_castpd_ps(_mm256_permute4x64_pd(_mm256_castps_pd(mixed), 0xd8));
}
LI_INLINE vf v_load_back(const float *p) /* p[0], p[-1], ... */
{
    return _mm256_permutevar8x32_ps(v_load(p - (LI_W - 1)), _mm256_setr_epi32(7, 6, 5, 4, 3, 2, 1, 0));
}
LI_INLINE vf v_swap(vf a, int h) /* lane l holds lane l ^ h; h is 1, 2, 4 ... below LI_W, and a constant */
{
    return h == 4 ? _mm256_permute2f128_ps(a, a, 1) : h == 2 ? _mm256_permute_ps(a, 0x4e) : _mm256_permute_ps(a, 0xb1);
}
LI_INLINE vf v_first(vf a) { return _mm256_broadcastss_ps(_mm256_castps256_ps128(a)); } /* lane 0 in all lanes */
LI_INLINE vf v_add(vf a, vf b) { return _mm256_add_ps(a, b); }
LI_INLINE vf v_sub(vf a, vf b) { return _mm256_sub_ps(a, b); }
LI_INLINE vf v_mul(vf a, vf b) { return _mm256_mul_ps(a, b); }
LI_INLINE vf v_div(vf a, vf b) { return _mm256_div_ps(a, b); }
LI_INLINE vf v_fma(vf a, vf b, vf c) { return _mm256_fmadd_ps(a, b, c); }   /* a * b + c */
LI_INLINE vf v_fnma(vf a, vf b, vf c) { return _mm256_fnmadd_ps(a, b, c); } /* c - a * b */
LI_INLINE vf v_sqrt(vf a) { return _mm256_sqrt_ps(a); }
LI_INLINE double v_sqrt_f64(double x) { return _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set_sd(x))); }
LI_INLINE vf v_min(vf a, vf b) { return _mm256_min_ps(a, b); } /* a < b ? a : b */
LI_INLINE vf v_max(vf a, vf b) { return _mm256_max_ps(a, b); } /* a > b ? a : b */
LI_INLINE vf v_round(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
LI_INLINE vf v_floor(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
LI_INLINE vf v_ceil(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
LI_INLINE vf v_trunc(vf a) { return _mm256_round_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }

LI_INLINE vm v_lt(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
LI_INLINE vm v_le(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_LE_OQ); }
LI_INLINE vm v_eq(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
LI_INLINE vm v_unord(vf a, vf b) { return _mm256_cmp_ps(a, b, _CMP_UNORD_Q); }
LI_INLINE vm m_and(vm a, vm b) { return _mm256_and_ps(a, b); }
LI_INLINE vm m_or(vm a, vm b) { return _mm256_or_ps(a, b); }
LI_INLINE vm m_not(vm a) { return _mm256_xor_ps(a, _mm256_castsi256_ps(_mm256_set1_epi32(-1))); }
LI_INLINE int m_any(vm a) { return _mm256_movemask_ps(a) != 0; }
LI_INLINE vf v_sel(vm m, vf a, vf b) { return _mm256_blendv_ps(b, a, m); } /* m ? a : b */

LI_INLINE vi v_bits(vf a) { return _mm256_castps_si256(a); }
LI_INLINE vf v_float(vi a) { return _mm256_castsi256_ps(a); }
LI_INLINE vi v_to_i(vf a) { return _mm256_cvtps_epi32(a); }
LI_INLINE vf v_to_f(vi a) { return _mm256_cvtepi32_ps(a); }
LI_INLINE vi vi_load(const int32_t *p) { return _mm256_loadu_si256((const __m256i *)(const void *)p); }
LI_INLINE void vi_store(int32_t *p, vi v) { _mm256_storeu_si256((__m256i *)(void *)p, v); }
LI_INLINE vi vi_set1(int32_t x) { return _mm256_set1_epi32(x); }
LI_INLINE vi vi_add(vi a, vi b) { return _mm256_add_epi32(a, b); }
LI_INLINE vi vi_sub(vi a, vi b) { return _mm256_sub_epi32(a, b); }
LI_INLINE vi vi_mul(vi a, vi b) { return _mm256_mullo_epi32(a, b); }
LI_INLINE vi vi_mul_high(vi a, vi b) /* the upper half of unsigned products */
{
    const vi odd = _mm256_mul_epu32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(b, 32));
    return _mm256_blend_epi32(_mm256_srli_epi64(_mm256_mul_epu32(a, b), 32), odd, 0xaa);
}
LI_INLINE vi vi_and(vi a, vi b) { return _mm256_and_si256(a, b); }
LI_INLINE vi vi_or(vi a, vi b) { return _mm256_or_si256(a, b); }
LI_INLINE vi vi_xor(vi a, vi b) { return _mm256_xor_si256(a, b); }
LI_INLINE vm vi_lt(vi a, vi b) { return _mm256_castsi256_ps(_mm256_cmpgt_epi32(b, a)); }
LI_INLINE vm vi_eq(vi a, vi b) { return _mm256_castsi256_ps(_mm256_cmpeq_epi32(a, b)); }
#define vi_shl(a, n) _mm256_slli_epi32((a), (n)) /* macros: the count is an immediate */
#define vi_shr(a, n) _mm256_srli_epi32((a), (n)) /* zeros come in */
#define vi_sar(a, n) _mm256_srai_epi32((a), (n)) /* the sign comes in */

LI_INLINE vf v_abs(vf a) { return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a); }
LI_INLINE vf v_neg(vf a) { return _mm256_xor_ps(_mm256_set1_ps(-0.0f), a); }
LI_INLINE vf v_copysign(vf a, vf sign)
{
    const __m256 s = _mm256_set1_ps(-0.0f);
    return _mm256_or_ps(_mm256_andnot_ps(s, a), _mm256_and_ps(s, sign));
}

#endif
