/* The few things compilers spell differently. Nothing else in kernels/ uses an extension. */
#ifndef LI_COMPILER_H
#define LI_COMPILER_H

#if defined(_MSC_VER) && !defined(__clang__)
#define LI_INLINE static __forceinline
#define LI_NOINLINE static __declspec(noinline)
#define LI_UNROLL
#define LI_RESTRICT __restrict
#include <intrin.h>
#define LI_FENCE(p) _ReadWriteBarrier()
#pragma fp_contract(off)
#elif defined(__clang__)
#define LI_INLINE static inline __attribute__((always_inline, unused))
#define LI_NOINLINE static __attribute__((noinline, unused))
#define LI_UNROLL _Pragma("clang loop unroll(full)")
#define LI_RESTRICT restrict
#define LI_FENCE(p) __asm__ volatile("" ::"r"(p) : "memory")
#else
#define LI_INLINE static inline __attribute__((always_inline, unused))
#define LI_NOINLINE static __attribute__((noinline, unused))
#define LI_UNROLL _Pragma("GCC unroll 32")
#define LI_RESTRICT restrict
#define LI_FENCE(p) __asm__ volatile("" ::"r"(p) : "memory") /* what lies at p is loaded again behind */
#endif

#endif
