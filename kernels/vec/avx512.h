/* Vector vocabulary, avx512 (F BW DQ VL): 16 lanes, one vector to a panel of 16 units. Words as in vec/avx2.h. */
#ifndef LI_VEC_AVX512_H
#define LI_VEC_AVX512_H

#include <immintrin.h>
#include <stdint.h>
#include <string.h>

#include "../li_compiler.h"
#include "x86.h"

#define LI_W 16 /* lanes */
#define LI_V 1  /* vectors of 16 lanes */
#define LI_R 32 /* vector registers */

typedef __m512 vf;
typedef __m512i vi;
typedef __mmask16 vm;

LI_INLINE __mmask16 v_lanes_(int64_t n) { return (__mmask16)((1u << n) - 1u); }

LI_INLINE vf v_load(const float *p) { return _mm512_loadu_ps(p); }
LI_INLINE void v_store(float *p, vf v) { _mm512_storeu_ps(p, v); }
LI_INLINE vf v_load_part(const float *p, int64_t n) { return _mm512_maskz_loadu_ps(v_lanes_(n), p); }
LI_INLINE vf v_load_between(const float *p, int64_t lo, int64_t hi) /* lanes lo .. hi - 1 of those from p, 0 else */
{
    return _mm512_maskz_loadu_ps((__mmask16)(v_lanes_(hi) & ~v_lanes_(lo)), p);
}
LI_INLINE void v_store_part(float *p, vf v, int64_t n) { _mm512_mask_storeu_ps(p, v_lanes_(n), v); }
LI_INLINE void v_store_most(float *p, vf v, int64_t n) /* n lanes; those behind may be written too, in any way */
{
    if (n > 8) {
        v_store(p, v);
    } else if (n > 4) {
        _mm256_storeu_ps(p, _mm512_castps512_ps256(v));
    } else {
        _mm_storeu_ps(p, _mm512_castps512_ps128(v));
    }
}
LI_INLINE vf v_set1(float x) { return _mm512_set1_ps(x); }
LI_INLINE vf v_zero(void) { return _mm512_setzero_ps(); }
LI_INLINE vf v_load_f16(const uint16_t *p) /* in halves: one conversion 512 bits wide takes longer on Zen 4 */
{
    const __m128i *half = (const __m128i *)(const void *)p;
    return _mm512_insertf32x8(_mm512_castps256_ps512(_mm256_cvtph_ps(_mm_loadu_si128(half))), _mm256_cvtph_ps(_mm_loadu_si128(half + 1)), 1);
}
#define LI_HAS_HALVES 1 /* vectors of half the width: two conversions and two sums take less than one of each that joins them */
typedef __m256 vh;
LI_INLINE vh v_low(vf v) { return _mm512_castps512_ps256(v); }
LI_INLINE vh v_high(vf v) { return _mm512_extractf32x8_ps(v, 1); }
LI_INLINE vf v_join(vh low, vh high) { return _mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1); }
LI_INLINE vh vh_set1(float x) { return _mm256_set1_ps(x); }
LI_INLINE vh vh_load_f16(const uint16_t *p) { return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)(const void *)p)); }
LI_INLINE vh vh_fma(vh a, vh b, vh c) { return _mm256_fmadd_ps(a, b, c); }
LI_INLINE vf v_set1_f16(uint16_t x) { return _mm512_broadcastss_ps(_mm_cvtph_ps(_mm_set1_epi16((short)x))); }

LI_INLINE vf v_load_even(const float *p) /* p[0], p[2], ...: reads one more behind the last of them */
{
    const vi at = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    return _mm512_permutex2var_ps(v_load(p), at, v_load(p + LI_W));
}
LI_INLINE vf v_load_odd(const float *p) /* p[1], p[3], ... */
{
    const vi at = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
    return _mm512_permutex2var_ps(v_load(p), at, v_load(p + LI_W));
}
LI_INLINE vf v_load_back(const float *p) /* p[0], p[-1], ... */
{
    return _mm512_permutexvar_ps(_mm512_setr_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0), v_load(p - (LI_W - 1)));
}
LI_INLINE vf v_swap(vf a, int h)
{
    return h == 8   ? _mm512_shuffle_f32x4(a, a, 0x4e)
           : h == 4 ? _mm512_shuffle_f32x4(a, a, 0xb1)
           : h == 2 ? _mm512_permute_ps(a, 0x4e)
                    : _mm512_permute_ps(a, 0xb1);
}
LI_INLINE vf v_first(vf a) { return _mm512_broadcastss_ps(_mm512_castps512_ps128(a)); }
LI_INLINE vf v_add(vf a, vf b) { return _mm512_add_ps(a, b); }
LI_INLINE vf v_sub(vf a, vf b) { return _mm512_sub_ps(a, b); }
LI_INLINE vf v_mul(vf a, vf b) { return _mm512_mul_ps(a, b); }
LI_INLINE vf v_div(vf a, vf b) { return _mm512_div_ps(a, b); }
LI_INLINE vf v_fma(vf a, vf b, vf c) { return _mm512_fmadd_ps(a, b, c); }   /* a * b + c */
LI_INLINE vf v_fnma(vf a, vf b, vf c) { return _mm512_fnmadd_ps(a, b, c); } /* c - a * b */
LI_INLINE vf v_sqrt(vf a) { return _mm512_sqrt_ps(a); }
LI_INLINE double v_sqrt_f64(double x) { return _mm_cvtsd_f64(_mm_sqrt_pd(_mm_set_sd(x))); }
LI_INLINE vf v_min(vf a, vf b) { return _mm512_min_ps(a, b); } /* a < b ? a : b */
LI_INLINE vf v_max(vf a, vf b) { return _mm512_max_ps(a, b); } /* a > b ? a : b */
LI_INLINE vf v_round(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC); }
LI_INLINE vf v_floor(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC); }
LI_INLINE vf v_ceil(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_POS_INF | _MM_FROUND_NO_EXC); }
LI_INLINE vf v_trunc(vf a) { return _mm512_roundscale_ps(a, _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC); }

LI_INLINE vm v_lt(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
LI_INLINE vm v_le(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_LE_OQ); }
LI_INLINE vm v_eq(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
LI_INLINE vm v_unord(vf a, vf b) { return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q); }
LI_INLINE vm m_and(vm a, vm b) { return (vm)(a & b); }
LI_INLINE vm m_or(vm a, vm b) { return (vm)(a | b); }
LI_INLINE vm m_not(vm a) { return (vm)~a; }
LI_INLINE int m_any(vm a) { return a != 0; }
LI_INLINE vf v_sel(vm m, vf a, vf b) { return _mm512_mask_blend_ps(m, b, a); } /* m ? a : b */

LI_INLINE vi v_bits(vf a) { return _mm512_castps_si512(a); }
LI_INLINE vf v_float(vi a) { return _mm512_castsi512_ps(a); }
LI_INLINE vi v_to_i(vf a) { return _mm512_cvtps_epi32(a); }
LI_INLINE vf v_to_f(vi a) { return _mm512_cvtepi32_ps(a); }
LI_INLINE vi vi_load(const int32_t *p) { return _mm512_loadu_si512((const void *)p); }
LI_INLINE void vi_store(int32_t *p, vi v) { _mm512_storeu_si512((void *)p, v); }
LI_INLINE vi vi_set1(int32_t x) { return _mm512_set1_epi32(x); }
LI_INLINE vi vi_add(vi a, vi b) { return _mm512_add_epi32(a, b); }
LI_INLINE vi vi_sub(vi a, vi b) { return _mm512_sub_epi32(a, b); }
LI_INLINE vi vi_mul(vi a, vi b) { return _mm512_mullo_epi32(a, b); }
LI_INLINE vi vi_mul_high(vi a, vi b) /* the upper half of unsigned products */
{
    const vi odd = _mm512_mul_epu32(_mm512_srli_epi64(a, 32), _mm512_srli_epi64(b, 32));
    return _mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(_mm512_mul_epu32(a, b), 32), odd);
}
LI_INLINE vi vi_and(vi a, vi b) { return _mm512_and_si512(a, b); }
LI_INLINE vi vi_or(vi a, vi b) { return _mm512_or_si512(a, b); }
LI_INLINE vi vi_xor(vi a, vi b) { return _mm512_xor_si512(a, b); }
LI_INLINE vm vi_lt(vi a, vi b) { return _mm512_cmplt_epi32_mask(a, b); }
LI_INLINE vm vi_eq(vi a, vi b) { return _mm512_cmpeq_epi32_mask(a, b); }
#define vi_shl(a, n) _mm512_slli_epi32((a), (n)) /* macros: the count is an immediate */
#define vi_shr(a, n) _mm512_srli_epi32((a), (n)) /* zeros come in */
#define vi_sar(a, n) _mm512_srai_epi32((a), (n)) /* the sign comes in */

LI_INLINE vf v_abs(vf a) { return _mm512_andnot_ps(_mm512_set1_ps(-0.0f), a); }
LI_INLINE vf v_neg(vf a) { return _mm512_xor_ps(_mm512_set1_ps(-0.0f), a); }
LI_INLINE vf v_copysign(vf a, vf sign)
{
    const __m512 s = _mm512_set1_ps(-0.0f);
    return _mm512_or_ps(_mm512_andnot_ps(s, a), _mm512_and_ps(s, sign));
}

#endif
