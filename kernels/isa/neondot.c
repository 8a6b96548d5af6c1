/* neondot: neon with products of 8-bit numbers that have instructions of their own. */
#if !defined(LI_ISA_neondot)
#error "compile this file with -DLI_ISA_neondot and the flags of neondot"
#endif
#define LI_ISA_NAME neondot
#define LI_LENDER neon
#include "../vec/neondot_i8.h"
#include "../body/bytes_only.h"
