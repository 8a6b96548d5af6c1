/* What products build on, whatever their weights. */
#include "../li_kernels.h"

#define LI_PASTE_(a, b) a##_##b
#define LI_PASTE(a, b) LI_PASTE_(a, b)
#define LI_NAME_(slot) LI_PASTE(li_##slot, LI_ISA_NAME)
#define LI_NAME(slot) LI_NAME_(slot) /* li_lstm_f32_avx2 */

#include "activations.h"
#include "tile.h"
#include "finish.h"
#include "cells.h"
#include "quantise.h"
#include "names.h"
