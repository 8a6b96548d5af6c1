"""NAME.h: what a program of C may call, with every array and size."""

from __future__ import annotations

import re

from ...program.memory import ALIGN
from .options import COptions
from .ports import Port, c_names, plain
from .source import Source

__all__ = ["header"]

FAILURES = {
    "INDEX": "an index lies outside its axis",
    "LENGTH": "a sequence length lies outside 0..T",
    "VALUE": "a value that an operator does not take",
    "LIMIT": "a loop ran past its limit",
    "BRANCH": "a condition chose a branch that does not fit the sizes",
    "FLUSHED": "the signal was flushed; reset begins a new one",
}
"""What a call returns, from 1 on: those of li_status, then our own."""


def header(source: Source) -> str:
    """NAME.h."""
    name, upper = source.options.name, source.options.name.upper()
    text = f"""/* {name}: {source.about}
 *
 * A live signal is a state: a buffer of {upper}_STATE_BYTES bytes that belongs to the caller, filled by {name}_init and carried
 * from call to call. Nothing is allocated, nothing global changes: any number of states may live side by side, each
 * used by one thread at a time. Scratch is memory to work in, {upper}_SCRATCH_BYTES bytes; nothing in it outlives a call, so
 * that states which are not stepped at the same time may share it. To copy the bytes of a state is to copy the signal.
 *
{_ports_text(source)}
 *
 * Arrays are dense, the last axis innermost, and do not overlap. Numbers are what the model itself takes and gives.
 * Instruction set: {source.options.isa}{_demands(source.options)}. */
#ifndef {upper}_H
#define {upper}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

{_sizes_text(source)}
{_states_text(source)}
/* The same sizes, asked at run time. */
size_t {name}_state_size(void);
size_t {name}_scratch_size(void);

/* Begin a signal in a new buffer. Returns 0, or -1: the buffer is too small or not aligned. */
int {name}_init(void *state, size_t state_bytes);

/* Begin a new signal. */
void {name}_reset(void *state);
{_seed_text(source)}
/* Feed {upper}_STEPS steps. Returns 0, or what is wrong with the values that were fed; the state is as before then. */
int {name}_step(void *state, void *scratch, {source.parameters()});
{_more_text(source)}
{_failures_text(source)}
#ifdef __cplusplus
}}
#endif

#endif
"""
    return re.sub(r"\n{3,}", "\n\n", text)


def _sizes_text(source: Source) -> str:
    upper = source.options.name.upper()
    spec = source.schedule.plan.spec
    sizes = {
        "STEPS": (
            source.options.chunk,
            "steps of time in one call" if spec.mode != "frame" else "frames in one call",
        ),
        "BATCH": (source.options.batch, "signals side by side"),
        "LAG": (spec.lag, "steps by which outputs lie behind the inputs"),
        "ALIGN": (ALIGN, "both buffers begin at a multiple of it"),
        "STATE_BYTES": (source.state_bytes, ""),
        "SCRATCH_BYTES": (source.scratch_bytes, ""),
    }
    defines = [f"#define {upper}_{key} {n}{f' /* {note} */' if note else ''}" for key, (n, note) in sizes.items()]
    numbers = [f"#define {upper}_{port.c_name}_ELEMENTS {_elements(source, port)}" for port in source.all_ports]
    return "\n".join([*defines, "", "/* Elements of each array, at most. */", *numbers])


def _elements(source: Source, port: Port) -> int:
    return port.elements * (source.schedule.repeats if port.moves else 1)


def _ports_text(source: Source) -> str:
    lines = []
    for title, found in (("in ", source.inputs), ("out", source.outputs)):
        for port in found:
            known = "" if port.c_name == port.name else f" ({plain(port.name)} in the model)"
            lines.append(f" *   {title} {port.c_name}{known}: {port.described(source.schedule.repeats)}")
    return "\n".join(lines)


def _states_text(source: Source) -> str:
    """Where public states lie in a state."""
    upper, lines = source.options.name.upper(), []
    names = c_names(source.schedule.plan.states, ["BYTES"])  # NAME_STATE_BYTES is the size of all
    for own, (view, info) in zip(names, source.schedule.plan.states.values(), strict=True):
        at = source.head_bytes + view.buffer.offset + view.byte_offset
        shape = "".join(f"[{n}]" for n in view.shape)
        lines.append(f"#define {upper}_STATE_{own} {at} /* {plain(info.name)}: {view.dtype.name} {shape} */")
    return "\n".join(["", "/* Where states lie in the buffer, in bytes. */", *lines, ""]) if lines else ""


def _seed_text(source: Source) -> str:
    if not source.drawn:
        return ""
    return f"""
/* Draw other random numbers from here on: each seed has its own. init and reset take the seed of the conversion. */
void {source.options.name}_seed(void *state, uint64_t seed);
"""


def _more_text(source: Source) -> str:
    name = source.options.name
    if source.can_run:
        return f"""
/* Feed any number of steps, as step does, arrays as long as that. A step that fails ends it: those before it were done. */
int {name}_run(void *state, void *scratch, int64_t n_steps, {source.parameters()});
"""
    if not source.changes:
        return ""
    flush = f"""
/* The end of a signal: what is still behind. Afterwards only reset goes on. */
int {name}_flush(void *state, void *scratch, {source.parameters(inputs=False)});
"""
    return f"""
/* How many steps of an output (0, 1, ... in the order of the parameters) the last call made: its first entries along time,
 * and an array of that extent; or 1 and 0 where it has no time: it is there, or not yet. */
int64_t {name}_made(const void *state, int output);
{flush if source.schedule.flushes else ""}"""


def _failures_text(source: Source) -> str:
    upper = source.options.name.upper()
    rows = [
        f"#define {upper}_ERR_{key} {n} /* {text} */"
        for n, (key, text) in enumerate(FAILURES.items(), 1)
        if (source.schedule.flushes if key == "FLUSHED" else source.schedule.can_fail)
    ]
    if not rows:
        return ""
    return "\n".join(rows) + "\n"


def _demands(options: COptions) -> str:
    return f" ({' '.join(options.set.flags)})" if options.set.flags else ""
