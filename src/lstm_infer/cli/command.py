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
from typing import Any

import lstm_infer

from ..conversion.report import WrongResultError
from ..errors import LstmInferError
from .filled import Filled
from .said import no_command, said, say, show_warning
from .tables import loading, progress
from .values import above_zero, axis, constant, kind, named_file, pair, pair_or_file, positive, shape

__all__ = ["interrupted", "main"]

COMMANDS = ("inspect", "verify", "bench", "precision", "convert", "run", "demo", "isa", "doctor")
FINE, WRONG, COULD_NOT, INTERRUPTED = 0, 1, 2, 130

interrupted: list[int] = []
"""Signals of Ctrl-C that came while `main` ran; `__main__` fills it."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit status.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments without the command's name; default sys.argv.
    """
    given = sys.argv[1:] if argv is None else argv
    _with_streams()
    if not given:
        _parser().print_help()
        return FINE
    wrong = no_command(given[0], COMMANDS)
    if wrong:
        print(f"lstm-infer: {wrong}", file=sys.stderr)
        return COULD_NOT
    try:
        args = _parser().parse_args(given)
    except SystemExit as stop:  # --help, --version, a wrong argument: argparse has said what
        return int(stop.code or 0)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a terminal that has no µ gets all the rest
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("always", category=UserWarning)
            warnings.showwarning = show_warning
            with loading(not args.json):
                status: int = args.call(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the reader left; nothing more to say to it
        return COULD_NOT
    except KeyboardInterrupt:
        return _stopped()
    except Exception as error:
        if interrupted:  # what was imported or called made another error of it
            return _stopped()
        if args.traceback or not isinstance(error, (LstmInferError, OSError, ValueError)):
            raise
        print(f"lstm-infer: {said(error, options=hasattr(args, 'constants'))}", file=sys.stderr)
        return COULD_NOT


def _stopped() -> int:
    print("lstm-infer: interrupted", file=sys.stderr)
    return INTERRUPTED


def _with_streams() -> None:
    """A process may have been started with standard streams closed: what goes there is dropped."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115  (for as long as the process lives)


# ---- arguments ------------------------------------------------------------------------------------------


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lstm-infer",
        description="Gives a recurrent ONNX model a memory: looks at it, streams files through it, checks and times it "
        "beside onnxruntime.",
        epilog="Begin with:\n"
        "  lstm-infer demo                          without a model of your own: a guitar amplifier, checked and timed\n"
        "  lstm-infer inspect model.onnx            what it takes, gives and carries, and a snippet to paste\n"
        "  lstm-infer verify model.onnx             is it right, beside onnxruntime\n"
        "  lstm-infer convert model.onnx model.lsi  a file that opens in milliseconds\n"
        "  lstm-infer COMMAND --help                each has examples\n"
        "Exit status: 0 fine, 1 found wrong (verify, bench, convert, demo, doctor), 2 could not.",
        formatter_class=Filled,
    )
    parser.add_argument("--version", action="version", version=f"lstm_infer {lstm_infer.__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    for add in (
        _add_inspect,
        _add_verify,
        _add_bench,
        _add_precision,
        _add_convert,
        _add_run,
        _add_demo,
        _add_isa,
        _add_doctor,
    ):
        add(commands)
    return parser


def _add_inspect(commands: Any) -> None:
    inspect = _command(
        commands, "inspect", _do_inspect, "what a model takes, gives and carries, with a snippet to paste",
        "Shows inputs and outputs with the shapes that step and run take, the states that a stream carries and where\n"
        "they come from, the kernels a step calls, and a few lines of Python made for this very model.",
        "lstm-infer inspect model.onnx\nlstm-infer inspect model.onnx --html net.html",
    )  # fmt: skip
    _model_options(inspect)
    inspect.add_argument(
        "--html", type=Path, metavar="FILE", help="also draw the net on a page that needs no other file"
    )


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
        "lstm-infer bench model.onnx --rounds 9 --plot times.png\nlstm-infer bench model.onnx --profile",
    )  # fmt: skip
    _model_options(bench)
    bench.add_argument("--rounds", type=positive, default=5, metavar="N", help="interleaved rounds (default 5)")
    bench.add_argument(
        "--threads", type=positive, default=1, metavar="N", help="threads of both sides (default 1, pinned)"
    )
    bench.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the inputs")
    bench.add_argument("--profile", action="store_true", help="the time of each kernel of a stream's step, ours alone")
    bench.add_argument(
        "--plot", type=Path, metavar="FILE", help="draw medians, tails and how calls spread (matplotlib)"
    )
    bench.add_argument("--steps", type=positive, metavar="N", help="with --profile: of a whole run of N time steps")


def _add_precision(commands: Any) -> None:
    precision = _command(
        commands, "precision", _do_precision, "what f16 and the like cost in error, bytes and time",
        "Compares ways to hold the weights with f32: the error of each output, which layer brings it, how it grows over a\n"
        "long run, bytes, and the time of a step. --within picks the cheapest mix that stays inside an absolute error on\n"
        "this data, and prints the precision= to paste. Without --input noise is fed, which says little about real data.",
        "lstm-infer precision model.onnx --input x.npy --within 1e-3\n"
        "lstm-infer precision model.onnx --input x=frames.npy --input gain=gain.npy --plot errors.png",
    )  # fmt: skip
    _model_options(precision, precision=False)
    precision.add_argument(
        "--input", action="append", type=named_file, default=[], metavar="[NAME=]FILE",
        help="data as lstm-infer run takes it, or .npy files by input name",
    )  # fmt: skip
    precision.add_argument("--within", type=above_zero, metavar="ERROR", help="find the cheapest mix inside: 1e-3")
    precision.add_argument("--seed", type=int, default=0, metavar="N", help="of the noise, where no data is given")
    precision.add_argument(
        "--steps", type=int, default=100_000, metavar="N", help="of the long run (default 100000, some seconds at most)"
    )
    precision.add_argument("--plot", type=Path, metavar="FILE", help="draw errors over time and by layer (matplotlib)")


def _add_convert(commands: Any) -> None:
    convert = _command(
        commands, "convert", _do_convert, "write a model in another form: mapped file, stateful ONNX, C",
        "Writes a model in another form and runs the result beside its source before a file is left: whole, in pieces,\n"
        "from states that are not zero. native (.lsi): a file that load() maps, without onnx. onnx: one step, whose states\n"
        "are inputs and outputs, for any runtime. c: a folder of C11 that needs nothing else. What is said here about the\n"
        "model is fixed by the conversion. Exit status 1 where the result is not what the source gives: no file is left.",
        "lstm-infer convert model.onnx model.lsi --precision int8\n"
        "lstm-infer convert silero_vad.onnx step.onnx --to onnx --constants sr=16000 --states first.npz\n"
        "lstm-infer convert amp.onnx amp/ --to c --isa scalar --chunk 64",
    )  # fmt: skip
    convert.add_argument("--to", choices=("native", "onnx", "c"), help="default: by the suffix of OUT")
    convert.add_argument("--force", action="store_true", help="write over what is there")
    convert.add_argument("--chunk", type=positive, metavar="N", help="onnx, c: steps of one call (default 1)")
    convert.add_argument("--batch", type=positive, metavar="N", help="c: signals in lockstep (default 1)")
    convert.add_argument("--plan", action="append", type=shape, metavar="INPUT=?,N", help="native: sizes to be fed")
    convert.add_argument("--opset", type=positive, metavar="N", help="onnx: version of the operators")
    convert.add_argument("--name", metavar="NAME", help="c: what functions and files are called (default: OUT)")
    convert.add_argument("--seed", type=int, default=0, metavar="N", help="of the signals that are run (default 0)")
    _model_options(convert, states=pair_or_file)
    convert.add_argument("out", type=Path, metavar="OUT", help="the file, for c the folder")


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
        "--chunk", type=positive, default=256, metavar="N", help="steps at once (default 256); no bit depends on it"
    )
    run.add_argument("--whole", action="store_true", help="run once over the whole input, no stream")
    run.add_argument("--initial", type=Path, metavar="FILE.npz", help="first states, by name")
    run.add_argument(
        "--final", type=Path, metavar="FILE.npz", help="write the last states there, to go on from with --initial"
    )
    run.add_argument("--rate", type=positive, metavar="HZ", help="sample rate of a .wav output (default: the input's)")


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


def _add_doctor(commands: Any) -> None:
    _command(
        commands, "doctor", _do_doctor, "versions, instruction sets, a self-check: what to send with a report",
        "Says what is installed and what can run here, lets every instruction set step the demo's model, writes and opens\n"
        "a native file, and compares with onnxruntime where that is installed. Some seconds. Exit status 1 where it is wrong.",
        "lstm-infer doctor --json",
    )  # fmt: skip


def _command(
    commands: Any, name: str, call: Callable[[argparse.Namespace], int], short: str, long: str, examples: str
) -> argparse.ArgumentParser:
    epilog = "example:\n" + "\n".join(f"  {line}" for line in examples.splitlines())
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=short, description=long, epilog=epilog, formatter_class=Filled
    )
    made.set_defaults(call=call)
    made.add_argument("--json", action="store_true", help="print one JSON object instead of text")
    made.add_argument("--traceback", action="store_true", help="show where an error came from")
    return made


def _model_options(
    parser: argparse.ArgumentParser, *, precision: bool = True, states: Callable[[str], object] | None = None
) -> None:
    parser.add_argument("model", type=Path, metavar="MODEL", help="an .onnx file, or an .lsi file that convert wrote")
    group = parser.add_argument_group("how the model is loaded")
    group.add_argument(
        "--constants", action="append", type=constant, default=[], metavar="NAME=VALUE",
        help="make an input a constant: sr=16000, or gains=0.5,1",
    )  # fmt: skip
    group.add_argument(
        "--states", action="append", type=states or pair, default=[], metavar="INPUT=OUTPUT",
        help="this output holds the next value of this input: h0=hn"
        + "; FILE.npz: onnx, where the first states are written" * (states is not None),
    )  # fmt: skip
    group.add_argument(
        "--time-axis", action="append", type=axis, default=[], metavar="INPUT=AXIS", help="where time is: x=1"
    )  # fmt: skip
    group.add_argument(
        "--shape", action="append", type=shape, default=[], metavar="INPUT=SIZES",
        help="fix sizes the file leaves open, ? keeps one open: x=1,?,80",
    )  # fmt: skip
    if precision:
        group.add_argument(
            "--precision", action="append", type=kind, default=[], metavar="[NODE=]KIND",
            help="how weights are held: f32, f16 or int8; with a name, those of one node",
        )  # fmt: skip
    group.add_argument("--isa", metavar="NAME", help="force an instruction set; lstm-infer isa lists them")


def _load_options(args: argparse.Namespace) -> dict[str, Any]:
    """What `load` is given besides the file: only what was asked for."""
    found = {
        "isa": args.isa, "inputs": dict(args.shape), "constants": dict(args.constants), "states": dict(args.states),
        "time_axis": dict(args.time_axis), "precision": dict(getattr(args, "precision", ())),
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


# ---- commands -------------------------------------------------------------------------------------------


def _do_inspect(args: argparse.Namespace) -> int:
    from .describe import describe
    from .files import check_folder
    from .printed import print_inspection

    options = _load_options(args)
    if args.html is not None:
        check_folder(args.html)
    model = lstm_infer.load(args.model, **options)
    found = describe(model, str(args.model), load_options="".join(f", {k}={v!r}" for k, v in options.items()))
    if args.html is not None:
        _write_page(args.html, found, model)
    print(json.dumps(asdict(found), indent=2)) if args.json else print_inspection(found)
    if args.html is not None and not args.json:
        say(f"\nthe net is drawn in {args.html}")
    return FINE


def _write_page(path: Path, found: Any, model: lstm_infer.Model) -> None:
    from .net.page import page
    from .net.units import drawing

    try:
        net, why = drawing(model), ""
    except LstmInferError as error:
        net, why = None, str(error)
    text = page(found, net, why, repaired=list(model.repaired), rewritten=list(model.rewritten))
    path.write_text(text, encoding="utf-8")


def _do_verify(args: argparse.Namespace) -> int:
    from .printed import print_verified
    from .verify import verify

    found = verify(args.model, seed=args.seed, say=_teller(args), **_load_options(args))
    print(json.dumps(found.to_dict(), indent=2)) if args.json else print_verified(found)
    return found.status


def _do_bench(args: argparse.Namespace) -> int:
    if args.profile or args.steps:
        return _do_profile(args)
    from .bench import bench
    from .plots import check_plot, draw_bench
    from .printed import print_bench

    if args.plot is not None:
        check_plot(args.plot)
    found = bench(
        args.model, rounds=args.rounds, threads=args.threads, seed=args.seed, say=_teller(args), **_load_options(args)
    )
    if args.plot is not None:
        draw_bench(
            args.plot, found, f"{args.model.name}, {found.conditions.get('CPU', found.conditions.get('cpu', ''))}"
        )
    print(json.dumps(found.to_dict(), indent=2)) if args.json else print_bench(found)
    return FINE if found.ok else WRONG


def _do_profile(args: argparse.Namespace) -> int:
    from .profile import profile
    from .profiled import print_profile

    found = profile(args.model, steps=args.steps, seed=args.seed, **_load_options(args))
    print(json.dumps(found.to_dict(), indent=2)) if args.json else print_profile(found)
    return FINE


def _do_precision(args: argparse.Namespace) -> int:
    from .precision import precision
    from .printed import print_precision

    found = precision(
        args.model, args.input, within=args.within, steps=args.steps, plot=args.plot, seed=args.seed, say=_teller(args),
        **_load_options(args),
    )  # fmt: skip
    print(json.dumps(found.to_dict(), indent=2)) if args.json else print_precision(found)
    return FINE


def _do_convert(args: argparse.Namespace) -> int:
    files = [one for one in args.states if isinstance(one, Path)]
    args.states = [one for one in args.states if not isinstance(one, Path)]
    try:
        found = lstm_infer.convert(
            args.model, args.out, to=args.to, chunk=args.chunk, batch=args.batch, opset=args.opset, name=args.name,
            force=args.force, states_file=files[-1] if files else None, plans=args.plan and [dict([one]) for one in args.plan],
            seed=args.seed, say=_teller(args), **_load_options(args),
        )  # fmt: skip
    except WrongResultError as error:
        say(json.dumps(error.report.to_dict(), indent=2) if args.json else str(error))
        return WRONG
    say(json.dumps(found.to_dict(), indent=2) if args.json else str(found))
    return FINE


def _do_run(args: argparse.Namespace) -> int:
    from ..drive.through import run_signal
    from .files import check_output, read_arrays, read_signal, write_outcome

    check_output(args.output, args.model, args.input, args.initial)
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
        show_warning(note)
    how = f"streamed {outcome.steps} steps" if outcome.streamed else "run whole"
    say(
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


def _do_doctor(args: argparse.Namespace) -> int:
    from .doctor import doctor

    found = doctor()
    print(json.dumps(found.to_dict(), indent=2) if args.json else str(found))
    return FINE if found.ok else WRONG


def _teller(args: argparse.Namespace) -> Callable[[str], None] | None:
    """What shows the progress of a command: nothing where nobody looks."""
    return None if args.json or not sys.stderr.isatty() else _tell


def _tell(line: str) -> None:
    print(f"\r\033[K{line}\r", end="", file=sys.stderr, flush=True)  # the next line, or the table, goes over it
