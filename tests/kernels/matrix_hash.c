/* Prints one hash per matrix slot: equal on every fused set and compiler (promise: same bits). For machines without
 * Python, an emulated Arm for one:
 *   aarch64-linux-gnu-gcc -std=c11 -O2 -static -ffp-contract=off -DLI_ISA_neon -DISA=neon -Ikernels \
 *       tests/kernels/matrix_hash.c kernels/isa/neon.c kernels/scratch.c kernels/pack.c -o hash && qemu-aarch64-static ./hash
 * neondot needs the object of neon, which it takes slots from, and -DISA=neondot here. */
#include <stdio.h>
#include <string.h>

#include "li_block.h"
#include "li_kernels.h"
#include "li_pack.h"

#define PASTE_(a, b) a##b
#define PASTE(a, b) PASTE_(a, b)
extern const li_kernels PASTE(li_kernels_, ISA);

static _Alignas(64) float in[1 << 18], w[1 << 18], out[1 << 17], h[1 << 12], c[1 << 12];
static _Alignas(64) char scratch[1 << 24];
static char *base[] = {(char *)(in + 1), (char *)w, (char *)out, (char *)h, (char *)c, scratch};
static uint32_t seed = 1;

static void fill(float *p, int64_t n, float scale)
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = ((float)(seed >> 8) / 8388608.0f - 1.0f) * scale;
    }
}

static uint64_t hash(uint64_t sum, const float *p, int64_t n)
{
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, p + i, 4);
        sum = (sum ^ bits) * 1099511628211u;
    }
    return sum;
}

static li_ref at(int64_t b, int64_t floats) { return (li_ref){b, floats * 4}; }
static const li_ref absent = {-1, 0};

static uint64_t recurrent(int slot, int64_t G, int64_t T, int64_t B, int64_t H, int64_t lbr, li_act f, double clip)
{
    const int64_t I = 7;
    li_recur_args a = {
        .x = at(0, 0), .w = at(1, 0), .r = at(1, 60000), .r_h = G == 3 && !lbr ? at(1, 200000) : absent,
        .bias = at(0, 200000 - 1), .peephole = clip != 0.0 && G == 4 ? at(0, 210000 - 1) : absent, .lens = absent,
        .h = at(3, 0), .c = at(4, 0), .y = at(2, 0), .scratch = at(5, 0),
        .T = T, .B = B, .I = I, .H = H, .x_t = B * I, .x_b = I, .y_t = B * H, .y_b = H, .h_b = H, .c_b = H,
        .w_panel = I * G * 16, .r_panel = H * 16 * (G == 3 && !lbr ? 2 : G), .r_h_panel = H * 16,
        .linear_before_reset = lbr, .clip = clip, .act = {f, {LI_ACT_TANH, 0, 0}, {LI_ACT_TANH, 0, 0}},
    };
    fill(h, B * H, 1.0f);
    fill(c, B * H, 1.0f);
    PASTE(li_kernels_, ISA).slot[slot](&a, base);
    return hash(hash(hash(14695981039346656037u, out, T * B * H), h, B * H), c, B * H);
}

static void odd(int8_t *p, int64_t n) /* any byte, and the ends of the range often */
{
    for (int64_t i = 0; i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        p[i] = (int8_t)(seed >> 30 == 0 ? (seed >> 8 & 1 ? -128 : 127) : (int)(seed >> 8 & 255) - 128);
    }
}

/* Packed at word `at` of w; returns the word behind. */
static int64_t pack_bytes(int64_t at_word, int64_t gates, int64_t units, int64_t K, int zeros)
{
    static int8_t bytes[1 << 16];
    static float scale[1 << 10];
    static int32_t zero[1 << 10];
    const int64_t panel = (3 + (K + 3) / 4) * gates * 16;
    odd(bytes, gates * units * K);
    fill(scale, gates * units, 0.001f);
    for (int64_t i = 0; i < gates * units; i++) { zero[i] = (int8_t)(i * 37 & 255); }
    li_pack_i8((int32_t *)(void *)w + at_word, bytes, scale, zeros ? zero : 0, gates, units, K, units * K, K, 1, panel);
    return at_word + (units + 15) / 16 * panel;
}

static uint64_t bytes_recurrent(int slot, int64_t G, int64_t T, int64_t B, int64_t lbr, int64_t mode, int zeros)
{
    const int64_t I = 7, H = 53, GR = G == 3 && !lbr ? 2 : G;
    const li_act f = {G == 1 ? LI_ACT_TANH : LI_ACT_SIGMOID, 0, 0}, g = {LI_ACT_TANH, 0, 0};
    const int64_t r = pack_bytes(0, G, H, I, zeros), r_h = pack_bytes(r, GR, H, H, zeros);
    if (GR == 2) { pack_bytes(r_h, 1, H, H, zeros); }
    li_recur_i8_args a = {
        .layer = {.x = at(0, 0), .w = at(1, 0), .r = at(1, r), .r_h = GR == 2 ? at(1, r_h) : absent, .bias = at(0, 200000 - 1),
                  .peephole = absent, .lens = absent, .h = at(3, 0), .c = at(4, 0), .y = at(2, 0), .scratch = at(5, 0),
                  .T = T, .B = B, .I = I, .H = H, .x_t = B * I, .x_b = I, .y_t = B * H, .y_b = H, .h_b = H, .c_b = H,
                  .w_panel = (3 + (I + 3) / 4) * G * 16, .r_panel = (3 + (H + 3) / 4) * GR * 16, .r_h_panel = (3 + (H + 3) / 4) * 16,
                  .linear_before_reset = lbr, .act = {f, g, g}},
        .quantize = mode, .weight_zeros = zeros,
    };
    fill(h, B * H, 1.0f);
    fill(c, B * H, 1.0f);
    PASTE(li_kernels_, ISA).slot[slot](&a, base);
    return hash(hash(hash(14695981039346656037u, out, T * B * H), h, B * H), c, B * H);
}

static void bytes_all(const li_kernels *k)
{
    for (int64_t mode = 0; mode < 4; mode++) {
        for (int64_t n = 1; n < 15; n += 3) {
            for (int64_t K = 5; K < 300; K += 60) {
                const int zeros = (int)(n + K) & 1;
                pack_bytes(0, 1, 150, K, zeros);
                li_matmul_i8_args m = {{at(0, 0), at(1, 0), at(0, 99999), at(2, 0), n, K, 150, K, 1, 150, 1, {LI_ACT_TANH, 0, 0}},
                                       at(5, 0), mode, zeros, 0.006, -5};
                k->slot[LI_SLOT_matmul_i8](&m, base);
                printf("matmul_i8 %d %d %d %016llx\n", (int)mode, (int)n, (int)K, (unsigned long long)hash(1, out, n * 150));
            }
        }
        for (int64_t B = 1; mode < 3 && B < 15; B += 4) {
            for (int64_t T = 1; T < 8; T += 3) {
                unsigned long long s = 0;
                for (int zeros = 0; zeros < 2; zeros++) {
                    s = s * 31 + bytes_recurrent(LI_SLOT_lstm_i8, 4, T, B, 0, mode, zeros);
                    s = s * 31 + bytes_recurrent(LI_SLOT_gru_i8, 3, T, B, 0, mode, zeros);
                    s = s * 31 + bytes_recurrent(LI_SLOT_gru_i8, 3, T, B, 1, mode, zeros);
                    s = s * 31 + bytes_recurrent(LI_SLOT_rnn_i8, 1, T, B, 0, mode, zeros);
                }
                printf("recurrent_i8 %d %d %d %016llx\n", (int)mode, (int)T, (int)B, s);
            }
        }
    }
}

int main(void)
{
    const li_kernels *k = &PASTE(li_kernels_, ISA);
    const li_act sigmoid = {LI_ACT_SIGMOID, 0, 0}, tanh_ = {LI_ACT_TANH, 0, 0}, elu = {LI_ACT_ELU, 0.7, 0};
    fill(in, 1 << 18, 1.0f);
    fill(w, 1 << 18, 0.2f);
    for (int64_t n = 1; n < 15; n += 3) {
        li_matmul_args m = {at(0, 0), at(1, 0), at(0, 99999), at(2, 0), n, 65, 150, 65, 1, 150, 1, elu};
        k->slot[LI_SLOT_matmul_f32](&m, base);
        printf("matmul %d %016llx\n", (int)n, (unsigned long long)hash(1, out, n * 150));
        li_matmul_dyn_args d = {.a = at(0, 0), .b = at(1, 0), .y = at(2, 0), .scratch = at(5, 0), .n = n, .k = 65, .m = 37,
                                .a_row = 65, .a_k = 1, .b_k = 37, .b_col = 1, .y_row = 37};
        k->slot[LI_SLOT_matmul_dyn_f32](&d, base);
        printf("matmul_dyn %d %016llx\n", (int)n, (unsigned long long)hash(1, out, n * 37));
    }
    for (int64_t B = 1; B < 15; B += 4) {
        for (int64_t T = 1; T < 8; T += 3) {
            unsigned long long s = recurrent(LI_SLOT_lstm_f32, 4, T, B, 53, 0, sigmoid, 0.0);
            s = s * 31 + recurrent(LI_SLOT_lstm_f32, 4, T, B, 53, 0, elu, 0.5);
            printf("lstm %d %d %016llx\n", (int)T, (int)B, s);
            s = recurrent(LI_SLOT_gru_f32, 3, T, B, 53, 0, sigmoid, 0.0);
            s = s * 31 + recurrent(LI_SLOT_gru_f32, 3, T, B, 53, 1, sigmoid, 0.0);
            printf("gru %d %d %016llx\n", (int)T, (int)B, s);
            printf("rnn %d %d %016llx\n", (int)T, (int)B,
                   (unsigned long long)recurrent(LI_SLOT_rnn_f32, 1, T, B, 53, 0, tanh_, 0.0));
        }
    }
    for (int64_t M = 3; M < 40; M += 17) {
        li_conv_args v = {.x = at(0, 0), .w = at(1, 0), .bias = at(0, 99999), .y = at(2, 0), .scratch = at(5, 0), .n = 2,
                          .channels = 5, .filters = M, .groups = 1, .spatial = 2, .in = {9, 21, 1}, .out = {9, 10, 1},
                          .kernel = {3, 3, 1}, .stride = {1, 2, 1}, .dilation = {1, 1, 1}, .pad = {1, 0, 0},
                          .x_stride = {945, 189, 21, 1, 0}, .y_stride = {M * 90, 90, 10, 1, 0}, .act = elu};
        k->slot[LI_SLOT_conv_f32](&v, base);
        printf("conv %d %016llx\n", (int)M, (unsigned long long)hash(1, out, 2 * M * 90));
    }
    for (int64_t W = 1; W < 80; W += 13) { /* many groups, and few positions of many filters */
        li_conv_args v = {.x = at(0, 0), .w = at(1, 0), .bias = at(0, 99999), .y = at(2, 0), .scratch = at(5, 0), .n = 1,
                          .channels = 16, .filters = 16, .groups = 16, .spatial = 2, .in = {5, W, 1}, .out = {1, W, 1},
                          .kernel = {3, 3, 1}, .stride = {1, 1, 1}, .dilation = {2, 1, 1}, .pad = {0, 1, 0},
                          .x_stride = {80 * W, 5 * W, W, 1, 0}, .y_stride = {16 * W, W, W, 1, 0}, .w_group = 144,
                          .act = {LI_ACT_LEAKY_RELU, 0.3, 0}};
        k->slot[LI_SLOT_conv_f32](&v, base);
        printf("depthwise %d %016llx\n", (int)W, (unsigned long long)hash(1, out, 16 * W));
        v.filters = 70; v.groups = 1; v.act = sigmoid; v.y_stride[0] = 70 * W;
        k->slot[LI_SLOT_conv_f32](&v, base);
        printf("conv to 70 %d %016llx\n", (int)W, (unsigned long long)hash(1, out, 70 * W));
    }
    bytes_all(k); /* last: writes other weights */
    return 0;
}
