#include "amplifier.h"

void amplifier_begin(amplifier *amp, float gain)
{
    (void)amp_init(amp->state, sizeof(amp->state)); /* fails where a buffer is too small or not aligned: not here */
    amp->gain = gain;
}

void amplifier_process(amplifier *amp, const float *in, float *out, int n_samples)
{
    float dry[AMP_STEPS]; /* the model's arrays do not overlap, those of a host may */
    for (int at = 0, n; at < n_samples; at += n) {
        n = n_samples - at < AMP_STEPS ? n_samples - at : AMP_STEPS;
        for (int i = 0; i < n; i++) { dry[i] = amp->gain * in[at + i]; }
        (void)amp_run(amp->state, amp->scratch, n, dry, out + at); /* the model refuses no value: always 0 */
    }
}
