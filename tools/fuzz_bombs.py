"""Small files that ask for much, put together at random: each is answered in bounded time and memory.

    python tools/fuzz_bombs.py --n 5000 --seed 1       load, summary and stream of each, in a process of its own
    python tools/fuzz_bombs.py --short                 what CI runs: ten seconds of its own time
    python tools/fuzz_bombs.py --seed 1 --only 471     one case again, here, with its traceback and its nodes

A case is a chain of parts over a constant or an input: products, windows, recurrences, sorts and copies of hostile
sizes; loops, choices and functions that hold such parts, deep, wide, calling each other twice or themselves. It depends
on the seed and its number only. It is answered by a model or an error of ours, or it fails: by another error, by more
than --seconds of its own time, by more than --memory of memory.
"""

from __future__ import annotations

import argparse
import collections
import os
import pickle
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import onnx
from onnx import TensorProto as T
from onnx import helper as H
from onnx import numpy_helper

import lstm_infer

OPSET = 20
SIZES = [1, 2, 3, 7, 64, 300, 1000, 4096, 10**5, 10**6, 10**7, 2**31 - 1, 2**40, 2**62, 2**63 - 1]
TRIPS = [0, 1, 2, 5, 60, 64, 65, 1000, 10**4, 10**6, 2**31, 2**63 - 1]


@dataclass
class Maker:
    """A graph under construction."""

    rng: random.Random
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    consts: dict[str, np.ndarray] = field(default_factory=dict)
    functions: list[onnx.FunctionProto] = field(default_factory=list)
    count: list[int] = field(default_factory=lambda: [0])
    depth: int = 0

    def name(self) -> str:
        """Nobody else's."""
        self.count[0] += 1
        return f"v{self.count[0]}"

    def add(self, op: str, inputs: list[str], n: int = 1, domain: str = "", **attrs: object) -> str:
        """A node; its first output."""
        outputs = [self.name() for _ in range(n)]
        self.nodes.append(H.make_node(op, inputs, outputs, domain=domain, **attrs))
        return outputs[0]

    def const(self, value: object, dtype: type = np.int64) -> str:
        """An initializer."""
        name = self.name()
        self.consts[name] = np.asarray(value, dtype)
        return name

    def size(self, most: int = 2**63 - 1) -> int:
        """A hostile number."""
        return self.rng.choice([n for n in SIZES if n <= most])

    def shape(self, rank: int, most: int = 2**25) -> list[int]:
        """Sizes whose product is at most `most`."""
        shape = []
        for _ in range(rank):
            shape.append(self.size(most))
            most //= shape[-1]
        self.rng.shuffle(shape)
        return shape

    def full(self, shape: list[int]) -> str:
        """A constant that takes a few bytes in the file."""
        value = H.make_tensor("v", T.FLOAT, [1], [0.5])
        return self.add("ConstantOfShape", [self.const(shape)], value=value)

    def inner(self) -> Maker:
        """A graph inside this one."""
        return Maker(self.rng, [], {}, self.functions, self.count, self.depth + 1)

    def body(self, inputs: list[onnx.ValueInfoProto], outputs: list[str], kinds: list[int]) -> onnx.GraphProto:
        """What was made, as a subgraph."""
        ends = [H.make_tensor_value_info(name, kind, None) for name, kind in zip(outputs, kinds, strict=True)]
        inits = [numpy_helper.from_array(array, name) for name, array in self.consts.items()]
        return H.make_graph(self.nodes, self.name(), inputs, ends, inits)

    def flat(self, v: str, *shape: int) -> str:
        """Under another shape."""
        return self.add("Reshape", [v, self.const(shape)])


Part = Callable[[Maker, str], str]


# Sizes


def products(m: Maker, v: str) -> str:
    n = m.size(10**4)
    if m.rng.random() < 0.6:
        v = m.full([n, n])
    dtype = m.rng.choice([T.FLOAT, T.FLOAT, T.INT64, T.DOUBLE, T.INT32])
    v = m.add("Cast", [v], to=dtype)
    for _ in range(m.rng.choice([1, 1, 3, 30])):
        kind = m.rng.randrange(3)
        if kind == 0:
            v = m.add("MatMul", [v, v])
        elif kind == 1:
            v = m.add("Gemm", [v, v], transB=m.rng.randrange(2))
        else:
            v = m.add("Einsum", [v, v], equation=m.rng.choice(["ab,cb->ac", "ab,cd->abcd", "ab,ab->", "ab,bc->abc"]))
    return m.add("Cast", [v], to=T.FLOAT)


def windows(m: Maker, v: str) -> str:
    rank = m.rng.choice([1, 2, 2, 3])
    x = m.full([1, m.rng.choice([1, 1, 16]), *m.shape(rank, 2**22)]) if m.rng.random() < 0.5 else v
    kernel = [m.size(m.rng.choice([2**63 - 1, 10**6, 300])) for _ in range(rank)]
    attrs: dict[str, object] = {"kernel_shape": kernel}
    if m.rng.random() < 0.5:
        attrs["auto_pad"] = m.rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID"])
    elif m.rng.random() < 0.5:
        attrs["pads"] = [max(k - 1, 0) for k in kernel] * 2
    if m.rng.random() < 0.3:
        attrs["strides"] = [m.size() for _ in range(rank)]
    if m.rng.random() < 0.2:
        attrs["dilations"] = [m.size() for _ in range(rank)]
    op = m.rng.choice(["MaxPool", "AveragePool", "LpPool", "Conv", "ConvTranspose", "LRN", "MaxIndices"])
    if op == "LRN":
        return m.add("LRN", [x], size=m.size())
    if op == "MaxIndices":
        return m.add("MaxPool", [x], 2, **attrs)
    if op in ("Conv", "ConvTranspose"):
        w = m.full([1, 1, *m.shape(rank, 2**20)])
        attrs.pop("kernel_shape")
        return m.add(op, [x, w], **attrs)
    return m.add(op, [x], **attrs)


def recurrences(m: Maker, v: str) -> str:
    op, gates = m.rng.choice([("LSTM", 4), ("GRU", 3), ("RNN", 1)])
    size, units = m.rng.choice([1, 4, 64]), m.rng.choice([1, 8, 256])
    x = m.full([m.size(10**6), 1, size]) if m.rng.random() < 0.7 else m.flat(v, -1, 1, size)
    y = m.add(op, [x, m.full([1, gates * units, size]), m.full([1, gates * units, units])], hidden_size=units)
    return m.flat(y, -1, units)


def copies(m: Maker, v: str) -> str:
    kind, n = m.rng.randrange(12), m.size()
    if kind == 0:
        return m.add("Tile", [v, m.const([n, 1])])
    if kind == 1:
        return m.add("Expand", [v, m.const([n, m.size(), 1])])
    if kind == 2:
        return m.add(
            "Pad", [v, m.const([n, 0, 0, m.size()])], mode=m.rng.choice(["constant", "reflect", "edge", "wrap"])
        )
    if kind == 3:
        scales = m.const([m.rng.choice([1.0, 1e3, 1e9, 1e-9]), 1.0], np.float32)
        modes = ["nearest", "linear", "cubic"]
        return m.add("Resize", [v, "", scales], mode=m.rng.choice(modes), antialias=m.rng.randrange(2))
    if kind == 4:
        shape = m.rng.choice([[n, m.size()], [n, 1], [1, n]])
        return m.add("Resize", [v, "", "", m.const(shape)], mode=m.rng.choice(["nearest", "linear", "cubic"]))
    if kind == 5:
        v = m.add("Concat", [v] * m.rng.choice([2, 50, 500]), axis=0)
    if kind == 6:
        k = m.rng.choice([2, 20, 200])
        parts = [m.name() for _ in range(k)]
        m.nodes.append(H.make_node("Split", [v], parts, axis=0, num_outputs=k))
        return m.add("Sum", parts)
    if kind == 7:
        for _ in range(m.rng.choice([5, 25, 60])):
            v = m.add("Concat", [v, v], axis=m.rng.randrange(2))
        return v
    if kind == 8:
        for _ in range(m.rng.choice([5, 200, 800])):
            v = m.add(m.rng.choice(["Add", "Mul", "Max"]), [v, v])
        return v
    if kind == 9:
        return m.add("Slice", [v, m.const([-n]), m.const([n]), m.const([0]), m.const([m.rng.choice([1, -1, n, -n])])])
    if kind == 10:
        return m.add(
            "Gather", [v, m.add("Range", [m.const(0), m.const(n), m.const(m.rng.choice([1, 0, -1, n]))])], axis=0
        )
    return m.full(m.shape(m.rng.choice([1, 2, 3, 8]), m.rng.choice([2**25, 2**34, 2**62])))


def sorts(m: Maker, v: str) -> str:
    kind, n = m.rng.randrange(12), m.size(10**7)
    big = m.full([1, n]) if m.rng.random() < 0.6 else v
    if kind == 0:
        return m.add("TopK", [big, m.const([m.size(n)])], 2)
    if kind == 1:
        return m.add("Unique", [big], 4)
    if kind == 2:
        return m.add("Cast", [m.add("NonZero", [big])], to=T.FLOAT)
    if kind == 3:
        return m.add("CumSum", [big, m.const(m.rng.randrange(2))])
    if kind == 4:
        values = m.const([0, 1], np.float32)
        return m.add("OneHot", [m.add("Range", [m.const(0), m.const(n), m.const(1)]), m.const(m.size()), values])
    if kind == 5:
        return m.add("EyeLike", [m.full(m.shape(2, 2**26))])
    if kind == 6:
        x = m.flat(big, 1, -1, 1)
        return m.add("DFT", [x, m.const(m.size(10**8))], inverse=m.rng.randrange(2), onesided=m.rng.randrange(2))
    if kind == 7:
        return m.add("STFT", [m.flat(big, 1, -1, 1), m.const(m.size(10**6)), "", m.const(m.size(10**6))])
    if kind == 8:
        ends = [m.const(0.0, np.float32), m.const(4000.0, np.float32)]
        return m.add("MelWeightMatrix", [m.const(m.size(10**6)), m.const(m.size(10**8)), m.const(8000), *ends])
    if kind == 9:
        k = m.rng.choice([2, 30, 1000])
        return m.add("Col2Im", [m.full([1, k * k, m.rng.choice([1, 9])]), m.const([k + 2, k + 2]), m.const([k, k])])
    if kind == 10:
        index = m.flat(m.add("Range", [m.const(0), m.const(n), m.const(1)]), -1, 1)
        return m.add("ScatterND", [m.full([n]), index, m.full([n])], reduction=m.rng.choice(["none", "add"]))
    return m.add("GatherND", [big, m.const([[0]])], batch_dims=m.rng.choice([-1, 0, 1, -n, n, -(2**63)]))


def chains(m: Maker, v: str) -> str:
    """Many nodes, each cheap."""
    for _ in range(m.rng.choice([10, 300, 1500])):
        v = m.add(m.rng.choice(["Tanh", "Neg", "Identity", "Relu"]), [v])
    return v


# Structure


def choices(m: Maker, v: str) -> str:
    """An If on the input's condition or a known one, one branch of which goes on."""
    cond = "cx" if m.rng.random() < 0.8 else m.const(m.rng.random() < 0.5, np.bool_)
    then, other = m.inner(), m.inner()
    a, b = inside(then, v), inside(other, v) if m.rng.random() < 0.4 else other.add("Neg", [v])
    return m.add("If", [cond], then_branch=then.body([], [a], [T.FLOAT]), else_branch=other.body([], [b], [T.FLOAT]))


def loops(m: Maker, v: str) -> str:
    """A Loop or a Scan with parts in its body."""
    part, x, i, c = m.inner(), m.name(), m.name(), m.name()
    grows = m.rng.random() < 0.2
    if m.rng.random() < 0.3:
        y = inside(part, x)
        scan = part.body([H.make_tensor_value_info(x, T.FLOAT, None)], [y], [T.FLOAT])
        over = v if m.rng.random() < 0.5 else m.full([m.size(10**6), 2])
        return m.add("Scan", [over], body=scan, num_scan_inputs=1)
    y = inside(part, x)
    if grows:
        y = part.add("Concat", [x, y], axis=0)
    go = part.add("Identity", [c])
    if m.rng.random() < 0.3:
        go = part.add("Less", [i, part.const(m.rng.choice(TRIPS))])
    trips = "" if m.rng.random() < 0.1 else m.const(m.rng.choice(TRIPS))
    if m.rng.random() < 0.15:
        trips = m.add("Gather", [m.add("Shape", [v]), m.const(0)])
    ports = [(i, T.INT64, []), (c, T.BOOL, []), (x, T.FLOAT, None)]
    more = [y] if m.rng.random() < 0.4 else []
    if more:
        more = [part.add("Identity", [y])]
    body = part.body(
        [H.make_tensor_value_info(*p) for p in ports], [go, y, *more], [T.BOOL, T.FLOAT, *[T.FLOAT] * len(more)]
    )
    first = v if m.rng.random() < 0.5 else m.full([2, 4])
    return m.add("Loop", [trips, m.const(True, np.bool_), first], 1 + len(more), body=body)


def functions(m: Maker, v: str) -> str:
    """Functions that call each other several times, or themselves."""
    base, depth, fan = len(m.functions), m.rng.choice([1, 3, 5, 8, 8, 12, 30, 60]), m.rng.choice([1, 1, 2, 3])
    circle = m.rng.random() < 0.05
    for d in range(depth):
        names = ["a", *(f"t{k}" for k in range(fan - 1)), "b"]
        op = (
            f"f{base + d - 1}"
            if d
            else f"f{base + depth - 1}"
            if circle
            else m.rng.choice(["Tanh", "Tanh", "Tanh", "CenterCropPad"])
        )
        nodes = []
        for k in range(fan):
            inputs, domain = [names[k]], "f" if op.startswith("f") else ""
            if op == "CenterCropPad":
                nodes.append(H.make_node("Constant", [], [f"c{k}"], value_ints=[2, 2]))
                inputs.append(f"c{k}")
            nodes.append(H.make_node(op, inputs, [names[k + 1]], domain=domain))
        opsets = [H.make_opsetid("", OPSET), H.make_opsetid("f", 1)]
        m.functions.append(H.make_function("f", f"f{base + d}", ["a"], ["b"], nodes, opsets))
    return m.add(f"f{base + depth - 1}", [v], domain="f")


def types(m: Maker, v: str) -> str:
    """An operator whose meaning depends on the types of what goes in."""
    return m.add("CenterCropPad", [v, m.const([m.size(), 2])])


PLAIN: list[Part] = [products, windows, recurrences, copies, copies, sorts, sorts, chains, types]
NESTED: list[Part] = [choices, loops, loops, functions]


def inside(m: Maker, v: str) -> str:
    """One to three parts of a body, the deeper the fewer."""
    for _ in range(m.rng.choice([1, 1, 2, 3])):
        deeper = m.rng.random() < (0.75 if m.depth < 10 else 0.0)
        if m.rng.random() < 0.3:
            v = m.add("Tanh", [v])
        v = m.rng.choice(NESTED if deeper and m.count[0] < 4000 else PLAIN if m.rng.random() < 0.4 else [light])(m, v)
    return v


def light(m: Maker, v: str) -> str:
    """What a body may do without being hostile."""
    return m.add(m.rng.choice(["Tanh", "Neg", "Sigmoid"]), [v])


def case(seed: int, index: int) -> bytes:
    """Case `index` of `seed`."""
    rng = random.Random(f"{seed}/{index}")
    m = Maker(rng)
    v = "x" if rng.random() < 0.5 else m.full(m.shape(2, 2**20))
    for _ in range(rng.choice([1, 1, 2, 3, 5])):
        v = rng.choice(PLAIN if rng.random() < 0.55 else NESTED)(m, v)
    if rng.random() < 0.7:
        v = m.add("Add", ["x", m.add("ReduceSum", [v], keepdims=0)])
    return file(m, v, rng.choice([["T", 4], [3, 4], ["A", "B"]]))


def file(m: Maker, v: str, shape: list[int | str]) -> bytes:
    """What was made, as a file whose first input has this shape."""
    ports = [("x", T.FLOAT, shape), ("cx", T.BOOL, [])]
    inits = [numpy_helper.from_array(array, name) for name, array in m.consts.items()]
    ends = [H.make_tensor_value_info(v, T.FLOAT, None)]
    graph = H.make_graph(m.nodes, "g", [H.make_tensor_value_info(*p) for p in ports], ends, inits)
    opsets = [H.make_opsetid("", OPSET), H.make_opsetid("f", 1)]
    return H.make_model(graph, opset_imports=opsets, functions=m.functions, ir_version=10).SerializeToString()


def harmless() -> bytes:
    """A file with a little of each, that is loaded and streams."""
    m = Maker(random.Random(0))
    body, then, other = m.inner(), m.inner(), m.inner()
    go, y = body.add("Identity", ["go"]), body.add("Tanh", ["h"])
    ports = [("i", T.INT64, []), ("go", T.BOOL, []), ("h", T.FLOAT, None)]
    loop = body.body([H.make_tensor_value_info(*p) for p in ports], [go, y], [T.BOOL, T.FLOAT])
    v = m.add("Loop", [m.const(3), m.const(True, np.bool_), m.full([4, 4])], body=loop)
    x = m.flat(m.add("MatMul", ["x", v]), -1, 1, 4)
    v = m.flat(m.add("LSTM", [x, m.full([1, 8, 4]), m.full([1, 8, 2])], hidden_size=2), -1, 2)
    branches = [part.body([], [part.add(op, [v])], [T.FLOAT]) for part, op in ((then, "Neg"), (other, "Relu"))]
    v = m.add("If", ["cx"], then_branch=branches[0], else_branch=branches[1])
    return file(m, v, ["T", 4])


# Running


def answer(data: bytes) -> str:
    """What loading, describing and streaming the file comes to."""
    try:
        model = lstm_infer.load(data)
    except lstm_infer.LstmInferError as error:
        return f"refused: {type(error).__name__}"
    said = "loaded"
    for what in (model.summary, model.stream):
        try:
            what()
        except lstm_infer.LstmInferError as error:
            said = f"loaded, then {type(error).__name__}"
    return said


@dataclass
class Outcome:
    """What became of a case."""

    index: int
    said: str
    seconds: float
    megabytes: int


def alone(seed: int, index: int, args: argparse.Namespace) -> Outcome:
    """One case in a process of its own, which the system ends where it takes too long."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
        warnings.simplefilter("ignore")
        try:
            data = case(seed, index)
            signal.setitimer(signal.ITIMER_PROF, args.seconds)
            start = time.process_time()
            said = answer(data)
        except onnx.onnx_cpp2py_export.checker.ValidationError:
            said = "no file"
        except BaseException:
            said = "FAILED " + traceback.format_exc()
        with open(write_end, "wb") as pipe:
            pipe.write(pickle.dumps((said, time.process_time() - start)))
        os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        got = pipe.read()
    _, status, used = os.wait4(pid, 0)
    megabytes = used.ru_maxrss >> 10
    if not got:
        over = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF
        said = f"FAILED over {args.seconds} s" if over else f"FAILED the process died with status {status}"
        return Outcome(index, said, used.ru_utime + used.ru_stime, megabytes)
    said, seconds = pickle.loads(got)
    if megabytes > args.memory:
        said = f"FAILED {megabytes} MB"
    return Outcome(index, said, seconds, megabytes)


def main() -> int:
    """Parse arguments, run, print counts. Exit status 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=5000, help="cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0, help="number of the first case")
    parser.add_argument("--only", type=int, help="run this one case here, and show what happens")
    parser.add_argument("--seconds", type=float, default=10, help="of its own time, for one case")
    parser.add_argument("--memory", type=int, default=1024, help="MB, for one case")
    parser.add_argument("--short", action="store_true", help="a few cases, for as long as CI has")
    args = parser.parse_args()
    if args.only is not None:
        data = case(args.seed, args.only)
        print(onnx.printer.to_text(onnx.load_from_string(data))[:6000])
        start = time.process_time()
        print(answer(data), f"{time.process_time() - start:.2f} s", f"{len(data)} bytes")
        return 0
    counts: collections.Counter[str] = collections.Counter()
    worst: list[Outcome] = []
    done = failed = 0
    answer(harmless())  # so that modules are imported here, and not in each process
    for index in range(args.first, args.first + (1000 if args.short else args.n)):
        if args.short and resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime > 10:
            break
        found = alone(args.seed, index, args)
        done += 1
        counts[found.said.partition("\n")[0]] += 1
        if found.said.startswith("FAILED"):
            failed += 1
            print(
                f"seed {args.seed} case {index} ({found.seconds:.1f} s, {found.megabytes} MB): {found.said}", flush=True
            )
        worst = (
            sorted([*worst, found], key=lambda one: -one.seconds)[:5] + sorted(worst, key=lambda o: -o.megabytes)[:5]
        )
        worst = list({one.index: one for one in [*worst, found]}.values())
    print(f"tried {done}, seed {args.seed}, {failed} failed")
    slowest, largest = (max(worst, key=lambda one: getattr(one, what)) for what in ("seconds", "megabytes"))
    print(
        f"longest {slowest.seconds:.2f} s (case {slowest.index}), largest {largest.megabytes} MB (case {largest.index})"
    )
    for said, count in counts.most_common():
        print(f"{count:8d}  {said}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
