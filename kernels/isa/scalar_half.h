/* scalar: half floats (IEEE 754-2008 binary16) to floats, exactly. */
#ifndef LI_SCALAR_HALF_H
#define LI_SCALAR_HALF_H

#include <math.h>
#include <stdint.h>

static inline float half_to_float(uint16_t h)
{
    const int exponent = h >> 10 & 31, mantissa = h & 1023;
    float f;
    if (exponent == 31) { f = mantissa ? NAN : INFINITY; }
    else if (exponent == 0) { f = ldexpf((float)mantissa, -24); }
    else { f = ldexpf((float)(mantissa + 1024), exponent - 25); }
    return h & 0x8000 ? -f : f;
}

#endif
