/* Largest error of each activation over every float32, against libm in f64. Each takes about half a minute.
 *
 *   gcc -O3 -std=c11 -ffp-contract=off -DLI_ISA_avx512 -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx2 -mfma \
 *       -Ikernels tools/measure_activations.c -lm -o measure && ./measure [name [step]]
 *
 * ulp: of the binade of the exact value; "tiny": largest error where the exact value is below 2^-126, in units of
 * 2^-149; "special": results that are NaN, infinite or a signed zero where they should not be, or the other way. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "li_kernels.h"
#if defined(LI_ISA_avx512)
#include "vec/avx512.h"
#elif defined(LI_ISA_neon)
#include "vec/neon.h"
#else
#include "vec/avx2.h"
#endif
#include "body/activations.h"

static double sigmoid(double x) { return 1.0 / (1.0 + exp(-x)); }
static double softplus(double x) { return (x > 0 ? x : 0.0) + log1p(exp(-fabs(x))); }
static double elu(double x) { return x < 0 ? expm1(x) : x; }

static vf v_elu(vf x)
{
    const li_act act = {LI_ACT_ELU, 1.0, 0.0};
    return li_act_apply(&act, x);
}

#define VECTOR(name) static vf v_##name(vf x) { return li_##name(x); }
VECTOR(exp) VECTOR(sigmoid) VECTOR(tanh) VECTOR(log) VECTOR(erf) VECTOR(sin) VECTOR(cos) VECTOR(atan) VECTOR(softplus)

static const struct {
    const char *name;
    vf (*ours)(vf);
    double (*exact)(double);
} functions[] = {
    {"exp", v_exp, exp}, {"sigmoid", v_sigmoid, sigmoid}, {"tanh", v_tanh, tanh}, {"log", v_log, log},
    {"erf", v_erf, erf}, {"sin", v_sin, sin}, {"cos", v_cos, cos}, {"atan", v_atan, atan},
    {"softplus", v_softplus, softplus}, {"elu", v_elu, elu},
};

typedef struct worst { double ulp, tiny; float at, tiny_at; long special; } worst;

static void judge(worst *w, float x, float y, double exact)
{
    const float rounded = (float)exact;
    if (isnan(exact) || isinf(rounded) || rounded == 0.0f || !isfinite(y)) {
        const int neighbours = fabsf(y) >= 0x1.fffffep127f && fabsf(rounded) >= 0x1.fffffep127f;
        const int same = isnan(exact) ? isnan(y) : y == rounded && !signbit(y) == !signbit(rounded);
        if (rounded != 0.0f || exact == 0.0) { w->special += !same && !neighbours; return; }
    }
    int e;
    frexp(exact, &e);
    const double off = fabs((double)y - exact);
    if (e <= -126) {
        if (off * 0x1p149 > w->tiny) { w->tiny = off * 0x1p149; w->tiny_at = x; }
    } else if (ldexp(off, 24 - e) > w->ulp) {
        w->ulp = ldexp(off, 24 - e);
        w->at = x;
    }
}

int main(int argc, char **argv)
{
    const uint64_t step = argc > 2 ? strtoull(argv[2], 0, 10) : 1;
    for (size_t f = 0; f < sizeof(functions) / sizeof(functions[0]); f++) {
        worst w = {0};
        if (argc > 1 && strcmp(argv[1], functions[f].name) != 0) { continue; }
        for (uint64_t first = 0; first < UINT64_C(1) << 32; first += LI_W * step) {
            float x[LI_W], y[LI_W];
            for (int l = 0; l < LI_W; l++) {
                const uint32_t bits = (uint32_t)(first + (uint64_t)l * step);
                memcpy(&x[l], &bits, 4);
            }
            v_store(y, functions[f].ours(v_load(x)));
            for (int l = 0; l < LI_W; l++) { judge(&w, x[l], y[l], functions[f].exact(x[l])); }
        }
        printf("%-9s %.3f ulp at %a (%g), tiny %.3f at %g, special %ld\n", functions[f].name, w.ulp, (double)w.at,
               (double)w.at, w.tiny, (double)w.tiny_at, w.special);
        fflush(stdout);
    }
    return 0;
}
