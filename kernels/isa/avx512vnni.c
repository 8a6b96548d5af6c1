/* avx512vnni: avx512 with products of 8-bit numbers that have instructions of their own. */
#if !defined(LI_ISA_avx512vnni)
#error "compile this file with -DLI_ISA_avx512vnni and the flags of avx512vnni"
#endif
#define LI_ISA_NAME avx512vnni
#define LI_LENDER avx512
#include "../vec/avx512vnni_i8.h"
#include "../body/bytes_only.h"
