/* Written by tools/fit_activations.py; do not edit. Errors: fit only, relative, in units of 2^-24. */
#ifndef LI_ACTIVATIONS_COEF_H
#define LI_ACTIVATIONS_COEF_H

/* log2(e) */
#define LI_LOG2E (0x1.715476p+0f)

/* ln 2 as a sum */
#define LI_LN2_0 (0x1.62e430p-1f)
#define LI_LN2_1 (-0x1.05c610p-29f)

/* expm1(r) = r + r^2 p(r) on [-0.3469202, 0.3469202]: 0.241 x 2^-24 */
#define LI_EXP0 (0x1.fffffep-2f)
#define LI_EXP1 (0x1.5554aap-3f)
#define LI_EXP2 (0x1.555798p-5f)
#define LI_EXP3 (0x1.122bfap-7f)
#define LI_EXP4 (0x1.6ac62ep-10f)

/* the same for expm1(2 r) / 2 = r + r^2 p(r) */
#define LI_EXPH0 (0x1.fffffep-1f)
#define LI_EXPH1 (0x1.5554aap-1f)
#define LI_EXPH2 (0x1.555798p-2f)
#define LI_EXPH3 (0x1.122bfap-3f)
#define LI_EXPH4 (0x1.6ac62ep-5f)

/* log1p(f) = f - f^2 / 2 + f^3 p(f) on [-0.2928932, 0.4142136]: 0.132 x 2^-24 */
#define LI_LOG0 (0x1.555548p-2f)
#define LI_LOG1 (-0x1.000070p-2f)
#define LI_LOG2 (0x1.99a542p-3f)
#define LI_LOG3 (-0x1.552f10p-3f)
#define LI_LOG4 (0x1.2302f8p-3f)
#define LI_LOG5 (-0x1.010096p-3f)
#define LI_LOG6 (0x1.f02724p-4f)
#define LI_LOG7 (-0x1.be4ce0p-4f)
#define LI_LOG8 (0x1.ae2b76p-5f)

/* erf: the second form from here on */
#define LI_ERF_EDGE (0x1.db0000p-1f)

/* erf(t) = t + t p(t^2) on [0.0, 0.8606911]: 0.286 x 2^-24 */
#define LI_ERFS0 (0x1.06eba6p-3f)
#define LI_ERFS1 (-0x1.8126e4p-2f)
#define LI_ERFS2 (0x1.ce19e6p-4f)
#define LI_ERFS3 (-0x1.b681acp-6f)
#define LI_ERFS4 (0x1.46fb92p-8f)
#define LI_ERFS5 (-0x1.38fe32p-11f)

/* erf(t) = 1 - exp(-(t + t p(t))) on [0.9277344, 4.0]: 0.0136 x 2^-24 */
#define LI_ERFL0 (0x1.077b30p-3f)
#define LI_ERFL1 (0x1.453032p-1f)
#define LI_ERFL2 (0x1.b3448ep-4f)
#define LI_ERFL3 (-0x1.85bc36p-6f)
#define LI_ERFL4 (0x1.deffd0p-9f)
#define LI_ERFL5 (-0x1.559316p-12f)
#define LI_ERFL6 (0x1.82b752p-17f)

/* 2 / pi */
#define LI_TWO_OVER_PI (0x1.45f306p-1f)

/* pi / 2 as a sum */
#define LI_PIO2_0 (0x1.921fb6p+0f)
#define LI_PIO2_1 (-0x1.777a5cp-25f)
#define LI_PIO2_2 (-0x1.ee59dap-50f)

/* sin(r) = r + r^3 p(r^2) on [0.0, 0.629249]: 0.00279 x 2^-24 */
#define LI_SIN0 (-0x1.555556p-3f)
#define LI_SIN1 (0x1.111172p-7f)
#define LI_SIN2 (-0x1.a056a2p-13f)
#define LI_SIN3 (0x1.7b587cp-19f)

/* cos(r) = 1 - r^2 / 2 + r^4 p(r^2) on [0.0, 0.629249]: 0.00233 x 2^-24 */
#define LI_COS0 (0x1.55554ap-5f)
#define LI_COS1 (-0x1.6c0c14p-10f)
#define LI_COS2 (0x1.99de6ap-16f)

/* atan(t) = t + t^3 p(t^2) on [0.0, 1.0]: 0.048 x 2^-24 */
#define LI_ATAN0 (-0x1.55553ep-2f)
#define LI_ATAN1 (0x1.9991e4p-3f)
#define LI_ATAN2 (-0x1.242088p-3f)
#define LI_ATAN3 (0x1.c08c80p-4f)
#define LI_ATAN4 (-0x1.5809e8p-4f)
#define LI_ATAN5 (0x1.da2c3ep-5f)
#define LI_ATAN6 (-0x1.fd7dd0p-6f)
#define LI_ATAN7 (0x1.641b94p-7f)
#define LI_ATAN8 (-0x1.d332dep-10f)

/* f64: pi / 2 */
#define LI_PIO2_D (0x1.921fb54442d18p+0)

/* f64: log2((1+s)/(1-s)) = s p(s^2), series; left out at |s| <= 0.1716: 2^-51 of the value */
#define LI_POW_L0 (0x1.71547652b82fep+1)
#define LI_POW_L1 (0x1.ec709dc3a03fdp-1)
#define LI_POW_L2 (0x1.2776c50ef9bfep-1)
#define LI_POW_L3 (0x1.a61762a7aded9p-2)
#define LI_POW_L4 (0x1.484b13d7c02a9p-2)
#define LI_POW_L5 (0x1.0c9a84994022dp-2)
#define LI_POW_L6 (0x1.c68f568d31760p-3)
#define LI_POW_L7 (0x1.89f3b1694cffep-3)
#define LI_POW_L8 (0x1.5b9ac9b743f0dp-3)

/* f64: 2^f = 1 + f p(f), series; left out at |f| <= 0.5: 2^-42 */
#define LI_POW_E0 (0x1.62e42fefa39efp-1)
#define LI_POW_E1 (0x1.ebfbdff82c58fp-3)
#define LI_POW_E2 (0x1.c6b08d704a0c0p-5)
#define LI_POW_E3 (0x1.3b2ab6fba4e77p-7)
#define LI_POW_E4 (0x1.5d87fe78a6731p-10)
#define LI_POW_E5 (0x1.430912f86c787p-13)
#define LI_POW_E6 (0x1.ffcbfc588b0c7p-17)
#define LI_POW_E7 (0x1.62c0223a5c824p-20)
#define LI_POW_E8 (0x1.b5253d395e7c4p-24)
#define LI_POW_E9 (0x1.e4cf5158b8ecap-28)

/* 2 / pi, 64 integer and 224 fraction bits */
#define LI_TWO_OVER_PI_BITS 0x00000000u, 0x00000000u, 0xa2f9836eu, 0x4e441529u, 0xfc2757d1u, 0xf534ddc0u, 0xdb629599u, 0x3c439041u, 0xfe5163abu

#endif
