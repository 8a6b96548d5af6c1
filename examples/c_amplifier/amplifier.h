/* A guitar amplifier as a plug-in has it: made once, then called with blocks of any length. */
#ifndef AMPLIFIER_H
#define AMPLIFIER_H

#include "amp/amp.h"

/* One channel. Its memory is inside: nothing is allocated, and a copy of it is a second amplifier in the same state. */
typedef struct amplifier {
    _Alignas(AMP_ALIGN) unsigned char state[AMP_STATE_BYTES];
    _Alignas(AMP_ALIGN) unsigned char scratch[AMP_SCRATCH_BYTES];
    float gain; /* of what goes in: 1 as recorded */
} amplifier;

void amplifier_begin(amplifier *amp, float gain);

/* The block callback: samples at 48 kHz between -1 and 1; `in` and `out` may be the same memory. */
void amplifier_process(amplifier *amp, const float *in, float *out, int n_samples);

#endif
