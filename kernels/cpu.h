/* What this CPU and its operating system can run. */
#ifndef LI_CPU_H
#define LI_CPU_H

enum {
    LI_CPU_AVX2 = 1,
    LI_CPU_FMA = 2,
    LI_CPU_F16C = 4,
    LI_CPU_AVX512 = 8, /* F + BW + DQ + VL */
    LI_CPU_NEON = 16,
    LI_CPU_AVX512_VNNI = 32,
    LI_CPU_NEON_DOT = 64
};

unsigned li_cpu_features(void);

#endif
