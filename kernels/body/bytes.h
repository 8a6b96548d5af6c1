/* Products of 8-bit numbers. */
#define LI_BYTES 1
#define LI_WEIGHTS i8
#include "weights_i8.h"
#include "products.h"
#undef LI_WEIGHTS
#undef LI_BYTES
