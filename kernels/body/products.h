/* Every slot that multiplies with packed weights, for one way of holding them (LI_WEIGHTS). */
#include "term.h"
#if LI_BYTES
#include "chain_i8.h"
#else
#include "chain.h"
#endif
#include "gates.h"
#include "matmul.h"
#include "recur.h"
#if !LI_BYTES
#include "conv.h"
#endif
