"""What a call costs on every road: one small net with two ports, another layout, an integer head, as frames, in chunks.

python -m benchmarks.roads [--quick] [--json]

Each road is timed beside the plain one and beside onnxruntime, in turns; `more` is what a call takes longer than the
plain one of the same round, with the arithmetic of what was added to the net.
"""

from __future__ import annotations

import statistics
import sys
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

if not __package__:  # run as a file
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.common import arguments, conditions, finish, load, pinned, us
from benchmarks.nets import HIDDEN, INPUTS, NETS, Net
from lstm_infer import Model
from lstm_infer.cli.bench import BenchRow, chunk_calls, step_calls
from lstm_infer.cli.peer import open_session
from lstm_infer.drive.timing import Call, Timing, interleave

ROUND_S, ROUNDS = 0.002, 41
"""Shorter than a slice of the scheduler, and many of them: the plain road is timed beside each of the others."""
ALLOWED_US = 0.15
"""What a port or a head may add to a call."""
ALLOWED = {
    "two inputs": 1, "two outputs": 1, "two inputs, two outputs": 2, "bound side input": 1, "ArgMax beside": 1,
    "ArgMax alone": 1, "counter": 1,
}  # fmt: skip
"""How many of these a road may cost more than what it is compared with."""
BESIDE = {
    "counter": "frame model", "batch-first": "plain", "batch-first, chunk of 16": "plain, chunk of 16",
    "plain, chunk of 16": "", "lag": "", "stride": "", "GRU": "", "RNN": "",
}  # fmt: skip
"""What a road is compared with; `plain` where nothing is said, "" where nothing does the same work."""
QUICK = ("plain", "batch-first", "two inputs, two outputs", "ArgMax beside", "counter", "lag")


@dataclass
class Road:
    """One way of calling one net: its timings by column, and the plain one's beside it."""

    name: str
    batch: int
    chunk: int
    row: BenchRow
    timings: dict[str, Timing]
    beside: str

    @property
    def more(self) -> float | None:
        """Microseconds that a call with a new array takes longer than what it was timed beside, in the same rounds: the
        median over the third in which that was fastest, when nobody else had half of the core."""
        plain = self.timings.get("beside")
        if plain is None:
            return None
        pairs = sorted(zip(plain.rounds, self.timings["ours"].rounds, strict=True))
        return statistics.median(mine - its for its, mine in pairs[: -(-len(pairs) // 3)])

    @property
    def allowed(self) -> float | None:
        """What `more` may be."""
        return ALLOWED[self.name] * ALLOWED_US if self.name in ALLOWED else None

    @property
    def ratio(self) -> float | None:
        """onnxruntime's `run` over ours with a new array."""
        return self.timings["run"].median / self.timings["ours"].median if "run" in self.timings else None

    def texts(self) -> list[str]:
        """A row of the table."""
        columns = ("ours", "ours_out", "as_dict", "as_dict_out")
        more, allowed = self.more, self.allowed
        verdict = "" if more is None or allowed is None else "reached" if more <= allowed else "missed"
        return [
            self.name, str(self.batch), *(us(self.timings.get(column)) for column in columns),
            "-" if more is None else f"{more:+.2f}", "-" if allowed is None else f"{allowed:.2f}", verdict,
            us(self.timings.get("run")), us(self.timings.get("io_binding")),
            "-" if self.ratio is None else f"{self.ratio:.1f}x", "WRONG" if (self.row.excess or 0) > 1 else "",
        ]  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        timings = {name: asdict(timing) for name, timing in self.timings.items()}
        return {
            "road": self.name, "batch": self.batch, "steps": self.chunk, **timings, "timed_beside": self.beside,
            "more": self.more, "allowed": self.allowed, "ratio": self.ratio, "excess": self.row.excess,
        }  # fmt: skip


def calls_of(model: Model, session: Any, net: Net, batch: int) -> tuple[BenchRow, dict[str, Call]]:
    """The ways to call a net, all with one result; those that take and fill dicts too."""
    if net.chunk > 1:
        return chunk_calls(model, session, steps=net.chunk, batch=batch)
    row, calls = step_calls(model, session, batch=batch)
    if len(model.streaming.inputs) == 1:  # else they are dicts already
        dicts = step_calls(model, None, batch=batch, dicts=True)[1]
        calls |= {"as_dict": dicts["ours"], "as_dict_out": dicts["ours_out"]}
    return row, calls


def measure(names: tuple[str, ...], rounds: int, isa: str | None) -> Iterator[Road]:
    """Every road, one after the other, each beside what it is compared with."""
    for name in names:
        net = NETS[name]
        source = net.make()
        model = load(source, isa=isa)
        # what lies behind a Conv over time is no port of the graph: onnxruntime cannot be stepped
        session = None if net.behind_conv else open_session(source)
        beside = BESIDE.get(name, "" if name == "plain" else "plain")
        for batch in net.batches:
            row, calls = calls_of(model, session, net, batch)
            if beside:
                other = load(NETS[beside].make(), isa=isa)
                calls = {"beside": calls_of(other, None, NETS[beside], batch)[1]["ours"], **calls}
            yield Road(name, batch, net.chunk, row, interleave(calls, rounds, ROUND_S), beside)


def main() -> int:
    """Measure and print."""
    parser = arguments(__doc__.splitlines()[0])
    parser.set_defaults(rounds=ROUNDS)
    args = parser.parse_args()
    rounds = 7 if args.quick else args.rounds
    names = QUICK if args.quick else tuple(NETS)
    warnings.filterwarnings("ignore", message="states were paired")
    with pinned() as core:
        roads = list(measure(names, rounds, args.isa))
        said = conditions(load(NETS["plain"].make(), isa=args.isa).isa, threads=1, core=core, rounds=rounds)
    said["method"] = (
        f"LSTM of {INPUTS} inputs and {HIDDEN} units; median of {rounds} interleaved rounds of {ROUND_S * 1000:.0f} ms "
        "of the thread's own time; "
        "more: beside the plain net (counter: the frame model) in its fastest third of the rounds; outputs compared in the same run"
    )
    plain = next(road for road in roads if road.name == "plain")
    said = {"a call": f"{us(plain.timings['ours'])} µs plain, {us(plain.timings['ours_out'])} µs with out=", **said}
    head = [
        "µs a call",
        "B",
        "array",
        "out=",
        "dict",
        "dict out=",
        "more",
        "allowed",
        "",
        "ort run",
        "io_binding",
        "ratio",
        "",
    ]
    ok = all((road.row.excess or 0) <= 1 for road in roads)
    return finish(args, head, [road.texts() for road in roads], said, [road.to_dict() for road in roads], ok)


if __name__ == "__main__":
    sys.exit(main())
