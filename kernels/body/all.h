/* Every body once, in the order in which they use each other, then the table of this instruction set. */
#include "base.h"
#include "conv_rows.h"

#define LI_BYTES 0
#define LI_WEIGHTS f32
#define LI_HALVES 0
#include "weights_f32.h"
#include "products.h"
#include "matmul_dyn.h"
#undef LI_WEIGHTS
#undef LI_HALVES
#define LI_WEIGHTS f16
#define LI_HALVES LI_HAS_HALVES
#include "weights_f16.h"
#include "products.h"
#undef LI_WEIGHTS
#undef LI_HALVES
#undef LI_BYTES

#include "bytes.h"

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
