/* The kernel table: what every instruction set provides, and the contract of every slot.
 *
 * A slot is a function over flat memory. It takes an argument record made when the plan was made (all
 * fields are 8 bytes wide, so that a caller in another language fills it as an array of words) and the
 * table of base addresses of this call. An operand is a li_ref: base number and byte offset. Nothing
 * here allocates, prints, reads the environment or keeps state; a slot returns LI_OK or a li_status.
 *
 * Promise kept by every slot on the fused sets (all but scalar): equal inputs give equal bits, also
 * when a call is cut along any axis that the slot does not sum over. See docs/numerics.md. */
#ifndef LI_KERNELS_H
#define LI_KERNELS_H

#include <stdint.h>

#define LI_UNITS 16 /* hidden units (output columns) in one packed panel, on every instruction set */
#define LI_LANES 16 /* virtual lanes of a contiguous reduction */
#define LI_RANK 8   /* most axes of a strided operand */

typedef enum li_status {
    LI_OK = 0,
    LI_ERR_INDEX = 1,  /* an index lies outside its axis (Gather and kin) */
    LI_ERR_LENGTH = 2, /* a sequence length lies outside 0..T */
    LI_ERR_VALUE = 3,  /* a value an operator does not allow (division of an integer by zero) */
    LI_ERR_LIMIT = 4,  /* a loop ran past the limit set when the plan was made */
    LI_ERR_BRANCH = 5  /* a condition chose the branch that does not fit the sizes of the plan */
} li_status;

typedef enum li_dtype {
    LI_F32, LI_F64, LI_F16, LI_BF16, LI_I8, LI_U8, LI_I16, LI_U16, LI_I32, LI_U32, LI_I64, LI_U64, LI_BOOL
} li_dtype;

typedef struct li_ref {
    int64_t base;   /* index into the base table; negative: operand absent */
    int64_t offset; /* bytes */
} li_ref;

/* Every operand address of every slot is formed here. */
static inline void *li_at(li_ref r, char *const *base) { return r.base < 0 ? (void *)0 : (void *)(base[r.base] + r.offset); }

/* Activations of recurrent cells and of matrix products. alpha and beta as ONNX names them. */
typedef enum li_act_code {
    LI_ACT_NONE, LI_ACT_SIGMOID, LI_ACT_TANH, LI_ACT_RELU, LI_ACT_AFFINE, LI_ACT_LEAKY_RELU, LI_ACT_THRESHOLDED_RELU,
    LI_ACT_SCALED_TANH, LI_ACT_HARD_SIGMOID, LI_ACT_ELU, LI_ACT_SOFTSIGN, LI_ACT_SOFTPLUS
} li_act_code;

typedef struct li_act {
    int64_t code;
    double alpha, beta;
} li_act;

/* Slots that end in f16 are those in f32 whose packed weights (w, r, r_h) are halves in the same layout: widened exactly,
 * so that their results are those of the rounded weights bit for bit. Distances inside weights are in elements. */

/* ---- matmul_f32, matmul_f16: y[n][m] = act(bias[m] + sum over k of x[n][k] * w[k][m]) ------------------
 * One chain of fused multiply-adds per output, k ascending, starting from bias[m] (0 without one).
 * x: rows apart by x_row, k apart by x_k (elements).  w: packed, li_pack.h with G = 1, 64-byte aligned.
 * bias: [m padded to 16] or absent.  y: rows apart by y_row, columns by y_col (elements; 1 is the fast case). */
typedef struct li_matmul_args {
    li_ref x, w, bias, y;
    int64_t n, k, m;
    int64_t x_row, x_k, y_row, y_col;
    li_act act;
} li_matmul_args;

/* ---- matmul_dyn_f32: batched y = a x b, both computed at run time ---------------------------------------
 * for each of the batch entries (rank batch_rank, sizes batch[], strides in elements per operand; stride 0
 * broadcasts): y[i][j] = sum over k of a[i][k] * b[k][j], chain as above, starting from 0.
 * scratch: li_matmul_dyn_scratch(k, m) bytes, 64-byte aligned; holds b packed. y rows y_row apart, dense columns. */
typedef struct li_matmul_dyn_args {
    li_ref a, b, y, scratch;
    int64_t n, k, m;
    int64_t a_row, a_k, b_k, b_col, y_row;
    int64_t batch_rank, batch[LI_RANK], a_batch[LI_RANK], b_batch[LI_RANK], y_batch[LI_RANK];
} li_matmul_dyn_args;

/* ---- lstm, gru, rnn (f32, f16): T steps of one direction of one layer ------------------------------------
 * Source: ONNX LSTM-22, GRU-22, RNN-22. Gate order i o f c; z r h; one gate.
 * x  [T][B][I] strides x_t, x_b, features dense.      y  [T][B][H] strides y_t, y_b, units dense; may be absent.
 * h, c  [B][H], rows h_b / c_b apart: initial state in, final state out, in place. c: lstm only.
 * w, r  packed panels (li_pack.h); panel p of w starts at w + p * w_panel elements, likewise r.
 *       gru with linear_before_reset = 0: r holds per panel the gates z r (G = 2), then at r_h, panels r_h_panel
 *       apart, the gate h (G = 1).
 * bias  packed [P][GB][16]: lstm GB = 4 (Wb + Rb); rnn GB = 1 (Wb + Rb);
 *       gru GB = 4: z (Wb + Rb), r (Wb + Rb), h (Wb; linear_before_reset = 0: Wb + Rb), h (Rb; lbr = 0: 0). Always present.
 * peephole  [3][H_pad] in ONNX order i o f; absent without.     H_pad = H rounded up to 16, P = H_pad / 16
 * lens  int32 [B] or absent: row b takes lens[b] steps, y is 0 behind, the state stops there.
 *       LI_ERR_LENGTH (before anything is written) where a length lies outside 0..T.
 * reverse: steps run T-1 .. 0 (with lens: lens[b]-1 .. 0) and y keeps the input's positions.
 * clip  0: none; else every gate pre-activation is limited to -clip..clip before its activation.
 * act   lstm f g h; gru f g; rnn f.
 * Sum of one gate: bias, then I terms of w in order, then H terms of r in order: one chain.
 * (gru with linear_before_reset: the r part of gate h is a chain of its own that starts from its Rb.)
 * scratch  li_recur_scratch(gates, T, B, I, H) bytes, 64-byte aligned. T may be 0: nothing changes. */
typedef struct li_recur_args {
    li_ref x, w, r, r_h, bias, peephole, lens, h, c, y, scratch;
    int64_t T, B, I, H;
    int64_t x_t, x_b, y_t, y_b, h_b, c_b;
    int64_t w_panel, r_panel, r_h_panel;
    int64_t reverse, input_forget, linear_before_reset;
    double clip;
    li_act act[3];
} li_recur_args;

/* Slots that end in i8 hold 4 successive k of a unit as int8 in one word (li_pack_i8, layout in li_pack.h), and multiply
 * inputs that are int8 too. Inputs are quantised where they enter a product: a row is what one column reads (matmul: x[n];
 * recurrent slots: x[t][b], and h[b] of each step, and gru's r . h where linear_before_reset = 0).
 *
 *   ROW     scale = max |x| / 127, zero = 0, q = round(x * (127 / max |x|));  scale = 0 and q = 0 where max |x| < 2^-120
 *   ROW_U8  lo = min(x, 0), hi = max(x, 0), scale = (hi - lo) / 255, zero = round(clamp(-lo / scale, 0, 255)) - 128,
 *           q = clamp(round(x / scale) + zero, -128, 127): ONNX DynamicQuantizeLinear-11 of the row, less 128.
 *           scale = 0, zero = 0 and q = 0 where (hi - lo) / 255 is 0
 *   ALL_U8  the same with lo and hi of all rows of the call: x[n][k]; x[T][B][I] once, h[B][H] of each step (rows of h with
 *           lens, and r . h: each by itself)
 *   GIVEN   scale and zero from the record (scale > 0, zero -128 .. 127), q as in ROW_U8; matmul only
 *
 * Round: half to even. Divisions are exact to half an ulp, so q is the same on every set. A NaN or an infinity among the
 * values that a scale is made of, or hi - lo beyond the floats, gives scale = NaN, so that what reads these rows is NaN and
 * nothing else is; GIVEN: a NaN does so, infinities are clamped.
 *
 * K terms (one matrix, one row) add to a chain as one:
 *   sum = sum over k of (q[k] - zero) * (w[k] - w_zero), exact in int32;  acc = fma((float)sum, scale * w_scale, acc)
 * w_scale and w_zero are those of the unit (li_pack.h); weight_zeros = 0 says that all w_zero are 0.
 * K at most 131071, with zero points on either side 33025: no sum leaves int32. */
typedef enum li_quantize { LI_QUANT_ROW, LI_QUANT_ROW_U8, LI_QUANT_ALL_U8, LI_QUANT_GIVEN } li_quantize;

/* ---- matmul_i8: as matmul_f32. scratch: li_matmul_i8_scratch(n, k) bytes, 64-byte aligned. */
typedef struct li_matmul_i8_args {
    li_matmul_args product;
    li_ref scratch;
    int64_t quantize, weight_zeros;
    double scale; /* GIVEN */
    int64_t zero;
} li_matmul_i8_args;

/* ---- lstm_i8, gru_i8, rnn_i8: as lstm_f32 and so on; w_panel, r_panel, r_h_panel in words.
 * Sum of one gate: bias, then all terms of w as one, then all of r as one.
 * scratch: li_recur_i8_scratch(gates, T, B, I, H) bytes, 64-byte aligned. */
typedef struct li_recur_i8_args {
    li_recur_args layer;
    int64_t quantize, weight_zeros;
} li_recur_i8_args;

/* ---- conv_f32, conv_f16: grouped convolution over 0..3 spatial axes as matrix products ------------------------------
 * x [N][C][in...] strides x_stride (elements): batch, channel, spatial...   y likewise [N][M][out...].
 * w packed per group (G = 1), group g at w + g * w_group elements; k runs over (channel of the group, kernel...).
 * bias [M padded per group: group g at g * M_group_pad] or absent. Positions outside x read 0.
 * The first `spatial` entries of the size arrays count, the last of them innermost; those behind are 1 (pad 0).
 * pad may be negative: the first positions of x are then left out.
 * Sum: chain as matmul_f32. scratch: li_conv_scratch(...) bytes, 64-byte aligned. */
typedef struct li_conv_args {
    li_ref x, w, bias, y, scratch;
    int64_t n, channels, filters, groups, spatial; /* filters M: all groups together */
    int64_t in[3], out[3], kernel[3], stride[3], dilation[3], pad[3]; /* pad: at the beginning of each axis */
    int64_t x_stride[5], y_stride[5];
    int64_t w_group;
    li_act act;
} li_conv_args;

/* ---- map_f32, map_i64: an element-wise program over broadcast operands -------------------------------------
 * words: rank, n_in, n_out, n_op, size[rank], then n_in input operands, n_out output operands, n_op instructions.
 *   operand = base, offset, dtype, stride[rank] (elements; 0 broadcasts; innermost axis last)
 *   instruction = code, dst, a, b, c: register numbers; inputs are loaded into registers 0 .. n_in-1, output i is
 *   stored from register word: an output operand is followed by one more word, the register it is taken from.
 * Registers hold f32 (map_f32) or int64 (map_i64) and number at most LI_MAP_REGS. A load converts from the
 * operand's dtype, a store to it (float to integer: toward zero; to bool: != 0). Comparisons give 1 or 0.
 * An output may be the same memory as an input with equal strides; any other overlap is not allowed. */
#define LI_MAP_REGS 16
typedef enum li_map_code {
#define LI_MAP(name, n_args) LI_MAP_##name,
#include "li_map.def"
#undef LI_MAP
    LI_N_MAP
} li_map_code;

/* ---- copy: dst[i...] = src[i...], elements of 1, 2, 4 or 8 bytes, moved as bits -----------------------------
 * words: elem_bytes, rank, dst base, dst offset, src base, src offset, size[rank], dst_stride[rank], src_stride[rank]
 * (strides in elements, may be 0 on src or negative; innermost last; rank >= 1). No overlap. */

/* ---- gather: dst[o][j][i] = src[o][index[j]][i], dense operands; negative indices count from the end ---------
 * LI_ERR_INDEX when one lies outside -axis .. axis-1. index dtype LI_I32 or LI_I64. */
typedef struct li_gather_args {
    li_ref dst, src, index;
    int64_t index_dtype, n_outer, axis, n_index, inner_bytes;
} li_gather_args;

/* ---- gather_nd, scatter_nd: blocks of `inner` elements of data, at places that are known only now ---------------
 * The entries stand in an array of rank axes (size[], 1 <= rank). Their blocks lie behind each other in values. In
 * `index` those axes have the strides index_step[], and the `depth` indices of one entry lie index_d apart (elements).
 * An entry's block begins at element
 *   place(e) = sum over axes a of e[a] * step[a]  +  sum over d < depth of index[e][d] * stride[d]   of data.
 * gather_nd:  values[e][i] = data[place(e) + i].
 * scatter_nd: data[place(e) + i] = data[place(e) + i] (code) values[e][i], one entry after the other.
 * A negative index counts from the end if from_end. LI_ERR_INDEX where one lies outside -axis[d] .. axis[d]-1 (0 ..
 * axis[d]-1 without from_end): the entries before it are done. Each index is read once, and that value is checked.
 * dtype: of data and values. index_dtype: LI_I32 or LI_I64. code: integers wrap; bool: ADD is or, MUL is and; MIN
 * and MAX of f32 hand a NaN on. scatter_nd combines every dtype but f64, f16 and bf16. No overlap. */
typedef enum li_scatter_code { LI_SCATTER_SET, LI_SCATTER_ADD, LI_SCATTER_MUL, LI_SCATTER_MIN, LI_SCATTER_MAX } li_scatter_code;
typedef struct li_indexed_args {
    li_ref values, data, index;
    int64_t dtype, code, index_dtype, from_end, inner;
    int64_t rank, size[LI_RANK], step[LI_RANK], index_step[LI_RANK];
    int64_t depth, index_d, axis[LI_RANK], stride[LI_RANK];
} li_indexed_args;

/* ---- random: numbers drawn by counter ----------------------------------------------------------------------------
 * y[t][b][i] (dense f32) = the top 24 bits of word i % 4 of Philox 4x32-10, over 2^24: even steps from 0 to below 1.
 * Its counter is (low and high half of i / 4, low and high half of state[b].counter + t), its key is
 * state[b].key ^ key. state [n_signals] of two int64, key and counter: every counter grows by `advance` at the end.
 * So a number depends on key, signal, step and place alone, not on what else is drawn with it. Source: J. Salmon et al.,
 * Parallel random numbers: as easy as 1, 2, 3, SC 2011. */
typedef struct li_random_args {
    li_ref y, state;
    int64_t key, n_steps, n_signals, n, advance;
} li_random_args;

/* ---- choose: y[r][s] = the first k at which p[r][0] + ... + p[r][k] exceeds u[r][s] times the sum of all, else n-1 ----
 * p [rows][n], u [rows][samples] f32, y of dtype LI_I32 or LI_I64, all dense; 0 <= u < 1. Sums in f64, in order. */
typedef struct li_choose_args {
    li_ref p, u, y;
    int64_t dtype, rows, n, samples;
} li_choose_args;

/* ---- reduce_f32: y[o][i] = reduction over r of x[o][r][i] ------------------------------------------------------
 * Strides in elements (x_outer, x_r, x_inner; y_outer, y_inner). Term r goes to virtual lane r % 16; lanes are
 * then combined by the tree (l, l+8), (l, l+4), (l, l+2), (l, l+1). The order does not depend on the strides. */
typedef enum li_reduce_code {
    LI_RED_SUM, LI_RED_MEAN, LI_RED_MAX, LI_RED_MIN, LI_RED_PROD, LI_RED_SUM_SQUARE, LI_RED_L1, LI_RED_L2,
    LI_RED_LOG_SUM, LI_RED_LOG_SUM_EXP
} li_reduce_code;
typedef struct li_reduce_args {
    li_ref x, y;
    int64_t code, n_outer, n, n_inner;
    int64_t x_outer, x_r, x_inner, y_outer, y_inner;
} li_reduce_args;

/* ---- pool_f32: y[a][b][i][j] = a window of x[a][b] joined into one ------------------------------------------------
 * x [n0][n1][rows][cols], y [n0][n1][y_rows][y_cols]: strides of the first three axes, columns dense. The window of (i, j)
 * begins at row i * stride[0] - pad[0] and column j * stride[1] - pad[1] and has kernel[] places, dilation[] apart.
 * code: LI_RED_SUM, where a place outside x holds +0, or LI_RED_MAX, where it holds -inf; a NaN is handed on.
 * Order: for each column of the window its places from top to bottom, one chain; then those, from left to right, one chain.
 * scratch: li_pool_scratch(y_cols, ...[1]) bytes, 64-byte aligned. y may not overlap x. */
typedef struct li_pool_args {
    li_ref x, y, scratch;
    int64_t code, n[2], rows, cols, y_rows, y_cols;
    int64_t kernel[2], stride[2], dilation[2], pad[2];
    int64_t x_stride[3], y_stride[3];
} li_pool_args;

/* ---- softmax_f32: rows of n dense elements, x_row / y_row apart; log != 0: LogSoftmax. Sums as reduce_f32. */
typedef struct li_softmax_args {
    li_ref x, y;
    int64_t rows, n, x_row, y_row, log;
} li_softmax_args;

/* ---- layernorm_f32: y = (x - mean) / sqrt(var + epsilon) * scale + bias per row of n. scale, bias [n] or absent.
 * mean and inv_std: outputs [rows] or absent. Sums as reduce_f32; var from the centred values. */
typedef struct li_layernorm_args {
    li_ref x, scale, bias, y, mean, inv_std;
    int64_t rows, n, x_row, y_row;
    double epsilon;
} li_layernorm_args;

/* ---- arg_reduce, reduce_i64: as reduce_f32, over x of any dtype it is held in -----------------------------------
 * arg_reduce: y is int64: the first place r (last != 0: the last) of the largest (LI_RED_MAX) or smallest (LI_RED_MIN)
 * x[o][r][i]. dtype: of x, LI_F32, an integer or LI_BOOL. NaN is taken before any number, either way; -0 equals 0.
 * reduce_i64: x and y are of dtype, an integer or LI_BOOL. Computed in int64 modulo 2^64, stored as its low bits. Mean:
 * toward zero. L2: squares summed in f64, r ascending, the root toward zero. No logarithms.
 * n >= 1. */
typedef struct li_reduce_typed_args {
    li_ref x, y;
    int64_t dtype, code, last, n_outer, n, n_inner;
    int64_t x_outer, x_r, x_inner, y_outer, y_inner;
} li_reduce_typed_args;

/* ---- topk: the k best of x[o][r][i] over r, the best first, and their places r -------------------------------------
 * The largest, or (least != 0) the smallest; NaN counts as larger than any number, -0 equals 0; equal elements in the order
 * of their places. dtype: of x and values, LI_F32, an integer or LI_BOOL. values, indices (int64): dense [o][k][i]; either may be absent.
 * 1 <= k <= n. scratch: 16 k bytes. */
typedef struct li_topk_args {
    li_ref x, values, indices, scratch;
    int64_t dtype, least, n_outer, n, k, n_inner;
    int64_t x_outer, x_r, x_inner;
} li_topk_args;

/* ---- matmul_i64: as matmul_dyn_f32, of integers: a, b and y are of dtype, sums modulo 2^64 stored as their low bits.
 * k >= 1. scratch: 8 k m bytes, 64-byte aligned; holds b. */
typedef struct li_matmul_i64_args {
    li_ref a, b, y, scratch;
    int64_t n, k, m;
    int64_t a_row, a_k, b_k, b_col, y_row;
    int64_t batch_rank, batch[LI_RANK], a_batch[LI_RANK], b_batch[LI_RANK], y_batch[LI_RANK];
    int64_t dtype;
} li_matmul_i64_args;

/* ---- reverse: dst[b][t] = src[b][lens[b] - 1 - t] for t < lens[b], else src[b][t]: rows of `bytes` dense bytes, moved as bits.
 * Strides in bytes. lens: int64 [B], dense; LI_ERR_LENGTH (before anything is written) where one lies outside 0..T. */
typedef struct li_reverse_args {
    li_ref dst, src, lens;
    int64_t T, B, bytes;
    int64_t dst_t, dst_b, src_t, src_b;
} li_reverse_args;

typedef li_status (*li_slot_fn)(const void *args, char *const *base);

typedef enum li_slot {
#define LI_SLOT(name, record) LI_SLOT_##name,
#include "li_slots.def"
#undef LI_SLOT
    LI_N_SLOTS
} li_slot;

typedef struct li_kernels {
    const char *isa;
    li_slot_fn slot[LI_N_SLOTS];
} li_kernels;

/* Scratch sizes in bytes, the same for every instruction set. */
int64_t li_recur_scratch(int64_t gates, int64_t T, int64_t B, int64_t I, int64_t H);
int64_t li_recur_i8_scratch(int64_t gates, int64_t T, int64_t B, int64_t I, int64_t H);
int64_t li_matmul_i8_scratch(int64_t n, int64_t k);
int64_t li_matmul_dyn_scratch(int64_t k, int64_t m);
int64_t li_conv_scratch(int64_t channels, int64_t groups, const int64_t kernel[3], const int64_t out[3], const int64_t stride[3],
                        const int64_t dilation[3]);
int64_t li_pool_scratch(int64_t y_cols, int64_t kernel, int64_t stride, int64_t dilation);

#endif
