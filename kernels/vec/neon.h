/* Vector vocabulary, neon (aarch64): 4 lanes, four vectors to a panel of 16 units. Words as in vec/avx2.h.
 * v_min and v_max are compare and select, since fmin and fmax treat NaN differently from the other sets. */
#ifndef LI_VEC_NEON_H
#define LI_VEC_NEON_H

#include <arm_neon.h>
#include <stdint.h>
#include <string.h>

#include "../li_compiler.h"

#define LI_W 4  /* lanes */
#define LI_V 4  /* vectors of 16 lanes */
#define LI_R 32 /* vector registers */

typedef float32x4_t vf;
typedef int32x4_t vi;
typedef uint32x4_t vm; /* all bits of a lane set or clear */

LI_INLINE vf v_load(const float *p) { return vld1q_f32(p); }
LI_INLINE void v_store(float *p, vf v) { vst1q_f32(p, v); }
LI_INLINE vf v_set1(float x) { return vdupq_n_f32(x); }
LI_INLINE vf v_zero(void) { return vdupq_n_f32(0.0f); }
LI_INLINE vf v_load_f16(const uint16_t *p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
#define LI_HAS_HALVES 0
LI_INLINE vf v_set1_f16(uint16_t x) { return vcvt_f32_f16(vreinterpret_f16_u16(vdup_n_u16(x))); }
LI_INLINE vf v_load_part(const float *p, int64_t n)
{
    vf v = v_zero();
    if (n > 0) { v = vld1q_lane_f32(p, v, 0); }
    if (n > 1) { v = vld1q_lane_f32(p + 1, v, 1); }
    if (n > 2) { v = vld1q_lane_f32(p + 2, v, 2); }
    if (n > 3) { v = vld1q_lane_f32(p + 3, v, 3); }
    return v;
}
LI_INLINE vf v_load_between(const float *p, int64_t lo, int64_t hi) /* lanes lo .. hi - 1 of those from p, 0 else */
{
    float lane[4] = {0};
    for (int64_t i = lo; i < hi; i++) { lane[i] = p[i]; }
    return vld1q_f32(lane);
}
LI_INLINE void v_store_part(float *p, vf v, int64_t n)
{
    if (n > 0) { vst1q_lane_f32(p, v, 0); }
    if (n > 1) { vst1q_lane_f32(p + 1, v, 1); }
    if (n > 2) { vst1q_lane_f32(p + 2, v, 2); }
    if (n > 3) { vst1q_lane_f32(p + 3, v, 3); }
}

LI_INLINE void v_store_most(float *p, vf v, int64_t n) /* n lanes; those behind may be written too, in any way */
{
    (void)n;
    v_store(p, v);
}

LI_INLINE vf v_load_even(const float *p) { return vld2q_f32(p).val[0]; } /* p[0], p[2], ...: reads one more behind the last of them */
LI_INLINE vf v_load_odd(const float *p) { return vld2q_f32(p).val[1]; } /* p[1], p[3], ... */
LI_INLINE vf v_load_back(const float *p) /* p[0], p[-1], ... */
{
    const vf pairs = vrev64q_f32(vld1q_f32(p - 3));
    return vcombine_f32(vget_high_f32(pairs), vget_low_f32(pairs));
}
LI_INLINE void v_turn4(float *y, int64_t y_row, const float *x, int64_t x_row) /* y[i][j] = x[j][i], 4 by 4 */
{
    const float32x4x2_t ab = vtrnq_f32(vld1q_f32(x), vld1q_f32(x + x_row));
    const float32x4x2_t cd = vtrnq_f32(vld1q_f32(x + 2 * x_row), vld1q_f32(x + 3 * x_row));
    vst1q_f32(y, vcombine_f32(vget_low_f32(ab.val[0]), vget_low_f32(cd.val[0])));
    vst1q_f32(y + y_row, vcombine_f32(vget_low_f32(ab.val[1]), vget_low_f32(cd.val[1])));
    vst1q_f32(y + 2 * y_row, vcombine_f32(vget_high_f32(ab.val[0]), vget_high_f32(cd.val[0])));
    vst1q_f32(y + 3 * y_row, vcombine_f32(vget_high_f32(ab.val[1]), vget_high_f32(cd.val[1])));
}

LI_INLINE vf v_swap(vf a, int h) { return h == 2 ? vextq_f32(a, a, 2) : vrev64q_f32(a); } /* lane l holds lane l ^ h */
LI_INLINE vf v_first(vf a) { return vdupq_laneq_f32(a, 0); }
LI_INLINE vf v_add(vf a, vf b) { return vaddq_f32(a, b); }
LI_INLINE vf v_sub(vf a, vf b) { return vsubq_f32(a, b); }
LI_INLINE vf v_mul(vf a, vf b) { return vmulq_f32(a, b); }
LI_INLINE vf v_div(vf a, vf b) { return vdivq_f32(a, b); }
LI_INLINE vf v_fma(vf a, vf b, vf c) { return vfmaq_f32(c, a, b); }  /* a * b + c */
LI_INLINE vf v_fnma(vf a, vf b, vf c) { return vfmsq_f32(c, a, b); } /* c - a * b */
LI_INLINE vf v_sqrt(vf a) { return vsqrtq_f32(a); }
LI_INLINE double v_sqrt_f64(double x) { return vget_lane_f64(vsqrt_f64(vdup_n_f64(x)), 0); }
LI_INLINE vf v_min(vf a, vf b) { return vbslq_f32(vcltq_f32(a, b), a, b); } /* a < b ? a : b */
LI_INLINE vf v_max(vf a, vf b) { return vbslq_f32(vcgtq_f32(a, b), a, b); } /* a > b ? a : b */
LI_INLINE vf v_round(vf a) { return vrndnq_f32(a); }
LI_INLINE vf v_floor(vf a) { return vrndmq_f32(a); }
LI_INLINE vf v_ceil(vf a) { return vrndpq_f32(a); }
LI_INLINE vf v_trunc(vf a) { return vrndq_f32(a); }

LI_INLINE vm v_lt(vf a, vf b) { return vcltq_f32(a, b); }
LI_INLINE vm v_le(vf a, vf b) { return vcleq_f32(a, b); }
LI_INLINE vm v_eq(vf a, vf b) { return vceqq_f32(a, b); }
LI_INLINE vm v_unord(vf a, vf b) { return vmvnq_u32(vandq_u32(vceqq_f32(a, a), vceqq_f32(b, b))); }
LI_INLINE vm m_and(vm a, vm b) { return vandq_u32(a, b); }
LI_INLINE vm m_or(vm a, vm b) { return vorrq_u32(a, b); }
LI_INLINE vm m_not(vm a) { return vmvnq_u32(a); }
LI_INLINE int m_any(vm a) { return vmaxvq_u32(a) != 0; }
LI_INLINE vf v_sel(vm m, vf a, vf b) { return vbslq_f32(m, a, b); } /* m ? a : b */

LI_INLINE vi v_bits(vf a) { return vreinterpretq_s32_f32(a); }
LI_INLINE vf v_float(vi a) { return vreinterpretq_f32_s32(a); }
LI_INLINE vi v_to_i(vf a) { return vcvtnq_s32_f32(a); }
LI_INLINE vf v_to_f(vi a) { return vcvtq_f32_s32(a); }
LI_INLINE vi vi_load(const int32_t *p) { return vld1q_s32(p); }
LI_INLINE void vi_store(int32_t *p, vi v) { vst1q_s32(p, v); }
LI_INLINE vi vi_set1(int32_t x) { return vdupq_n_s32(x); }
LI_INLINE vi vi_add(vi a, vi b) { return vaddq_s32(a, b); }
LI_INLINE vi vi_sub(vi a, vi b) { return vsubq_s32(a, b); }
LI_INLINE vi vi_mul(vi a, vi b) { return vmulq_s32(a, b); }
LI_INLINE vi vi_mul_high(vi a, vi b) /* the upper half of unsigned products */
{
    const uint32x4_t x = vreinterpretq_u32_s32(a), y = vreinterpretq_u32_s32(b);
    const uint32x4_t low = vreinterpretq_u32_u64(vmull_u32(vget_low_u32(x), vget_low_u32(y)));
    const uint32x4_t high = vreinterpretq_u32_u64(vmull_u32(vget_high_u32(x), vget_high_u32(y)));
    return vreinterpretq_s32_u32(vuzp2q_u32(low, high));
}
LI_INLINE vi vi_and(vi a, vi b) { return vandq_s32(a, b); }
LI_INLINE vi vi_or(vi a, vi b) { return vorrq_s32(a, b); }
LI_INLINE vi vi_xor(vi a, vi b) { return veorq_s32(a, b); }
LI_INLINE vm vi_lt(vi a, vi b) { return vcltq_s32(a, b); }
LI_INLINE vm vi_eq(vi a, vi b) { return vceqq_s32(a, b); }
#define vi_shl(a, n) vshlq_n_s32((a), (n)) /* macros: the count is an immediate */
#define vi_shr(a, n) vreinterpretq_s32_u32(vshrq_n_u32(vreinterpretq_u32_s32(a), (n))) /* zeros come in */
#define vi_sar(a, n) vshrq_n_s32((a), (n)) /* the sign comes in */

LI_INLINE vf v_abs(vf a) { return vabsq_f32(a); }
LI_INLINE vf v_neg(vf a) { return vnegq_f32(a); }
LI_INLINE vf v_copysign(vf a, vf sign) { return vbslq_f32(vdupq_n_u32(0x80000000u), sign, a); }

#endif
