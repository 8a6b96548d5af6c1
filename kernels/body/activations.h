/* Element-wise functions over one vector. Every multiply-add is written out and every division exact, so the bits are
 * the same on avx2, avx512 and neon. Coefficients: activations_coef.h, made by tools/fit_activations.py. Bounds are in
 * ulp of the float result against the exact value, over every float unless a range is named; docs/numerics.md has the
 * measurements. NaN in gives NaN out. */
#ifndef LI_BODY_ACTIVATIONS_H
#define LI_BODY_ACTIVATIONS_H

#include "activations_coef.h"

#define LI_MAGIC 0x1.8p23f /* t + magic rounds t to an integer and leaves it in the low bits; |t| < 2^22 */
#define LI_INF_BITS 0x7f800000

/* p(r) = c0 .. c4, in the order that is shortest in time. */
LI_INLINE vf li_poly5_(vf r, vf r2, float c0, float c1, float c2, float c3, float c4)
{
    const vf lo = v_fma(v_set1(c1), r, v_set1(c0));
    const vf hi = v_fma(v_set1(c3), r, v_set1(c2));
    return v_fma(v_fma(v_set1(c4), r2, hi), r2, lo);
}

/* expm1(r) for |r| <= ln2 / 2, and n in the low bits of *t, where x = n ln2 + r and |x| < 2^21. */
LI_INLINE vf li_exp_split_(vf x, float magic, vf *t)
{
    *t = v_fma(x, v_set1(LI_LOG2E), v_set1(magic));
    const vf n = v_sub(*t, v_set1(magic));
    const vf r = v_fnma(n, v_set1(LI_LN2_1), v_fnma(n, v_set1(LI_LN2_0), x));
    const vf r2 = v_mul(r, r);
    return v_fma(li_poly5_(r, r2, LI_EXP0, LI_EXP1, LI_EXP2, LI_EXP3, LI_EXP4), r2, r);
}

/* exp(x): 1.1 ulp; below 2^-126 within one unit of 2^-149. inf above 88.7228, 0 below -103.97. */
LI_INLINE vf li_exp(vf x)
{
    vf t;
    x = v_max(v_set1(-105.0f), v_min(v_set1(89.0f), x));
    const vf p = li_exp_split_(x, LI_MAGIC, &t);
    const vi n = vi_sub(v_bits(t), v_bits(v_set1(LI_MAGIC)));
    /* 2^n in two factors: n reaches below -126 and up to 128, and only the last product may round */
    const vi half = vi_sar(n, 1);
    const vf s = v_float(vi_shl(vi_add(half, vi_set1(127)), 23));
    const vf s2 = v_float(vi_shl(vi_add(vi_sub(n, half), vi_set1(127)), 23));
    return v_mul(v_fma(p, s, s), s2);
}

/* For x <= 0: 2^n and expm1(r), so that exp(x) = s + s p. One shift makes s, the exponent bias being in the magic
 * number; at n = -127 that gives s = 0, which is where the clamp ends: below -87.68 exp(x) reads as 0. */
LI_INLINE vf li_exp_neg_(vf x, vf *s)
{
    vf t;
    x = v_max(v_set1(-88.0f), x);
    const vf p = li_exp_split_(x, LI_MAGIC + 127.0f, &t);
    *s = v_float(vi_shl(v_bits(t), 23));
    return p;
}

/* 1 / (1 + exp(-x)): 2.5 ulp down to x = -87.68, where it is 2^-126.5; 0 below. From exp(-|x|), which cannot overflow
 * and keeps the left tail relatively exact. */
LI_INLINE vf li_sigmoid(vf x)
{
    vf s;
    const vf p = li_exp_neg_(v_copysign(x, v_set1(-1.0f)), &s);
    const vf e = v_fma(p, s, s), one = v_set1(1.0f);
    return v_div(v_sel(v_lt(x, v_zero()), e, one), v_fma(p, s, v_add(s, one)));
}

/* tanh(x): 2 ulp, denormals exact, tanh(-0) = -0. With h = expm1(-2|x|) / 2: tanh|x| = -h / (1 + h). x is reduced by
 * ln2 / 2 and the polynomial halved, which saves the product 2x. One constant for ln2 is enough: where n is
 * large enough to feel its error, h is next to -1/2 and the error is scaled by 2^n. */
LI_INLINE vf li_tanh(vf x)
{
    const vf a = v_max(v_set1(-44.0f), v_copysign(x, v_set1(-1.0f)));
    const vf t = v_fma(a, v_set1(2.0f * LI_LOG2E), v_set1(LI_MAGIC + 127.0f));
    const vf n = v_sub(t, v_set1(LI_MAGIC + 127.0f));
    const vf r = v_fnma(n, v_set1(0.5f * LI_LN2_0), a);
    const vf s = v_float(vi_shl(v_bits(t), 23));
    const vf r2 = v_mul(r, r);
    const vf p = v_fma(li_poly5_(r, r2, LI_EXPH0, LI_EXPH1, LI_EXPH2, LI_EXPH3, LI_EXPH4), r2, r);
    const vf h = v_fma(p, s, v_fma(s, v_set1(0.5f), v_set1(-0.5f)));
    return v_copysign(v_div(h, v_fma(p, s, v_fma(s, v_set1(0.5f), v_set1(0.5f)))), x); /* 1 + h, rounded once */
}

/* exp(x) - 1 for x <= 0: 1.2 ulp. */
LI_INLINE vf li_expm1_neg_(vf x)
{
    vf s;
    const vf p = li_exp_neg_(x, &s);
    return v_fma(p, s, v_sub(s, v_set1(1.0f)));
}

/* k ln2 + log1p(f), f in [sqrt(1/2) - 1, sqrt(2) - 1]. */
LI_INLINE vf li_log_sum_(vf f, vf k)
{
    const vf f2 = v_mul(f, f);
    vf p = v_fma(v_set1(LI_LOG8), f, v_set1(LI_LOG7));
    p = v_fma(p, f, v_set1(LI_LOG6));
    p = v_fma(p, f, v_set1(LI_LOG5));
    p = v_fma(p, f, v_set1(LI_LOG4));
    p = v_fma(p, f, v_set1(LI_LOG3));
    p = v_fma(p, f, v_set1(LI_LOG2));
    p = v_fma(p, f, v_set1(LI_LOG1));
    p = v_fma(p, f, v_set1(LI_LOG0));
    const vf tail = v_fma(k, v_set1(LI_LN2_1), v_mul(v_mul(p, f), f2));
    return v_fma(k, v_set1(LI_LN2_0), v_add(f, v_fnma(v_set1(0.5f), f2, tail)));
}

/* Natural logarithm: 0.9 ulp. log(+-0) = -inf, negative: NaN. */
LI_INLINE vf li_log(vf x)
{
    const vf inf = v_float(vi_set1(LI_INF_BITS));
    const vm tiny = v_lt(x, v_set1(0x1p-126f)); /* also the negative ones, replaced below */
    const vf y = v_sel(tiny, v_mul(x, v_set1(0x1p24f)), x);
    /* exponent such that the mantissa lies in [sqrt(1/2), sqrt(2)) */
    const vi i = vi_sub(v_bits(y), vi_set1(0x3f3504f3));
    const vi k = vi_sar(i, 23);
    const vf m = v_float(vi_sub(v_bits(y), vi_shl(k, 23)));
    const vf kf = v_sub(v_to_f(k), v_sel(tiny, v_set1(24.0f), v_zero()));
    vf r = li_log_sum_(v_sub(m, v_set1(1.0f)), kf);
    r = v_sel(v_lt(x, inf), r, x); /* inf and NaN */
    r = v_sel(v_lt(x, v_zero()), v_float(vi_set1(0x7fc00000)), r);
    return v_sel(v_eq(x, v_zero()), v_neg(inf), r);
}

/* log(1 + exp(x)): 1.8 ulp down to x = -87.68, 0 below. */
LI_INLINE vf li_softplus(vf x)
{
    vf s;
    const vf p = li_exp_neg_(v_copysign(x, v_set1(-1.0f)), &s);
    const vf e = v_fma(p, s, s);
    const vm big = v_lt(v_set1(0x1.a8279ap-2f), e); /* sqrt(2) - 1: halve 1 + e and add one ln2 */
    const vf f = v_sel(big, v_fma(e, v_set1(0.5f), v_set1(-0.5f)), e);
    const vf l = li_log_sum_(f, v_sel(big, v_set1(1.0f), v_zero()));
    return v_add(v_max(v_zero(), x), l);
}

/* erf(x): 1.2 ulp, denormals within one unit of 2^-149. Two forms after N. Juffa: a polynomial near 0, then
 * 1 - exp of a polynomial (4.0: where erf has long been 1). */
LI_INLINE vf li_erf(vf x)
{
    const vf t = v_min(v_set1(4.0f), v_abs(x));
    const vf t2 = v_mul(x, x);
    vf a = v_fma(v_set1(LI_ERFS5), t2, v_set1(LI_ERFS4));
    a = v_fma(a, t2, v_set1(LI_ERFS3));
    a = v_fma(a, t2, v_set1(LI_ERFS2));
    a = v_fma(a, t2, v_set1(LI_ERFS1));
    a = v_fma(a, t2, v_set1(LI_ERFS0));
    a = v_fma(a, x, x);
    vf b = v_fma(v_set1(LI_ERFL6), t, v_set1(LI_ERFL5));
    b = v_fma(b, t, v_set1(LI_ERFL4));
    b = v_fma(b, t, v_set1(LI_ERFL3));
    b = v_fma(b, t, v_set1(LI_ERFL2));
    b = v_fma(b, t, v_set1(LI_ERFL1));
    b = v_fma(b, t, v_set1(LI_ERFL0));
    b = li_expm1_neg_(v_neg(v_fma(b, t, t)));
    return v_sel(v_lt(t, v_set1(LI_ERF_EDGE)), a, v_copysign(b, x));
}

/* x mod pi/2 for |x| >= 2^16, exactly reduced (Payne and Hanek): quadrant in *n, rest in r, |r| <= pi/4.
 * m 2^e times the bits of 2/pi that matter for the quadrant and 62 places behind it. */
LI_NOINLINE float li_reduce_big_(float x, int32_t *n)
{
    static const uint32_t bits[9] = {LI_TWO_OVER_PI_BITS};
    uint32_t u;
    memcpy(&u, &x, 4);
    const int e = (int)(u >> 23 & 255) - 150, at = 62 + e, word = at >> 5, sh = at & 31;
    const uint64_t m = (u & 0x7fffffu) | 0x800000u;
    uint64_t hi = (uint64_t)bits[word] << 32 | bits[word + 1];
    const uint64_t lo = (uint64_t)bits[word + 2] << 32 | bits[word + 3];
    uint64_t next = lo >> 32;
    if (sh) {
        hi = hi << sh | lo >> (64 - sh);
        next = lo << sh >> 32;
    }
    const uint64_t p = m * hi + (m * next >> 32);
    const uint64_t quadrant = (p + (UINT64_C(1) << 61)) >> 62;
    const uint64_t rest = p - (quadrant << 62);
    const double r = (rest >> 63 ? -(double)(~rest + 1) : (double)rest) * 0x1p-62 * LI_PIO2_D;
    *n = (int32_t)(u >> 31 ? 4 - quadrant : quadrant);
    return (float)(u >> 31 ? -r : r);
}

/* sin(x + quadrants pi/2): 1.6 ulp over all floats. Up to 2^16 by three fused steps (the first is exact), above
 * by exact reduction, lane by lane. sin(-0) = -0, sin(inf) = NaN. */
LI_INLINE vf li_sin_quadrant_(vf x, int quadrants)
{
    const vf a = v_abs(x);
    const vf t = v_fma(x, v_set1(LI_TWO_OVER_PI), v_set1(LI_MAGIC));
    vi n = v_bits(t);
    const vf nf = v_sub(t, v_set1(LI_MAGIC));
    vf r = v_fnma(nf, v_set1(LI_PIO2_0), x);
    r = v_fnma(nf, v_set1(LI_PIO2_2), v_fnma(nf, v_set1(LI_PIO2_1), r));
    if (m_any(m_and(v_le(v_set1(0x1p16f), a), v_lt(a, v_float(vi_set1(LI_INF_BITS)))))) {
        float xs[LI_W], rs[LI_W];
        int32_t ns[LI_W];
        v_store(xs, x);
        v_store(rs, r);
        vi_store(ns, n);
        for (int l = 0; l < LI_W; l++) {
            const float x_abs = xs[l] < 0 ? -xs[l] : xs[l];
            if (x_abs >= 0x1p16f && x_abs <= 0x1.fffffep127f) { rs[l] = li_reduce_big_(xs[l], &ns[l]); }
        }
        r = v_load(rs);
        n = vi_load(ns);
    }
    r = v_sel(v_lt(a, v_float(vi_set1(LI_INF_BITS))), r, v_sub(x, x));
    n = vi_add(n, vi_set1(quadrants));
    const vf r2 = v_mul(r, r);
    vf p = v_fma(v_fma(v_fma(v_set1(LI_SIN3), r2, v_set1(LI_SIN2)), r2, v_set1(LI_SIN1)), r2, v_set1(LI_SIN0));
    const vf sine = v_fma(v_mul(p, r2), r, r);
    p = v_fma(v_fma(v_set1(LI_COS2), r2, v_set1(LI_COS1)), r2, v_set1(LI_COS0));
    const vf cosine = v_fma(p, v_mul(r2, r2), v_fnma(v_set1(0.5f), r2, v_set1(1.0f)));
    const vm odd = vi_eq(vi_and(n, vi_set1(1)), vi_set1(1));
    return v_float(vi_xor(v_bits(v_sel(odd, cosine, sine)), vi_shl(vi_and(n, vi_set1(2)), 30)));
}

LI_INLINE vf li_sin(vf x) { return v_sel(v_eq(x, v_zero()), x, li_sin_quadrant_(x, 0)); }
LI_INLINE vf li_cos(vf x) { return li_sin_quadrant_(x, 1); }

/* Arc tangent: 1.5 ulp. atan(-0) = -0. */
LI_INLINE vf li_atan(vf x)
{
    const vf a = v_abs(x), one = v_set1(1.0f);
    const vm outer = v_lt(one, a);
    const vf t = v_div(v_sel(outer, one, a), v_sel(outer, a, one));
    const vf t2 = v_mul(t, t);
    vf p = v_fma(v_set1(LI_ATAN8), t2, v_set1(LI_ATAN7));
    p = v_fma(p, t2, v_set1(LI_ATAN6));
    p = v_fma(p, t2, v_set1(LI_ATAN5));
    p = v_fma(p, t2, v_set1(LI_ATAN4));
    p = v_fma(p, t2, v_set1(LI_ATAN3));
    p = v_fma(p, t2, v_set1(LI_ATAN2));
    p = v_fma(p, t2, v_set1(LI_ATAN1));
    p = v_fma(p, t2, v_set1(LI_ATAN0));
    const vf y = v_fma(v_mul(p, t2), t, t);
    const vf from_right_angle = v_add(v_sub(v_set1(LI_PIO2_0), y), v_set1(LI_PIO2_1));
    return v_copysign(v_sel(outer, from_right_angle, y), x);
}

/* |x|^y in f64, for one lane: log2 and 2^f by their series (9 and 10 terms), 2^-40 in all. Zeros, infinities and NaN
 * come out as garbage and are put right by the caller. Branchless, so that compilers vectorise the loop. */
LI_INLINE double li_pow_core_(double x, double y)
{
    uint64_t u;
    memcpy(&u, &x, 8);
    u &= UINT64_C(0x7fffffffffffffff);
    /* high word of sqrt(1/2): the mantissa lies in [sqrt(1/2), sqrt(2)) */
    const int64_t k = (int64_t)(u >> 32) - 0x3fe6a09e;
    const double kd = (double)(int32_t)((k >> 20));
    u -= (uint64_t)(k >> 20) << 52;
    double m;
    memcpy(&m, &u, 8);
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    double p = LI_POW_L8;
    p = p * z + LI_POW_L7;
    p = p * z + LI_POW_L6;
    p = p * z + LI_POW_L5;
    p = p * z + LI_POW_L4;
    p = p * z + LI_POW_L3;
    p = p * z + LI_POW_L2;
    p = p * z + LI_POW_L1;
    p = p * z + LI_POW_L0;
    double t = y * (kd + s * p);
    t = t > 200.0 ? 200.0 : t; /* past every float; NaN passes */
    t = t < -200.0 ? -200.0 : t;
    const double magic = 0x1.8p52, shifted = t + magic, f = t - (shifted - magic);
    uint64_t n;
    memcpy(&n, &shifted, 8);
    p = LI_POW_E9;
    p = p * f + LI_POW_E8;
    p = p * f + LI_POW_E7;
    p = p * f + LI_POW_E6;
    p = p * f + LI_POW_E5;
    p = p * f + LI_POW_E4;
    p = p * f + LI_POW_E3;
    p = p * f + LI_POW_E2;
    p = p * f + LI_POW_E1;
    p = p * f + LI_POW_E0;
    n = (n + 1023u) << 52;
    double scale;
    memcpy(&scale, &n, 8);
    return scale + scale * (f * p);
}

/* x^y: 0.51 ulp. Special cases as C powf: x^0 = 1 and 1^y = 1 even for NaN, a negative x needs an integral y. */
LI_NOINLINE vf li_pow(vf x, vf y)
{
    float xs[LI_W], ys[LI_W], r[LI_W];
    int32_t parity[LI_W]; /* of y: 0 even, 1 odd, 2 not an integer */
    v_store(xs, x);
    v_store(ys, y);
    for (int l = 0; l < LI_W; l++) { r[l] = (float)li_pow_core_((double)xs[l], (double)ys[l]); }
    for (int l = 0; l < LI_W; l++) {
        const float whole = ys[l] < 0x1p24f && ys[l] > -0x1p24f ? ys[l] : 0.0f; /* larger: even */
        const int32_t i = (int32_t)whole;
        parity[l] = (float)i != whole ? 2 : (i & 1);
    }
    const vf zero = v_zero(), one = v_set1(1.0f), inf = v_float(vi_set1(LI_INF_BITS));
    const vf a = v_abs(x);
    const vi kind = vi_load(parity);
    const vm whole = v_lt(v_to_f(kind), v_set1(1.5f));
    vf z = v_load(r);
    /* 0 and inf: themselves, or their reciprocal */
    const vm edge = m_or(v_eq(a, zero), v_eq(a, inf));
    z = v_sel(edge, v_sel(v_lt(y, zero), v_div(one, a), a), z);
    z = v_sel(m_and(v_eq(a, one), v_eq(v_abs(y), inf)), one, z);
    const vi sign = vi_and(v_bits(x), vi_shl(vi_and(kind, vi_set1(1)), 31));
    z = v_float(vi_or(v_bits(z), sign));
    z = v_sel(m_and(m_and(v_lt(x, zero), m_not(whole)), v_lt(a, inf)), v_float(vi_set1(0x7fc00000)), z);
    z = v_sel(v_unord(x, y), v_add(x, y), z);
    return v_sel(m_or(v_eq(y, zero), v_eq(x, one)), one, z);
}

/* The rarer ones of li_act_apply. Source of the formulae: ONNX LSTM-22, table of activations. */
LI_NOINLINE vf li_act_rare_(const li_act *act, vf x)
{
    const vf alpha = v_set1((float)act->alpha), beta = v_set1((float)act->beta), zero = v_zero(), one = v_set1(1.0f);
    switch ((li_act_code)act->code) {
    case LI_ACT_AFFINE: return v_fma(alpha, x, beta);
    case LI_ACT_THRESHOLDED_RELU: return v_sel(v_le(x, alpha), zero, x); /* onnxruntime's reading: strictly above */
    case LI_ACT_SCALED_TANH: return v_mul(alpha, li_tanh(v_mul(beta, x)));
    case LI_ACT_HARD_SIGMOID: return v_max(zero, v_min(one, v_fma(alpha, x, beta)));
    case LI_ACT_ELU: return v_sel(v_lt(x, zero), v_mul(alpha, li_expm1_neg_(x)), x);
    case LI_ACT_SOFTSIGN: return v_div(x, v_add(one, v_abs(x)));
    case LI_ACT_SOFTPLUS: return li_softplus(x);
    default: return x;
    }
}

LI_INLINE vf li_relu(vf x) { return v_add(v_max(v_zero(), x), v_zero()); } /* NaN stays; -0 becomes 0 as in map_f32 */

LI_INLINE vf li_act_apply(const li_act *act, vf x)
{
    switch ((li_act_code)act->code) {
    case LI_ACT_NONE: return x;
    case LI_ACT_SIGMOID: return li_sigmoid(x);
    case LI_ACT_TANH: return li_tanh(x);
    case LI_ACT_RELU: return li_relu(x);
    case LI_ACT_LEAKY_RELU: return v_sel(v_lt(x, v_zero()), v_mul(v_set1((float)act->alpha), x), x);
    default: return li_act_rare_(act, x);
    }
}

#endif
