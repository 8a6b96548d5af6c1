/* A set that differs from another one (LI_LENDER) in its products of 8-bit numbers alone, and takes all else from it. */
#include "base.h"
#include "bytes.h"
#include "table.h"
