/* Words of four int8, three rows that describe their units before them, against inputs that are quantised. */
typedef int32_t li_weight;
typedef int32_t li_input;

#undef LI_BLOCK_K
#define LI_BLOCK_K INT64_MAX /* a sum becomes a float once */
#if LI_TIGHT /* products take registers before they are added */
#undef LI_MOST1
#undef LI_MOST4
#define LI_MOST1 4
#define LI_MOST4 (LI_ACC / 6)
#endif
