/* Every body once, in the order in which they use each other, then the table of this instruction set. */
#include "../li_kernels.h"

#define LI_PASTE_(a, b) a##_##b
#define LI_PASTE(a, b) LI_PASTE_(a, b)
#define LI_NAME_(slot) LI_PASTE(li_##slot, LI_ISA_NAME)
#define LI_NAME(slot) LI_NAME_(slot) /* li_lstm_f32_avx2 */

#include "activations.h"
#include "tile.h"
#include "finish.h"
#include "cells.h"
#include "conv_rows.h"

#include "names.h"
#define LI_WEIGHTS f32
#include "weights_f32.h"
#include "products.h"
#include "matmul_dyn.h"
#undef LI_WEIGHTS
#define LI_WEIGHTS f16
#include "weights_f16.h"
#include "products.h"
#undef LI_WEIGHTS

#include "map.h"
#include "move.h"
#include "indexed.h"
#include "random.h"
#include "reduce_f32.h"
#include "pool_f32.h"
#include "reduce_i64.h"
#include "arg_reduce.h"
#include "topk.h"
#include "matmul_i64.h"

#include "table.h"
