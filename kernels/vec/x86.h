/* Words that avx2 and avx512 share: of four lanes, whatever the width of their vectors. */
#ifndef LI_VEC_X86_H
#define LI_VEC_X86_H

#include <immintrin.h>
#include <stdint.h>

#include "../li_compiler.h"

LI_INLINE void v_turn4(float *y, int64_t y_row, const float *x, int64_t x_row) /* y[i][j] = x[j][i], 4 by 4 */
{
    __m128 a = _mm_loadu_ps(x), b = _mm_loadu_ps(x + x_row), c = _mm_loadu_ps(x + 2 * x_row), d = _mm_loadu_ps(x + 3 * x_row);
    _MM_TRANSPOSE4_PS(a, b, c, d);
    _mm_storeu_ps(y, a);
    _mm_storeu_ps(y + y_row, b);
    _mm_storeu_ps(y + 2 * y_row, c);
    _mm_storeu_ps(y + 3 * y_row, d);
}

#endif
