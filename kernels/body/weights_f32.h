/* Weights as they are: 32-bit floats. */
typedef float li_weight;
typedef float li_input;

LI_INLINE vf li_weights(const li_weight *w) { return v_load(w); }            /* of LI_W units */
LI_INLINE vf li_weight_set1(const li_weight *w) { return v_set1(*w); }
