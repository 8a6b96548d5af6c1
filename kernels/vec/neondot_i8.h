/* Words for 8-bit numbers, neon with dot products (Armv8.2 dotprod). */
#ifndef LI_VEC_NEONDOT_I8_H
#define LI_VEC_NEONDOT_I8_H

#include "neon.h"

#define LI_TIGHT 0
typedef vi vs;

LI_INLINE vs vb_dot(vs sum, vi w, vi x) { return vdotq_s32(sum, vreinterpretq_s8_s32(w), vreinterpretq_s8_s32(x)); }

#include "neon_all.h"

#endif
