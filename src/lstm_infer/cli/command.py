"""The command lstm-infer: reads arguments, calls, prints. Exit status: 0 fine, 1 found wrong, 2 could not."""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lstm_infer

from ..errors import LstmInferError
from .tables import print_table, progress

if TYPE_CHECKING:
    from ..drive.timing import Timing
    from .bench import BenchReport
    from .describe import Inspection
    from .verify import VerifyReport

__all__ = ["main"]

FINE, WRONG, COULD_NOT, INTERRUPTED = 0, 1, 2, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the command's name; default sys.argv.
    """
    try:
        args = _parser().parse_args(argv)
    except SystemExit as stop:  # --help, --version, a wrong argument: argparse has said what
        return int(stop.code or 0)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", category=UserWarning)
            warnings.showwarning = _show_warning
            status: int = args.call(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; nothing more to say to it
        return COULD_NOT
    except KeyboardInterrupt:
        print("lstm-infer: interrupted", file=sys.stderr)
        return INTERRUPTED
    except (LstmInferError, OSError, ValueError) as error:
        if args.traceback:
            raise
        print(f"lstm-infer: {' '.join(str(error).split())}", file=sys.stderr)
        return COULD_NOT


def _show_warning(message: Warning | str, *where: object, **more: object) -> None:
    print(f"lstm-infer: note: {' '.join(str(message).split())}", file=sys.stderr)


# ---- arguments ------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lstm-infer",
        description="Gives a recurrent ONNX model a memory: looks at it, streams files through it, checks and times it "
        "beside onnxruntime.",
        epilog="Begin with:  lstm-infer inspect model.onnx   or, without a model of your own:  lstm-infer demo\n"
        "Exit status: 0 fine, 1 found wrong (verify, bench, demo), 2 could not.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lstm_infer {lstm_infer.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    for add in (_add_inspect, _add_verify, _add_bench, _add_run, _add_demo, _add_isa):
        add(commands)
    return parser


def _add_inspect(commands: Any) -> None:
    inspect = _command(
        commands, "inspect", _do_inspect, "what a model takes, gives and carries, with a snippet to paste",
        "Shows inputs and outputs with the shapes that step and run take, the states that a stream carries and where\n"
        "they come from, the kernels a step calls, and a few lines of Python made for this very model.",
        "lstm-infer inspect model.onnx",
    )  # fmt: skip
    _model_options(inspect)


def _add_verify(commands: Any) -> None:
    verify = _command(
        commands, "verify", _do_verify, "compare with onnxruntime on random inputs",
        "Runs the model and onnxruntime side by side: three seeds, states not zero, several lengths and batch sizes;\n"
        "whole (run), in random pieces (a stream against run, bit for bit), and one step a call with the states fed\n"
        "back by hand, hidden ones too. Scalars that choose between networks are set to each choice. Allowed:\n"
        "|difference| <= 1e-5 + 1e-4 |reference|. Exit status 1 where more is found, 2 where something was not compared.",
        "lstm-infer verify model.onnx\nlstm-infer verify silero_vad.onnx --constants sr=16000",
    )  # fmt: skip
    _model_options(verify)
    verify.add_argument("--seed", type=int, default=0, metavar="N", help="first of the three seeds (default 0)")


def _add_bench(commands: Any) -> None:
    bench = _command(
        commands, "bench", _do_bench, "time beside onnxruntime",
        "Times a streaming step, a chunk and a whole run, batch 1, ours and onnxruntime's in turns; the ratio of the\n"
        "two in one run is what counts, microseconds move with the machine. Outputs are compared on the way.\n"
        "--profile takes a step apart instead: each kernel's time beside its arithmetic and its bytes.",
        "lstm-infer bench model.onnx --rounds 9\nlstm-infer bench model.onnx --profile",
    )  # fmt: skip
    _model_options(bench)
    bench.add_argument("--rounds", type=_positive, default=5, metavar="N", help="interleaved rounds (default 5)")
    bench.add_argument(
        "--threads", type=_positive, default=1, metavar="N", help="threads of both sides (default 1, pinned)"
    )
    bench.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the inputs")
    bench.add_argument("--profile", action="store_true", help="the time of each kernel of a stream's step, ours alone")
    bench.add_argument("--steps", type=_positive, metavar="N", help="with --profile: of a whole run of N time steps")


def _add_run(commands: Any) -> None:
    run = _command(
        commands, "run", _do_run, "stream a file through a model",
        "Streams a file through the model chunk by chunk and writes what comes out. A model that cannot stream is run\n"
        "whole. .npz holds arrays by input (output) name; .npy one array in the model's layout; .csv one step a row;\n"
        ".wav one sample a step, or frames where a step takes several samples.",
        "lstm-infer run amp.onnx --input guitar.wav --output amp.wav\n"
        "lstm-infer run model.onnx --input frames.npy --output scores.csv --initial state.npz",
    )  # fmt: skip
    _model_options(run)
    run.add_argument("--input", type=Path, required=True, metavar="FILE", help=".npy, .npz, .csv or .wav")
    run.add_argument("--output", type=Path, required=True, metavar="FILE", help=".npy, .npz, .csv or .wav")
    run.add_argument("--select", metavar="NAME", help="write this output only")
    run.add_argument(
        "--chunk", type=_positive, default=256, metavar="N", help="steps at once (default 256); no bit depends on it"
    )
    run.add_argument("--whole", action="store_true", help="run once over the whole input, no stream")
    run.add_argument("--initial", type=Path, metavar="FILE.npz", help="first states, by name")
    run.add_argument(
        "--final", type=Path, metavar="FILE.npz", help="write the last states there, to go on from with --initial"
    )
    run.add_argument("--rate", type=_positive, metavar="HZ", help="sample rate of a .wav output (default: the input's)")


def _add_demo(commands: Any) -> None:
    demo = _command(
        commands, "demo", _do_demo, "a guitar amplifier, checked and timed in seconds",
        "Plays a synthesised riff through a small LSTM amplifier that comes with the package: sample by sample and in\n"
        "chunks, checked to be the same bits, timed, beside onnxruntime where that is installed. Writes WAV files\n"
        "and, where matplotlib is installed, a picture.",
        "lstm-infer demo --out /tmp/demo",
    )  # fmt: skip
    demo.add_argument("--out", type=Path, default=Path(), metavar="DIR", help="where the files go (default: here)")
    demo.add_argument("--seconds", type=float, default=4.0, metavar="S", help="length of the riff (default 4)")
    demo.add_argument("--no-plot", action="store_true", help="no picture")


def _add_isa(commands: Any) -> None:
    _command(
        commands, "isa", _do_isa, "which instruction sets can run here, and which one is picked",
        "Lists the instruction sets of this build, which of them this CPU and its system can run, and which is\n"
        "picked. LSTM_INFER_ISA=avx2 in the environment forces one.",
        "lstm-infer isa",
    )  # fmt: skip


def _command(
    commands: Any, name: str, call: Callable[[argparse.Namespace], int], short: str, long: str, examples: str
) -> argparse.ArgumentParser:
    epilog = "example:\n" + "\n".join(f"  {line}" for line in examples.splitlines())
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=short, description=long, epilog=epilog, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.set_defaults(call=call)
    made.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    made.add_argument("--traceback", action="store_true", help="show where an error came from")
    return made


def _model_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="an .onnx file")
    group = parser.add_argument_group("how the model is loaded")
    group.add_argument(
        "--constants", action="append", type=_constant, default=[], metavar="NAME=VALUE",
        help="make an input a constant: sr=16000, or gains=0.5,1",
    )  # fmt: skip
    group.add_argument(
        "--states", action="append", type=_pair, default=[], metavar="INPUT=OUTPUT",
        help="this output holds the next value of this input: h0=hn",
    )  # fmt: skip
    group.add_argument(
        "--time-axis", action="append", type=_axis, default=[], metavar="INPUT=AXIS", help="where time is: x=1"
    )  # fmt: skip
    group.add_argument(
        "--shape", action="append", type=_shape, default=[], metavar="INPUT=SIZES",
        help="fix sizes the file leaves open, ? keeps one open: x=1,?,80",
    )  # fmt: skip
    group.add_argument(
        "--precision", action="append", type=_kind, default=[], metavar="[NODE=]KIND",
        help="how weights are held: f32, f16 or int8; with a name, those of one node",
    )  # fmt: skip
    group.add_argument("--isa", metavar="NAME", help="force an instruction set; lstm-infer isa lists them")


def _pair(text: str) -> tuple[str, str]:
    name, mark, value = text.rpartition("=")  # names hold odd characters; values here do not
    if not mark or not name or not value:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE, got {text!r}")
    return name, value


def _number(text: str) -> int | float | bool:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    try:
        return int(text)
    except ValueError:
        return float(text)


def _constant(text: str) -> tuple[str, Any]:
    name, value = _pair(text)
    try:
        numbers = [_number(part) for part in value.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected NAME=NUMBER or NAME=NUMBER,NUMBER, got {text!r}") from None
    return name, numbers if "," in value else numbers[0]


def _axis(text: str) -> tuple[str, int]:
    name, value = _pair(text)
    try:
        return name, int(value)
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected INPUT=AXIS, got {text!r}") from None


def _kind(text: str) -> tuple[str, str]:
    name, _, kind = text.rpartition("=")
    return name or "*", kind


def _shape(text: str) -> tuple[str, tuple[int | None, ...]]:
    name, value = _pair(text)
    try:
        return name, tuple(None if size == "?" else int(size) for size in value.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected INPUT=SIZE,SIZE, got {text!r}") from None


def _positive(text: str) -> int:
    try:
        value = int(text)
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 1 on, got {text!r}")
    return value


def _load_options(args: argparse.Namespace) -> dict[str, Any]:
    """What `load` is given besides the file: only what was asked for."""
    found = {
        "isa": args.isa, "inputs": dict(args.shape), "constants": dict(args.constants), "states": dict(args.states),
        "time_axis": dict(args.time_axis), "precision": dict(args.precision),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


# ---- commands -------------------------------------------------------------------------------------------


def _do_inspect(args: argparse.Namespace) -> int:
    from .describe import describe

    options = _load_options(args)
    model = lstm_infer.load(args.model, **options)
    found = describe(model, str(args.model), load_options="".join(f", {k}={v!r}" for k, v in options.items()))
    print(json.dumps(asdict(found), indent=2)) if args.json else _print_inspection(found)
    return FINE


def _print_inspection(found: Inspection) -> None:
    print(found.summary)
    print()
    head = ["", "name", "dtype", "role", "step", "run"]
    rows = [["input", *_cells(port)] for port in found.inputs] + [["output", *_cells(port)] for port in found.outputs]
    print_table(head, rows)
    if not found.streams:
        print(f"\ndoes not stream: {found.not_streamable}")
    call = found.call
    kernels = ", ".join(f"{n} {slot}" if n > 1 else slot for slot, n in sorted(found.kernels.items()))
    print(f"\n{call} calls: {kernels or 'unknown'} ({found.isa})")
    print(
        f"parameters: {found.parameters:,}"
        + f"; {call} reads at most {found.step_bytes:,} bytes of weights" * bool(found.kernels)
    )
    print("\nto paste:\n")
    print("\n".join(f"    {line}" if line else "" for line in found.snippet.splitlines()))


def _cells(port: dict[str, Any]) -> list[str]:
    return [port[key] for key in ("name", "dtype", "role", "step", "run")]


def _do_verify(args: argparse.Namespace) -> int:
    from .verify import verify

    found = verify(args.model, seed=args.seed, say=_teller(args), **_load_options(args))
    print(json.dumps(found.to_dict(), indent=2)) if args.json else _print_verified(found)
    return found.status


def _print_verified(found: VerifyReport) -> None:
    rows = [
        [row.case, row.output, str(row.n), f"{row.worst_absolute:.1e}", f"{row.worst_excess:.3f}",
         "ok" if row.ok else "WRONG", row.where]
        for row in found.rows
    ]  # fmt: skip
    if rows:
        print_table(["case", "output", "n", "largest error", "of allowed", "", "worst at"], rows)
        print("whole: run; split: a stream in pieces against run, bit for bit; stepped: a stream against steps by hand")
    if found.ties:
        print(f"{found.ties} comparisons hang on a rounding: the other side itself says both of inputs a hair apart")
    for row in found.rows:
        if row.detail:
            print(f"{row.case} {row.output}: {row.detail}")
    if found.not_streamable:
        print(f"does not stream: {found.not_streamable}")
    for text in found.missing:
        print(f"not compared: {text}")
    for reason, n in found.refusals.items():
        print(f"{n} calls: {reason}")
    for reason, n in found.not_comparable.items():
        print(f"not comparable, {n} calls: {reason}")
    answered = ", ".join(f"{name} ({n} calls)" for name, n in found.reference.items()) or "nobody"
    print(
        f"reference: {answered}; "
        + ", ".join(f"{name} {version}" for name, version in found.versions.items())
        + f"; {found.isa}"
    )
    unknown = "not everything could be compared" if found.compared else "nothing could be compared"
    print({FINE: f"fine: {found.compared} comparisons", WRONG: "WRONG", COULD_NOT: unknown}[found.status])


def _do_bench(args: argparse.Namespace) -> int:
    if args.profile or args.steps:
        return _do_profile(args)
    from .bench import bench

    found = bench(
        args.model, rounds=args.rounds, threads=args.threads, seed=args.seed, say=_teller(args), **_load_options(args)
    )
    print(json.dumps(found.to_dict(), indent=2)) if args.json else _print_bench(found)
    return FINE if found.ok else WRONG


def _do_profile(args: argparse.Namespace) -> int:
    from .profile import profile
    from .profiled import print_profile

    found = profile(args.model, steps=args.steps, seed=args.seed, **_load_options(args))
    print(json.dumps(found.to_dict(), indent=2)) if args.json else print_profile(found)
    return FINE


def _print_bench(found: BenchReport) -> None:
    def us(timing: Timing | None) -> str:
        return "-" if timing is None else f"{timing.median:.2f}"

    head = ["µs a call", "ours", "out=", "p99", "ort run", "p99", "io_binding", "ratio", "of allowed"]
    rows = []
    for row in found.rows:
        tails = ["-" if t is None else f"{t.p99:.2f}" for t in (row.ours, row.run)]
        rows.append(
            [row.what, us(row.ours), us(row.ours_out), tails[0], us(row.run), tails[1], us(row.io_binding),
             "-" if row.ratio is None else f"{row.ratio:.2f}x", "-" if row.excess is None else f"{row.excess:.3f}"]
        )  # fmt: skip
    print_table(head, rows)
    print("ratio: onnxruntime's run over ours, above 1 we are faster; of allowed: difference over 1e-5 + 1e-4 |ref|")
    for row in found.rows:
        if row.note:
            print(f"{row.what}: {row.note}")
    if found.not_streamable:
        print(f"does not stream: {found.not_streamable}")
    for name, text in found.conditions.items():
        print(f"{name}: {text}")
    if not found.ok:
        print("WRONG: the outputs differ by more than is allowed; see lstm-infer verify")


def _do_run(args: argparse.Namespace) -> int:
    from ..drive.through import run_signal
    from .files import check_output, read_arrays, read_signal, write_outcome

    check_output(args.output)
    model = lstm_infer.load(args.model, **_load_options(args))
    signal = read_signal(args.input, model, whole=args.whole)
    initial = None if args.initial is None else read_arrays(args.initial)
    with progress("steps", max((a.shape[0] for a in signal.feeds.values() if a.ndim), default=0)) as show:
        outcome = run_signal(model, signal.feeds, whole=args.whole, chunk=args.chunk, initial=initial, progress=show)
    notes = write_outcome(args.output, outcome, signal, output=args.select, rate=args.rate)
    if args.final is not None:
        import numpy as np

        states: Any = outcome.states
        np.savez(args.final, **states)
    notes = [*signal.notes, *outcome.notes, *notes]
    if args.json:
        shapes = {name: list(array.shape) for name, array in outcome.arrays.items()}
        print(
            json.dumps(
                {"streamed": outcome.streamed, "steps": outcome.steps, "outputs": shapes, "notes": notes}, indent=2
            )
        )
        return FINE
    for note in notes:
        print(f"lstm-infer: {note}", file=sys.stderr)
    how = f"streamed {outcome.steps} steps" if outcome.streamed else "run whole"
    print(
        f"{how}: "
        + ", ".join(f"{name} {list(array.shape)}" for name, array in outcome.arrays.items())
        + f" -> {args.output}"
    )
    return FINE


def _do_demo(args: argparse.Namespace) -> int:
    from .demo.show import run_demo

    found = run_demo(
        args.out, seconds=args.seconds, plot=not args.no_plot, json=args.json, say=None if args.json else print
    )
    if args.json:
        print(json.dumps(found, indent=2))
    return FINE if found["ok"] else WRONG


def _do_isa(args: argparse.Namespace) -> int:
    from .._core import list_isas
    from ..isa import choose_isa

    if args.json:
        print(json.dumps({"can_run": dict(list_isas()), "picked": choose_isa()}, indent=2))
    else:
        print(lstm_infer.show_isa())
    return FINE


def _teller(args: argparse.Namespace) -> Callable[[str], None] | None:
    """What shows the progress of a command: nothing where nobody looks."""
    return None if args.json or not sys.stderr.isatty() else _tell


def _tell(line: str) -> None:
    print(f"\r\033[K{line}\r", end="", file=sys.stderr, flush=True)  # the next line, or the table, goes over it
