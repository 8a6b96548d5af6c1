/* avx512: the shared bodies over the avx512 vocabulary. Compiled with its own flags (setup.py). */
#if !defined(LI_ISA_avx512)
#error "compile this file with -DLI_ISA_avx512 and the flags of avx512"
#endif
#define LI_ISA_NAME avx512
#include "../vec/avx512_i8.h"
#include "../body/all.h"
