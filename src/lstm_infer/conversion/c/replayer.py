"""NAME_test.c: the program of C that replays recorded frames."""

from __future__ import annotations

from collections.abc import Sequence
from string import Template

from .ports import Port
from .source import Source

__all__ = ["program"]


def program(source: Source) -> str:
    """NAME_test.c."""
    repeats = source.schedule.repeats
    return TEXT.substitute(
        name=source.options.name,
        NAME=source.options.name.upper(),
        n_in=len(source.inputs),
        n_out=len(source.outputs),
        head_bytes=source.head_bytes,
        in_bytes=", ".join(_sizes(source.inputs, repeats)) or "0",
        out_bytes=", ".join(_sizes(source.outputs, repeats)),
        out_width=", ".join(_width(port) for port in source.outputs),
        ins=_cast(source.inputs, "s->in", "const "),
        outs=_cast(source.outputs, "s->out", ""),
        check_made=_check_made(source),
        flushed=_flushed(source),
        in_pieces=_in_pieces(source),
        run_pieces=RUN_PIECES if source.can_run else "",
    )


def _sizes(ports: Sequence[Port], repeats: int) -> list[str]:
    return [str(port.elements * port.dtype.itemsize * (repeats if port.moves else 1)) for port in ports]


def _width(port: Port) -> str:
    return str(port.dtype.itemsize) if port.dtype.kind == "f" and port.dtype.name != "bfloat16" else "0"


def _cast(ports: Sequence[Port], array: str, const: str) -> str:
    return "".join(f", ({const}{port.c_type} *){array}[{i}]" for i, port in enumerate(ports))


def _check_made(source: Source) -> str:
    if not source.changes:
        return ""
    return f"""        if ({source.options.name}_made(s->state, i) != made[0]) {{
            fprintf(stderr, "call %ld: %ld steps of output %d expected, got %ld\\n", call, (long)made[0], i,
                    (long){source.options.name}_made(s->state, i));
            return NULL;
        }}
"""


def _flushed(source: Source) -> str:
    if not source.schedule.flushes:
        return ""
    name = source.options.name
    outs = _cast(source.outputs, "s->out", "")
    lines = []
    for one in ("a", "b"):
        call = f"{name}_flush({one}.state, {one}.scratch{outs.replace('s->', one + '.')})"
        lines.append(f"    if ({call} || !compare(&{one}, next, (long)counts[0])) {{ return 1; }}\n")
    return "".join(lines)


def _in_pieces(source: Source) -> str:
    """The function that feeds pieces of all sizes."""
    if not source.can_run:
        return ""

    def at(array: str, port: Port, i: int, moves: str = "") -> str:
        const = "" if moves else "const "
        return f", ({const}{port.c_type} *)(void *)({array}[{i}] + {moves}at * (int64_t){array}_step[{i}])"

    ins = "".join(at("in", port, i) for i, port in enumerate(source.inputs))
    outs = "".join(at("got", port, i, f"moves[{i}] * ") for i, port in enumerate(source.outputs))
    return IN_PIECES.substitute(
        name=source.options.name,
        NAME=source.options.name.upper(),
        moves=", ".join(str(int(port.moves)) for port in source.outputs),
        arrays=ins + outs,
    )


RUN_PIECES = """    b_again(&b, data + sizeof(counts), (size_t)counts[2]);
    if (in_pieces(&b, first, counts[0])) { return 1; }
"""

IN_PIECES = Template(r"""
static void b_again(const signal *s, const char *block, size_t n_bytes)
{
    ${name}_reset(s->state);
    begin(s, block, n_bytes);
}

/* The whole signal again, in pieces of all sizes. */
static int in_pieces(const signal *s, const char *record, int64_t n_calls)
{
    static const int moves[] = {${moves}};
    char *in[N_IN], *want[N_OUT], *got[N_OUT];
    size_t in_step[N_IN], got_step[N_OUT];
    for (int i = 0; i < N_IN; i++) {
        in[i] = aligned((size_t)n_calls * in_bytes[i] + 8);
        in_step[i] = in_bytes[i] / ${NAME}_STEPS;
    }
    for (int i = 0; i < N_OUT; i++) {
        got_step[i] = out_bytes[i] / ${NAME}_STEPS;
        want[i] = aligned((size_t)n_calls * out_bytes[i] + 8);
        got[i] = aligned((size_t)n_calls * out_bytes[i] + 8);
    }
    for (int64_t call = 0; call < n_calls; call++) {
        for (int i = 0; i < N_IN; i++) {
            memcpy(in[i] + call * (int64_t)in_bytes[i], record, in_bytes[i]);
            record += in_bytes[i];
        }
        for (int i = 0; i < N_OUT; i++) {
            memcpy(want[i] + moves[i] * call * (int64_t)out_bytes[i], record + 16, out_bytes[i]);
            record += 16 + out_bytes[i];
        }
    }
    const int64_t total = n_calls * ${NAME}_STEPS;
    for (int64_t at = 0, n = 1, take; at < total; at += take, n = n > 2 * ${NAME}_STEPS ? 1 : n + 1 + n / 2) {
        take = n < total - at ? n : total - at;
        const int status = ${name}_run(s->state, s->scratch, take${arrays});
        if (status) {
            fprintf(stderr, "run: status %d\n", status);
            return 1;
        }
    }
    for (int i = 0; i < N_OUT; i++) {
        const int64_t at = differs(want[i], got[i], (int64_t)out_bytes[i] * (moves[i] ? n_calls : 1), out_width[i]);
        if (at >= 0) {
            fprintf(stderr, "run in pieces: output %d differs at byte %ld\n", i, (long)at);
            return 1;
        }
    }
    return 0;
}
""")

TEXT = Template(r"""/* Replays recorded frames through two interleaved signals of ${name}, and compares every output
 * bit for bit with what the package made of them.
 * ${name}_test [FRAMES] [REPEATS]: with REPEATS it times that many runs over the frames. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "${name}.h"

enum { N_IN = ${n_in}, N_OUT = ${n_out} };
static const size_t in_bytes[] = {${in_bytes}};
static const size_t out_bytes[] = {${out_bytes}};
static const int out_width[] = {${out_width}}; /* of a float; 0: compare bytes */

typedef struct signal {
    void *state, *scratch, *in[N_IN], *out[N_OUT];
} signal;

static void *owned[3 * N_IN + 4 * N_OUT + 8];
static int n_owned;

static void release(void)
{
    while (n_owned > 0) { free(owned[--n_owned]); }
}

static char *memory(size_t n_bytes)
{
    char *const raw = malloc(n_bytes);
    if (!raw) {
        fprintf(stderr, "no memory\n");
        exit(2);
    }
    owned[n_owned++] = raw;
    return raw;
}

static void *aligned(size_t n_bytes)
{
    char *const raw = memory(n_bytes + ${NAME}_ALIGN);
    return raw + (${NAME}_ALIGN - (uintptr_t)raw % ${NAME}_ALIGN) % ${NAME}_ALIGN;
}

static signal begun(void)
{
    signal s;
    s.state = aligned(${NAME}_STATE_BYTES);
    s.scratch = aligned(${NAME}_SCRATCH_BYTES);
    memset(s.state, 0xa5, ${NAME}_STATE_BYTES);
    memset(s.scratch, 0xa5, ${NAME}_SCRATCH_BYTES);
    for (int i = 0; i < N_IN; i++) { s.in[i] = aligned(in_bytes[i] + 8); }
    for (int i = 0; i < N_OUT; i++) { s.out[i] = aligned(out_bytes[i] + 8); }
    if (${name}_init(s.state, ${NAME}_STATE_BYTES)) {
        fprintf(stderr, "init failed\n");
        exit(2);
    }
    return s;
}

/* Begin from another state than the first one. */
static void begin(const signal *s, const char *block, size_t n_bytes)
{
    if (n_bytes) { memcpy((char *)s->state + ${head_bytes}, block, n_bytes); }
}

static int step(const signal *s)
{
    return ${name}_step(s->state, s->scratch${ins}${outs});
}

static int is_nan(const unsigned char *p, int width)
{
    if (width == 4) {
        float f;
        memcpy(&f, p, sizeof(f));
        return f != f;
    }
    if (width == 8) {
        double f;
        memcpy(&f, p, sizeof(f));
        return f != f;
    }
    return (p[1] & 0x7c) == 0x7c && ((p[1] & 3) || p[0]); /* of halves */
}

/* Where two arrays differ, in bytes; -1: nowhere, NaN for NaN. */
static int64_t differs(const void *want, const void *got, int64_t n_bytes, int width)
{
    const unsigned char *a = (const unsigned char *)want, *b = (const unsigned char *)got;
    for (int64_t at = 0; at < n_bytes; at += width ? width : 1) {
        if (memcmp(a + at, b + at, width ? (size_t)width : 1) && !(width && is_nan(a + at, width) && is_nan(b + at, width))) {
            return at;
        }
    }
    return -1;
}

/* The outputs of a record against those of a signal; where the next record begins, or NULL where they differ. */
static const char *compare(const signal *s, const char *want, long call)
{
    for (int i = 0; i < N_OUT; i++) {
        int64_t made[2];
        memcpy(made, want, sizeof(made));
        want += sizeof(made);
${check_made}        const int64_t at = differs(want, s->out[i], made[1], out_width[i]);
        if (at >= 0) {
            fprintf(stderr, "call %ld: output %d differs at byte %ld\n", call, i, (long)at);
            return NULL;
        }
        want += made[1];
    }
    return want;
}

static char *contents(const char *path)
{
    FILE *file = fopen(path, "rb");
    long n;
    if (!file || fseek(file, 0, SEEK_END) || (n = ftell(file)) < 24 || fseek(file, 0, SEEK_SET)) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    char *const data = memory((size_t)n + 8);
    if (fread(data, 1, (size_t)n, file) != (size_t)n) {
        fprintf(stderr, "cannot read %s\n", path);
        exit(2);
    }
    fclose(file);
    return data;
}

/* One call of a signal, compared with its record. */
static const char *replay(const signal *s, const char *record, long call)
{
    for (int i = 0; i < N_IN; i++) {
        memcpy(s->in[i], record, in_bytes[i]);
        record += in_bytes[i];
    }
    const int status = step(s);
    if (status) {
        fprintf(stderr, "call %ld: status %d\n", call, status);
        return NULL;
    }
    return compare(s, record, call);
}
${in_pieces}
int main(int argc, char **argv)
{
    if (atexit(release)) { return 2; }
    const char *const data = contents(argc > 1 ? argv[1] : "${name}_frames.bin");
    const long repeats = argc > 2 ? atol(argv[2]) : 0;
    int64_t counts[3];
    memcpy(counts, data, sizeof(counts));
    const signal a = begun(), b = begun();
    const char *const first = data + sizeof(counts) + counts[2];
    const char *next = first, *behind = NULL;
    begin(&a, data + sizeof(counts), (size_t)counts[2]);
    begin(&b, data + sizeof(counts), (size_t)counts[2]);
    for (long call = 0; call < counts[0]; call++) {
        const char *const record = next;
        if (!(next = replay(&a, record, call))) { return 1; }
        if (behind && !replay(&b, behind, call - 1)) { return 1; }
        behind = record;
    }
    if (behind && !replay(&b, behind, (long)counts[0] - 1)) { return 1; }
${flushed}    ${name}_reset(a.state);
    begin(&a, data + sizeof(counts), (size_t)counts[2]);
    if (counts[0] && !replay(&a, first, 0)) { return 1; }
${run_pieces}    printf("${name}: %ld calls of %d steps, two signals side by side: the same bits\n", (long)counts[0],
           ${NAME}_STEPS);
    if (repeats > 0 && counts[0]) {
        double best = 1e30;
        for (int round = 0; round < 20; round++) {
            const clock_t start = clock();
            for (long i = 0; i < repeats; i++) { (void)step(&b); }
            const double us = (double)(clock() - start) / CLOCKS_PER_SEC * 1e6 / (double)repeats;
            best = us < best ? us : best;
        }
        printf("%.4f us a call\n", best);
    }
    return 0;
}
""")
