/* avx2: the shared bodies over the avx2 vocabulary. Compiled with its own flags (setup.py). */
#if !defined(LI_ISA_avx2)
#error "compile this file with -DLI_ISA_avx2 and the flags of avx2"
#endif
#define LI_ISA_NAME avx2
#include "../vec/avx2_i8.h"
#include "../body/all.h"
