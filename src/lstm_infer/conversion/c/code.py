"""NAME.c: the tables of the plans, and the calls over them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from string import Template

from .ports import Port
from .schedule import Run
from .source import Source

__all__ = ["code"]


def code(source: Source) -> str:
    """NAME.c; the tables are written first, so that the block of constants is complete behind it."""
    name, schedule = source.options.name, source.schedule
    rows = [_rows(source, "li_runs", schedule.runs)]
    rows += [_rows(source, "li_flushes", schedule.flushes)] if schedule.flushes else []
    rows += [_rows(source, "li_single", [schedule.single])] if schedule.single and source.can_run else []
    first, kept = _first(source)
    slots = [f"li_status li_{slot}_{source.tables.suffix}(const void *args, char *const *base);"
             for slot in sorted(source.tables.slots)]  # fmt: skip
    head = HEAD.substitute(
        name=name, about=source.about, words=len(source.tables.blob.data()) // 8, slots="\n".join(slots)
    )
    program = PROGRAM.substitute(name=name, NAME=name.upper(), n_in=len(source.inputs), n_out=len(source.outputs))
    copied = f"    memcpy((char *)state + {source.head_bytes}, (const char *){name}_weights + {first}, {kept});\n"
    begin = BEGIN.substitute(name=name, NAME=name.upper(), copied=copied if kept else "")
    parts = [head, *source.tables.lines, "", program, *rows, begin, _seed(source), _calls(source)]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(parts))


def _first(source: Source) -> tuple[int, int]:
    """Where the first state lies among the constants, and how much of it is not zero."""
    data = source.schedule.first[: source.block_bytes].tobytes()
    kept = len(data.rstrip(b"\0"))
    return (source.tables.blob.put(data[:kept]), kept) if kept else (0, 0)


def _rows(source: Source, name: str, runs: Sequence[Run]) -> str:
    """What each program runs, what comes behind it, and what it makes."""
    rows = []
    for run in runs:
        steps = source.tables.plan(run.placed)
        present = [*run.present, *([-1] * (len(source.outputs) - len(run.present)))]
        made = source.made(run)
        rows.append(
            f"    {{&{steps}, {run.next}, {{{', '.join(map(str, present))}}}, {{{', '.join(map(str, made))}}}}},"
        )
    return f"static const li_run {name}[] = {{\n" + "\n".join(rows) + "\n};\n"


def _seed(source: Source) -> str:
    if not source.drawn:
        return ""
    places = []
    for state in source.drawn:
        at = source.head_bytes + state.view.buffer.offset + state.view.byte_offset
        places.append(f"{{{at}, {state.view.shape[0]}}}")
    return SEED.substitute(name=source.options.name, places=", ".join(places))


def _calls(source: Source) -> str:
    name = source.options.name
    text = _call(source, f"int {name}_step", "li_runs", source.schedule.repeats, source.inputs)
    if source.changes:
        text += MADE.substitute(name=name)
    if source.schedule.flushes:
        text += _call(source, f"int {name}_flush", "li_flushes", 1, ())
    return text + (_run(source) if source.can_run else "")


def _call(source: Source, what: str, runs: str, repeats: int, inputs: Sequence[Port]) -> str:
    """A call: its arrays, the program of the phase, and the state back where it fails."""
    name, head, ports = source.options.name, source.head_bytes, source.all_ports
    arrays = [f"(char *)(uintptr_t)(const void *){p.c_name}" if p in inputs else "NULL" for p in source.inputs]
    arrays += [f"(char *)(void *){p.c_name}" for p in source.outputs]
    lines = [
        f"char *li_array[] = {{{', '.join(arrays)}}};",
        f"char *const li_block = (char *)state{f' + {head}' * bool(head)};",
    ]
    row = f"{runs}[0]"
    if source.changes:
        lines += ["int64_t li_phase;", "memcpy(&li_phase, state, sizeof(li_phase));"]
        if source.schedule.flushes:
            lines.append(f"if (li_phase < 0) {{ return {name.upper()}_ERR_FLUSHED; }}")
        row = f"{runs}[li_phase]"
    backup, n_bytes = source.backup_at, source.block_bytes
    if source.schedule.can_fail:
        lines.append(f"memcpy((char *)scratch + {backup}, li_block, {n_bytes});")
    if repeats == 1:
        lines.append(f"const int li_code = li_do(&{row}, li_block, (char *)scratch, li_array);")
    else:
        moved = [f"li_array[{i}] += {p.elements * p.dtype.itemsize};" for i, p in enumerate(ports) if p.moves]
        lines += ["int li_code = 0;", f"for (int li_n = 0; li_n < {repeats} && !li_code; li_n++) {{"]
        lines += [
            f"    li_code = li_do(&{row}, li_block, (char *)scratch, li_array);",
            *(f"    {move}" for move in moved),
            "}",
        ]
    if source.schedule.can_fail:
        lines.append(f"if (li_code) {{ memcpy(li_block, (char *)scratch + {backup}, {n_bytes}); }}")
    if source.changes:
        lines += ["if (!li_code) {", f"    memcpy(state, &{row}.next, sizeof(int64_t));",
                  f"    memcpy((char *)state + 8, {row}.made, sizeof({row}.made));", "}"]  # fmt: skip
    lines.append("return li_code;")
    body = "\n".join(f"    {line}" for line in lines)
    return f"\n{what}(void *state, void *scratch, {source.parameters(inputs=bool(inputs))})\n{{\n{body}\n}}\n"


def _run(source: Source) -> str:
    """NAME_run: calls of many steps, then of one."""
    name, upper, chunk = source.options.name, source.options.name.upper(), source.options.chunk
    given = ", ".join(port.c_name for port in source.all_ports)
    moving = [(port, port.elements * source.schedule.repeats) for port in source.all_ports if port.moves]

    def loop(head: str, call: str, steps: int) -> str:
        moved = "".join(f"        {port.c_name} += {n // chunk * steps};\n" for port, n in moving)
        return f"    for (; {head}) {{\n        li_code = {call}(state, scratch, {given});\n{moved}    }}\n"

    text, loops = "", loop(f"n_steps >= {upper}_STEPS && !li_code; n_steps -= {upper}_STEPS", f"{name}_step", chunk)
    if chunk > 1:
        runs = "li_single" if source.schedule.single else "li_runs"
        text = _call(source, "static int li_one", runs, 1, source.inputs)
        loops += loop("n_steps > 0 && !li_code; n_steps--", "li_one", 1)
    parameters = f"void *state, void *scratch, int64_t n_steps, {source.parameters()}"
    return f"{text}\nint {name}_run({parameters})\n{{\n    int li_code = 0;\n{loops}    return li_code;\n}}\n"


HEAD = Template("""\
/* ${name}: the plan as tables, and the calls of ${name}.h. Written by lstm_infer; ${about} */
#include "${name}.h"

#include <math.h>
#include <string.h>

#include "kernels/names.h"
#include "kernels/li_plan.h"

extern const uint64_t ${name}_weights[${words}];

${slots}
""")

PROGRAM = Template("""\
typedef struct li_run {
    const li_steps *steps;
    int64_t next; /* the program behind it */
    int8_t present[${n_out}]; /* the outputs that it makes, then -1 */
    int64_t made[${n_out}]; /* how many steps of each output */
} li_run;

/* One program over its arrays: inputs, then all outputs. */
static int li_do(const li_run *run, char *block, char *scratch, char *const *array)
{
    char *base[${n_in} + ${n_out} + 3];
    base[0] = (char *)(uintptr_t)(const void *)${name}_weights;
    base[1] = block;
    base[2] = scratch;
    for (int i = 0; i < ${n_in}; i++) { base[3 + i] = array[i]; }
    for (int i = 0; i < ${n_out} && run->present[i] >= 0; i++) { base[${n_in} + 3 + i] = array[${n_in} + run->present[i]]; }
    return (int)(li_plan_run(run->steps->step, run->steps->n, base) & 0xff);
}
""")

BEGIN = Template("""\
size_t ${name}_state_size(void) { return ${NAME}_STATE_BYTES; }
size_t ${name}_scratch_size(void) { return ${NAME}_SCRATCH_BYTES; }

int ${name}_init(void *state, size_t state_bytes)
{
    if (state_bytes < ${NAME}_STATE_BYTES || (uintptr_t)state % ${NAME}_ALIGN) { return -1; }
    ${name}_reset(state);
    return 0;
}

void ${name}_reset(void *state)
{
    memset(state, 0, ${NAME}_STATE_BYTES);
${copied}}
""")

SEED = Template("""\
/* SplitMix64 (G. Steele, D. Lea, C. Flood, Fast splittable pseudorandom number generators, 2014). */
static uint64_t li_mixed(uint64_t n)
{
    n = (n ^ (n >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    n = (n ^ (n >> 27)) * UINT64_C(0x94D049BB133111EB);
    return n ^ (n >> 31);
}

void ${name}_seed(void *state, uint64_t seed)
{
    static const int64_t places[][2] = {${places}};
    for (size_t i = 0; i < sizeof(places) / sizeof(places[0]); i++) {
        for (int64_t row = 0; row < places[i][1]; row++) {
            const uint64_t key[2] = {li_mixed(seed + (uint64_t)row * UINT64_C(0x9E3779B97F4A7C15)), 0};
            memcpy((char *)state + places[i][0] + 16 * row, key, sizeof(key));
        }
    }
}
""")

MADE = Template("""
int64_t ${name}_made(const void *state, int output)
{
    int64_t made;
    memcpy(&made, (const char *)state + 8 * (1 + output), sizeof(made));
    return made;
}
""")
