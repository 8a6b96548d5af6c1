/* Every slot that multiplies with packed weights, for one way of holding them (LI_WEIGHTS). */
#include "term.h"
#include "chain.h"
#include "gates.h"
#include "matmul.h"
#include "recur.h"
#include "conv.h"
