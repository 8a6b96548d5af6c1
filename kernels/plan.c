#include "li_plan.h"

#if defined(__SSE__) || defined(_M_X64)
#include <xmmintrin.h>
/* MXCSR: denormals-are-zero 0x0040, flush-to-zero 0x8000, rounding 0x6000. The register is written only when a
 * caller has changed it: reading costs a few cycles, writing tens. */
#define LI_FP_MODE unsigned
#define LI_FP_ODD (0x8000u | 0x6000u | 0x0040u)
static inline LI_FP_MODE fp_mode(void) { return _mm_getcsr(); }
static inline void fp_set(LI_FP_MODE m) { _mm_setcsr(m); }
#elif defined(__aarch64__) && !defined(_MSC_VER)
/* FPCR: flush-to-zero bit 24, flush half precision bit 19, rounding bits 22-23, default NaN bit 25. */
#define LI_FP_MODE uint64_t
#define LI_FP_ODD ((UINT64_C(0x3) << 22) | (UINT64_C(1) << 24) | (UINT64_C(1) << 19) | (UINT64_C(1) << 25))
static inline LI_FP_MODE fp_mode(void)
{
    uint64_t m;
    __asm__ volatile("mrs %0, fpcr" : "=r"(m));
    return m;
}
static inline void fp_set(LI_FP_MODE m) { __asm__ volatile("msr fpcr, %0" ::"r"(m)); }
#else
#define LI_FP_MODE unsigned
#define LI_FP_ODD 0u
static inline LI_FP_MODE fp_mode(void) { return 0; }
static inline void fp_set(LI_FP_MODE m) { (void)m; }
#endif

int64_t li_steps_run(const li_step *steps, int64_t n_steps, char *const *base)
{
    for (int64_t i = 0; i < n_steps; i++) {
        const li_status status = steps[i].fn(steps[i].args, base);
        if (status != LI_OK) { return (i << 8) | (int64_t)status; }
    }
    return 0;
}

int64_t li_plan_run(const li_step *steps, int64_t n_steps, char *const *base)
{
    const LI_FP_MODE mode = fp_mode();
    const int odd = (mode & LI_FP_ODD) != 0;
    if (odd) {
        fp_set(mode & ~(LI_FP_MODE)LI_FP_ODD);
    }
    const int64_t result = li_steps_run(steps, n_steps, base);
    if (odd) {
        fp_set(mode);
    }
    return result;
}
