"""The Makefile and the README of a folder of C."""

from __future__ import annotations

from .options import COptions
from .sets import COMMON_FLAGS
from .source import Source
from .units import Units

__all__ = ["makefile", "readme"]


def makefile(options: COptions, units: Units) -> str:
    name = options.name
    kernels = " ".join(f"kernels/{file.removesuffix('.c')}.o" for file in units.compiled)
    return f"""# {name}: make builds {name}.a, make test replays recorded frames.
# WEIGHTS=c: the constants as plain C, where there is no assembler. CC, CFLAGS, LDFLAGS, RUN (an emulator) as ever.
CFLAGS ?= -O3
WEIGHTS ?= S
RUN ?=
# what the bits depend on, and the instruction set
MODEL_FLAGS = {" ".join((*COMMON_FLAGS, *options.set.flags))}
MODEL_FLAGS += -Wall -Wextra -Wpedantic -ffunction-sections -fdata-sections -I. -Ikernels
ifeq ($(shell uname -s),Darwin)
DROP ?= -Wl,-dead_strip
else
DROP ?= -Wl,--gc-sections
endif
OBJECTS = {name}.o {name}_weights.o {kernels}

{name}.a: $(OBJECTS)
	rm -f $@
	$(AR) rcs $@ $(OBJECTS)

{name}_weights.o: {name}_weights.$(WEIGHTS) {name}_weights.bin
	$(CC) $(CFLAGS) $(MODEL_FLAGS) -c {name}_weights.$(WEIGHTS) -o $@

%.o: %.c {name}.h
	$(CC) $(CFLAGS) $(MODEL_FLAGS) -c $< -o $@

{name}_test: {name}_test.o {name}.a
	$(CC) $(CFLAGS) $(LDFLAGS) $(DROP) {name}_test.o {name}.a -lm -o $@

test: {name}_test
	$(RUN) ./{name}_test {name}_frames.bin

clean:
	rm -f $(OBJECTS) {name}_test.o {name}_test {name}.a

.PHONY: test clean
"""


def readme(source: Source, units: Units) -> str:
    name, options = source.options.name, source.options
    outs = ", ".join(port.c_name for port in source.all_ports)
    return f"""# {name}

{source.about} as C: {source.state_bytes} bytes of state a signal, {source.scratch_bytes} bytes of scratch, no allocation, no
library but the C library (`string.h`, `math.h`).

```c
#include "{name}.h"

_Alignas({name.upper()}_ALIGN) static unsigned char state[{name.upper()}_STATE_BYTES], scratch[{name.upper()}_SCRATCH_BYTES];

{name}_init(state, sizeof(state));
{name}_step(state, scratch, {outs});
```

`make` builds `{name}.a`, `make test` replays `{name}_frames.bin`: frames and what the package made of them, compared bit for bit.
Link with `-Wl,--gc-sections` (macOS: `-Wl,-dead_strip`): what the model does not use is left out.

| file | what |
|---|---|
| `{name}.h` | the calls, their arrays and sizes |
| `{name}.c` | the plan as const tables |
| `{name}_weights.bin`, `.S`, `.c` | the constants; one of `.S` (which takes the `.bin`) and `.c` is compiled |
| `kernels/` | the loops for {options.isa}: {", ".join(f"`{unit}`" for unit in units.compiled)} are compiled |
| `{name}_test.c`, `{name}_frames.bin` | the test |

In another build: C11; `{" ".join((*COMMON_FLAGS, *options.set.flags))}` with gcc and clang
(the bits depend on `-ffp-contract=off`), `/std:c11 /fp:precise` with MSVC, which takes
`{name}_weights.c`; `.` and `kernels` among the folders of headers.
"""
