/* Element conversions of map loads and stores, one value at a time (compilers vectorise the loops around them).
 * Float to integer goes toward zero and stops at the ends of the range; NaN gives 0. Integer to narrower integer
 * keeps the low bits. */
#ifndef LI_BODY_CONVERT_H
#define LI_BODY_CONVERT_H

LI_INLINE float li_float_of_bits_(uint32_t u)
{
    float f;
    memcpy(&f, &u, 4);
    return f;
}

LI_INLINE uint32_t li_bits_of_float_(float f)
{
    uint32_t u;
    memcpy(&u, &f, 4);
    return u;
}

/* A half in the exponent range of f32 is short by 2^112; the product also makes denormals right. */
LI_INLINE float li_from_f16_(uint16_t h)
{
    const uint32_t sign = (uint32_t)(h & 0x8000) << 16, rest = (uint32_t)(h & 0x7fff) << 13;
    const uint32_t finite = li_bits_of_float_(li_float_of_bits_(rest) * 0x1p112f);
    return li_float_of_bits_(sign | ((h & 0x7c00) == 0x7c00 ? rest | 0x7f800000u : finite));
}

/* To nearest even. Denormal halves: adding 1/2 puts their last place at the last place of the sum. */
LI_INLINE uint16_t li_to_f16_(float f)
{
    const uint32_t u = li_bits_of_float_(f), sign = u >> 16 & 0x8000u, a = u & 0x7fffffffu;
    const uint32_t tiny = li_bits_of_float_(li_float_of_bits_(a) + 0.5f) - 0x3f000000u;
    const uint32_t normal = (a - 0x38000000u + 0xfffu + (a >> 13 & 1u)) >> 13;
    const uint32_t big = a > 0x7f800000u ? 0x7e00u : 0x7c00u;
    return (uint16_t)(sign | (a < 0x38800000u ? tiny : a < 0x477ff000u ? normal : big));
}

LI_INLINE float li_from_bf16_(uint16_t h) { return li_float_of_bits_((uint32_t)h << 16); }

LI_INLINE uint16_t li_to_bf16_(float f)
{
    const uint32_t u = li_bits_of_float_(f);
    const uint32_t rounded = (u + 0x7fffu + (u >> 16 & 1u)) >> 16;
    return (uint16_t)((u & 0x7fffffffu) > 0x7f800000u ? (u >> 16 | 0x40u) : rounded);
}

/* lo and hi are exact in f64 and value lies strictly below hi + 1 wherever the cast is taken. */
LI_INLINE int64_t li_to_int_(double v, double lo, double end)
{
    return v > lo ? (v < end ? (int64_t)v : (int64_t)(end - 1.0)) : v == v ? (int64_t)lo : 0;
}

LI_INLINE int64_t li_to_i64_(double v)
{
    return v > -0x1p63 ? (v < 0x1p63 ? (int64_t)v : INT64_MAX) : v == v ? INT64_MIN : 0;
}

LI_INLINE uint64_t li_to_u64_(double v) { return v > 0.0 ? (v < 0x1p64 ? (uint64_t)v : UINT64_MAX) : 0; }

#endif
