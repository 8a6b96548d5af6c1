"""NAME.c: the tables of the plans, and the calls over them."""

from __future__ import annotations

from collections.abc import Sequence

from .ports import Port
from .schedule import Run
from .source import Source, lines

__all__ = ["code"]


def code(source: Source) -> str:
    """NAME.c; the tables are written first, so that the block of constants is complete behind it."""
    name = source.options.name
    runs = [source.tables.plan(run.placed) for run in source.schedule.runs]
    flushes = [source.tables.plan(run.placed) for run in source.schedule.flushes]
    first, kept = _first(source)
    slots = [f"li_status li_{s}_{source.tables.suffix}(const void *args, char *const *base);"
             for s in sorted(source.tables.slots)]  # fmt: skip
    words = len(source.tables.blob.data()) // 8
    return "\n".join(
        [
            f"/* {name}: the plan as tables, and the calls of {name}.h. Written by lstm_infer; {source.about} */",
            f'#include "{name}.h"\n',
            "#include <math.h>\n#include <string.h>\n",
            '#include "kernels/names.h"\n#include "kernels/li_plan.h"\n',
            f"extern const uint64_t {name}_weights[{words}];\n",
            *slots,
            "",
            *source.tables.lines,
            "",
            _runs(source, "li_runs", source.schedule.runs, runs),
            _runs(source, "li_flushes", source.schedule.flushes, flushes) if flushes else "",
            _begin(source, first, kept),
            _calls(source),
        ]
    )


def _first(source: Source) -> tuple[int, int]:
    """Where the first state lies among the constants, and how much of it is not zero."""
    data = source.schedule.first[: source.block_bytes].tobytes()
    kept = len(data.rstrip(b"\0"))
    return (source.tables.blob.put(data[:kept]), kept) if kept else (0, 0)


def _runs(source: Source, name: str, runs: Sequence[Run], lists: Sequence[str]) -> str:
    n = len(source.outputs)
    rows = []
    for run, steps in zip(runs, lists, strict=True):
        present = [*run.present, *([-1] * (n - len(run.present)))]
        rows.append(
            f"    {{&{steps}, {run.next}, {{{', '.join(map(str, present))}}}, {{{', '.join(map(str, source.made(run)))}}}}},"
        )
    return (
        f"static const struct {{ const li_steps *steps; int64_t next; int8_t present[{n}]; int64_t made[{n}]; }} "
        f"{name}[] = {{\n" + "\n".join(rows) + "\n};\n"
    )


def _begin(source: Source, first: int, kept: int) -> str:
    name, upper = source.options.name, source.options.name.upper()
    copied = f"    memcpy((char *)state, (const char *){name}_weights + {first}, {kept});\n" if kept else ""
    if kept and source.head_bytes:
        copied = copied.replace("(char *)state,", f"(char *)state + {source.head_bytes},")
    text = f"""size_t {name}_state_size(void) {{ return {upper}_STATE_BYTES; }}
size_t {name}_scratch_size(void) {{ return {upper}_SCRATCH_BYTES; }}

int {name}_init(void *state, size_t state_bytes)
{{
if (state_bytes < {upper}_STATE_BYTES || (uintptr_t)state % {upper}_ALIGN) {{ return -1; }}
{name}_reset(state);
return 0;
}}

void {name}_reset(void *state)
{{
memset(state, 0, {upper}_STATE_BYTES);
{copied}}}
"""
    return text + (_seed(source) if source.drawn else "")


def _seed(source: Source) -> str:
    rows = []
    for state in source.drawn:
        at = source.head_bytes + state.view.buffer.offset + state.view.byte_offset
        rows.append(f"{{{at}, {state.view.shape[0]}}}")
    return f"""
/* SplitMix64 (G. Steele, D. Lea, C. Flood, Fast splittable pseudorandom number generators, 2014). */
static uint64_t li_mixed(uint64_t n)
{{
n = (n ^ (n >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
n = (n ^ (n >> 27)) * UINT64_C(0x94D049BB133111EB);
return n ^ (n >> 31);
}}

void {source.options.name}_seed(void *state, uint64_t seed)
{{
static const int64_t places[][2] = {{{", ".join(rows)}}};
for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {{
    for (int64_t row = 0; row < places[i][1]; row++) {{
        const uint64_t key[2] = {{li_mixed(seed + (uint64_t)row * UINT64_C(0x9E3779B97F4A7C15)), 0}};
        memcpy((char *)state + places[i][0] + 16 * row, key, sizeof(key));
    }}
}}
}}
"""


def _calls(source: Source) -> str:
    name = source.options.name
    step = _call(source, "step", "li_runs", source.inputs)
    if not source.changes:
        return step
    made = f"""
int64_t {name}_made(const void *state, int output)
{{
int64_t made;
memcpy(&made, (const char *)state + 8 * (1 + output), sizeof(made));
return made;
}}
"""
    return step + made + (_call(source, "flush", "li_flushes", ()) if source.schedule.flushes else "")


def _call(source: Source, what: str, runs: str, inputs: Sequence[Port]) -> str:
    """A call: bases, the program, and the state back where it fails."""
    name, repeats = source.options.name, source.schedule.repeats if what == "step" else 1
    at, n_in = lines(source.schedule.arena_bytes), len(source.inputs)
    find = ""
    if source.changes:
        find = "    int64_t li_at_run;\n    memcpy(&li_at_run, state, sizeof(li_at_run));\n"
    if source.schedule.flushes:
        find += f"    if (li_at_run < 0) {{ return {name.upper()}_ERR_FLUSHED; }}\n"
    index = "li_at_run" if source.changes else "0"
    failing = source.schedule.can_fail
    ins = [f"    li_base[{3 + i}] = (char *)(uintptr_t)(const void *){p.c_name};" for i, p in enumerate(inputs)]
    outs = [f"(char *)(void *){port.c_name}" for port in source.outputs]
    bases = "\n".join(
        [
            f"    li_base[0] = (char *)(uintptr_t)(const void *){name}_weights;",
            f"    li_base[1] = (char *)state + {source.head_bytes};",
            "    li_base[2] = (char *)scratch;",
            *ins,
            f"    for (int i = 0; i < {len(outs)} && {runs}[{index}].present[i] >= 0; i++) {{ "
            f"li_base[{3 + n_in} + i] = li_out[{runs}[{index}].present[i]]; }}",
        ]
    )
    keep = f"    memcpy((char *)scratch + {at}, li_base[1], {source.block_bytes});\n" if failing else ""
    back = f"        memcpy(li_base[1], (char *)scratch + {at}, {source.block_bytes});\n" if failing else ""
    run = f"li_plan_run({runs}[{index}].steps->step, {runs}[{index}].steps->n, li_base)"
    body = f"""    const int64_t li_code = {run};
if (li_code) {{
{back}        return (int)(li_code & 0xff);
}}
"""
    if repeats > 1:
        moved = [f"        li_base[{3 + i}] += {p.elements * p.dtype.itemsize};"
                 for i, p in enumerate(source.all_ports) if p.moves]  # fmt: skip
        body = "    for (int li_n = 0; li_n < {}; li_n++) {{\n{}{}\n    }}\n".format(
            repeats, "".join(f"    {line}\n" for line in body.splitlines()), "\n".join(moved)
        )
    after = ""
    if source.changes:
        after = f"""    memcpy((char *)state + 8, {runs}[{index}].made, sizeof({runs}[{index}].made));
memcpy(state, &{runs}[{index}].next, sizeof(int64_t));
"""
    return f"""
int {name}_{what}(void *state, void *scratch, {source.parameters(inputs=what == "step")})
{{
char *li_base[{3 + n_in + len(outs)}] = {{0}};
char *const li_out[] = {{{", ".join(outs)}}};
{find}{bases}
{keep}{body}{after}    return 0;
}}
"""
