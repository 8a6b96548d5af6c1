#include "cpu.h"

#if defined(__x86_64__) || defined(_M_X64)

#if defined(_MSC_VER)
#include <immintrin.h>
#include <intrin.h>
static void cpuid(unsigned leaf, unsigned sub, unsigned out[4])
{
    int r[4];
    __cpuidex(r, (int)leaf, (int)sub);
    for (int i = 0; i < 4; i++) {
        out[i] = (unsigned)r[i];
    }
}
static unsigned xcr0(void) { return (unsigned)_xgetbv(0); }
#else
#include <cpuid.h>
static void cpuid(unsigned leaf, unsigned sub, unsigned out[4])
{
    __cpuid_count(leaf, sub, out[0], out[1], out[2], out[3]);
}
static unsigned xcr0(void)
{
    unsigned lo, hi;
    __asm__ volatile("xgetbv" : "=a"(lo), "=d"(hi) : "c"(0));
    return lo;
}
#endif

#if defined(__APPLE__)
#include <sys/sysctl.h>
/* macOS turns the AVX-512 state on lazily: XCR0 does not show it before first use. */
static int os_avx512(unsigned xcr)
{
    int have = 0;
    size_t size = sizeof(have);
    (void)xcr;
    return sysctlbyname("hw.optional.avx512f", &have, &size, 0, 0) == 0 && have;
}
#else
static int os_avx512(unsigned xcr) { return (xcr & 0xe6u) == 0xe6u; } /* xmm, ymm, opmask, zmm */
#endif

unsigned li_cpu_features(void)
{
    unsigned r[4], found = 0;
    cpuid(0, 0, r);
    const unsigned max_leaf = r[0];
    if (max_leaf < 7) {
        return 0;
    }
    cpuid(1, 0, r);
    const unsigned ecx = r[2];
    if (!(ecx & (1u << 27)) || !(ecx & (1u << 28))) { /* OSXSAVE, AVX */
        return 0;
    }
    const unsigned xcr = xcr0();
    if ((xcr & 0x6u) != 0x6u) { /* the OS saves xmm and ymm */
        return 0;
    }
    if (ecx & (1u << 12)) {
        found |= LI_CPU_FMA;
    }
    if (ecx & (1u << 29)) {
        found |= LI_CPU_F16C;
    }
    cpuid(7, 0, r);
    const unsigned ebx = r[1];
    if (ebx & (1u << 5)) {
        found |= LI_CPU_AVX2;
    }
    const unsigned avx512 = (1u << 16) | (1u << 17) | (1u << 30) | (1u << 31); /* F DQ BW VL */
    if ((ebx & avx512) == avx512 && os_avx512(xcr)) {
        found |= LI_CPU_AVX512;
        if (r[2] & (1u << 11)) { found |= LI_CPU_AVX512_VNNI; }
    }
    return found;
}

#elif defined(__aarch64__) || defined(_M_ARM64)

/* Neon is part of the base architecture, dot products of bytes are not. */
#if defined(_WIN32)
#include <windows.h>
static int dot_products(void) { return IsProcessorFeaturePresent(43) != 0; } /* PF_ARM_V82_DP_INSTRUCTIONS_AVAILABLE */
#elif defined(__APPLE__)
#include <sys/sysctl.h>
static int dot_products(void)
{
    int have = 0;
    size_t size = sizeof(have);
    return sysctlbyname("hw.optional.arm.FEAT_DotProd", &have, &size, 0, 0) == 0 && have;
}
#elif defined(__linux__)
#include <sys/auxv.h>
static int dot_products(void) { return (getauxval(AT_HWCAP) & (1ul << 20)) != 0; } /* HWCAP_ASIMDDP */
#else
static int dot_products(void) { return 0; }
#endif

unsigned li_cpu_features(void) { return LI_CPU_NEON | (dot_products() ? LI_CPU_NEON_DOT : 0u); }

#else
unsigned li_cpu_features(void) { return 0; }
#endif
