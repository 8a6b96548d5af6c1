/* Every body once, in the order in which they use each other, then the table of this instruction set. */
#include "../li_kernels.h"

#define LI_PASTE_(a, b) a##_##b
#define LI_PASTE(a, b) LI_PASTE_(a, b)
#define LI_NAME(slot) LI_PASTE(li_##slot, LI_ISA_NAME) /* li_lstm_f32_avx2 */

#include "activations.h"
#include "gates_f32.h"
#include "matmul_f32.h"
#include "recur_f32.h"
#include "conv_f32.h"
#include "map.h"
#include "move.h"
#include "indexed.h"
#include "random.h"
#include "reduce_f32.h"
#include "reduce_i64.h"
#include "arg_reduce.h"
#include "topk.h"
#include "matmul_i64.h"

#include "table.h"
