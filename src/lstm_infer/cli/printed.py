"""Reports of the commands as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .said import say
from .tables import print_table

if TYPE_CHECKING:
    from ..comparison.records import PrecisionReport
    from ..drive.timing import Timing
    from .bench import BenchReport
    from .describe import Inspection
    from .verify import VerifyReport

__all__ = ["print_bench", "print_inspection", "print_precision", "print_verified"]


def print_inspection(found: Inspection) -> None:
    """What `inspect` found."""
    say(found.summary)
    say()
    head = ["", "name", "dtype", "role", "step", "run"]
    rows = [["input", *_cells(port)] for port in found.inputs] + [["output", *_cells(port)] for port in found.outputs]
    print_table(head, rows)
    if not found.streams:
        say(f"\ndoes not stream: {found.not_streamable}")
    call = found.call
    kernels = ", ".join(f"{n} {slot}" if n > 1 else slot for slot, n in sorted(found.kernels.items()))
    say(f"\n{call} calls: {kernels or 'unknown'} ({found.isa})")
    say(
        f"parameters: {found.parameters:,}"
        + f"; {call} reads at most {found.step_bytes:,} bytes of weights" * bool(found.kernels)
    )
    say("\nto paste:\n")
    say("\n".join(f"    {line}" if line else "" for line in found.snippet.splitlines()))


def _cells(port: dict[str, Any]) -> list[str]:
    return [port[key] for key in ("name", "dtype", "role", "step", "run")]


def print_verified(found: VerifyReport) -> None:
    """What `verify` found."""
    rows = [
        [row.case, row.output, str(row.n), f"{row.worst_absolute:.1e}", f"{row.worst_excess:.3f}",
         *([f"{row.relative:.3%}"] if found.allowed else []), "ok" if row.ok else "WRONG", row.where]
        for row in found.rows
    ]  # fmt: skip
    if rows:
        head = ["case", "output", "n", "largest error", "of allowed", *(["mean of range"] if found.allowed else [])]
        print_table([*head, "", "worst at"], rows)
        say("whole: run; split: a stream in pieces against run, bit for bit; stepped: a stream against steps by hand")
    if found.allowed:
        say(f"weights were rounded, those of the other side were not: errors are told; allowed: {found.allowed}")
    for text in found.coarse:
        say(f"beyond it, though right with the weights as they are: {text}; fewer bits may be too few here")
    if found.ties:
        say(f"{found.ties} comparisons hang on a rounding: the other side itself says both of inputs a hair apart")
    for row in found.rows:
        if row.detail:
            say(f"{row.case} {row.output}: {row.detail}")
    if found.not_streamable:
        say(f"does not stream: {found.not_streamable}")
    for text in found.missing:
        say(f"not compared: {text}")
    for reason, n in found.refusals.items():
        say(f"{n} calls: {reason}")
    for reason, n in found.not_comparable.items():
        if reason not in found.refusals:
            say(f"not comparable, {n} calls: {reason}")
    answered = ", ".join(f"{name} ({n} calls)" for name, n in found.reference.items()) or "nobody"
    say(
        f"reference: {answered}; "
        + ", ".join(f"{name} {version}" for name, version in found.versions.items())
        + f"; {found.isa}"
    )
    unknown = "not everything could be compared" if found.compared else "nothing could be compared"
    say({0: f"fine: {found.compared} comparisons", 1: "WRONG", 2: unknown}[found.status])


def print_bench(found: BenchReport) -> None:
    """What `bench` measured."""

    def us(timing: Timing | None) -> str:
        return "-" if timing is None else f"{timing.median:.2f}"

    int8 = any(row.int8_run for row in found.rows)
    head = ["µs a call", "ours", "out=", "p99", "ort run", "p99", "io_binding", "ratio", "of allowed"]
    head += ["ort int8 run", "io_binding", "best / best"] * int8
    rows = []
    for row in found.rows:
        tails = ["-" if t is None else f"{t.p99:.2f}" for t in (row.ours, row.run)]
        rows.append(
            [row.what, us(row.ours), us(row.ours_out), tails[0], us(row.run), tails[1], us(row.io_binding),
             "-" if row.ratio is None else f"{row.ratio:.2f}x", "-" if row.excess is None else f"{row.excess:.3f}",
             *([us(row.int8_run), us(row.int8_binding), "-" if row.ratio_int8 is None else f"{row.ratio_int8:.2f}x"] * int8)]
        )  # fmt: skip
    print_table(head, rows)
    allowed = "what stands under precision" if "precision" in found.conditions else "1e-5 + 1e-4 |ref|"
    say(f"ratio: onnxruntime's run over ours, above 1 we are faster; of allowed: difference over {allowed}")
    for row in found.rows:
        if row.note:
            say(f"{row.what}: {row.note}")
    if found.not_streamable:
        say(f"does not stream: {found.not_streamable}")
    for name, text in found.conditions.items():
        say(f"{name}: {text}")
    if not found.ok:
        say("WRONG: the outputs differ by more than is allowed; see lstm-infer verify")


def print_precision(found: PrecisionReport) -> None:
    """One table after the other."""
    for table in found.tables():
        say(table.title)
        if table.rows:
            print_table(table.head, table.rows)
        say("\n".join([*table.notes, ""]))
