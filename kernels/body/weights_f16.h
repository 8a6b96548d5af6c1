/* Half floats, widened exactly: every sum is that of the same weights as 32-bit floats. */
typedef uint16_t li_weight;
typedef float li_input;

LI_INLINE vf li_weights(const li_weight *w) { return v_load_f16(w); }        /* of LI_W units */
LI_INLINE vf li_weight_set1(const li_weight *w) { return v_set1_f16(*w); }
