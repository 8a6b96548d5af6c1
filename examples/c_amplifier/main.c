/* Stands for the host: plays float samples (32 bits, 48 kHz, as `sox in.wav -t f32 -` writes them) from a file through the
 * amplifier, in blocks of the lengths that hosts choose, and writes what comes out.
 *
 *     play IN.f32 OUT.f32 [BLOCK]       BLOCK: samples of a callback; 0: another length each time */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "amplifier.h"

#define MOST 512

static amplifier amp; /* in a plug-in: in the instance */

int main(int argc, char **argv)
{
    FILE *const in = argc > 2 ? fopen(argv[1], "rb") : NULL;
    FILE *const out = argc > 2 ? fopen(argv[2], "wb") : NULL;
    const long asked = argc > 3 ? atol(argv[3]) : 64;
    if (!in || !out || asked < 0 || asked > MOST) {
        fprintf(stderr, "play IN.f32 OUT.f32 [BLOCK, at most %d]\n", MOST);
        return 2;
    }
    float block[MOST];
    clock_t spent = 0;
    long total = 0, length = asked ? asked : 1;
    size_t n;
    amplifier_begin(&amp, 1.0f);
    while ((n = fread(block, sizeof(float), (size_t)length, in)) > 0) {
        const clock_t start = clock();
        amplifier_process(&amp, block, block, (int)n);
        spent += clock() - start;
        if (fwrite(block, sizeof(float), n, out) != n) { return 2; }
        total += (long)n;
        if (!asked) { length = length * 7 % MOST + 1; }
    }
    if (fclose(out) || fclose(in)) { return 2; }
    const double seconds = (double)spent / CLOCKS_PER_SEC;
    printf("%ld samples, %.3f s of sound in %.3f s\n", total, (double)total / 48000.0, seconds);
    return 0;
}
