"""Break ONNX files in every way we can think of and import them: a Graph or an error of our tree, in bounded time.

    python tools/fuzz_import.py --n 100000 --seed 1           the importer alone
    python tools/fuzz_import.py --n 20000 --seed 1 --walk     and load, stream and run what imports
    python tools/fuzz_import.py --seed 1 --only 4711          one case again, with its traceback

Each case depends on the seed and its number only. A worker process runs them in blocks, so that a crash is found too.
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import faulthandler
import math
import os
import pickle
import random
import resource
import shutil
import signal
import struct
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from lstm_infer import errors, importer
from lstm_infer.graph.ir import Graph

ROOT = Path(__file__).resolve().parents[1]
BLOCK = 250
MODEL_BYTES = 200_000
"""Larger files are left out: they hold no other structure and take long to write again."""

HOSTILE_PATHS = [
    "", ".", "..", "../x", "/etc/passwd", "a/../../x", "\\\\server\\x", "C:\\x", "x\0y", "~/x", "nowhere.bin", "/dev/zero",
    "/proc/self/mem", "./weights.bin", "link", "fifo", "sub/../weights.bin", "w" * 5000, "\u202e.bin",
]  # fmt: skip
HOSTILE_INTS = [-1, 0, 1, 2, 3, 7, 255, 2**15, 2**31 - 1, 2**31, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63), -(2**31)]
HOSTILE_FLOATS = [0.0, -0.0, 1.0, -1.0, 1e-45, 1e30, -1e30, math.inf, -math.inf, math.nan]
OPS = [
    "Identity",
    "LSTM",
    "GRU",
    "RNN",
    "If",
    "Loop",
    "Scan",
    "Squeeze",
    "Slice",
    "Split",
    "Dropout",
    "Pad",
    "Clip",
    "TopK",
    "Upsample",
    "Resize",
    "Constant",
    "Nope",
]


class Watchdog(BaseException):
    """A case took too long. No `except Exception` swallows it."""


def seeds(folders: list[Path]) -> list[tuple[str, bytes, bytes | None]]:
    """Name, bytes and external data of every file to start from."""
    found = []
    for folder in folders:
        for path in sorted(folder.glob("*.onnx")):
            if path.stat().st_size <= MODEL_BYTES:
                data = path.with_name(path.name + ".data")
                found.append((path.name, path.read_bytes(), data.read_bytes() if data.exists() else None))
    return found


def folders() -> list[Path]:
    """The folders of real files."""
    names = (("LSTM_INFER_EXPORTS", "exports"), ("LSTM_INFER_MODELS", "models"))
    paths = [Path(os.environ.get(key) or ROOT.parent / "shared" / name) for key, name in names]
    return [path for path in paths if path.is_dir()]


# Bytes


def mutate_bytes(data: bytes, rng: random.Random) -> bytes:
    """Flip, cut, repeat, insert and overwrite."""
    out = bytearray(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4, 16])):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = rng.choice([0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)])
        elif kind == 2:
            del out[at:]
        elif kind == 3:
            del out[at : at + rng.randrange(1, 40)]
        elif kind == 4:
            out[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 20)))
        elif kind == 5:
            out[at:at] = out[at : at + rng.randrange(1, 200)]
        else:
            start = rng.randrange(len(out) + 1)
            out[at : at + 30] = out[start : start + 30]
        if not out:
            break
    return bytes(out)


# Structure


def graphs(model: onnx.ModelProto) -> list[onnx.GraphProto]:
    """All graphs of a model."""

    def inside(nodes: Iterator[onnx.NodeProto]) -> Iterator[onnx.GraphProto]:
        for node in nodes:
            for attr in node.attribute:
                if attr.HasField("g"):
                    yield attr.g
                    yield from inside(iter(attr.g.node))

    return [model.graph, *inside(iter(model.graph.node))]


def tensors(model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """All tensors of a model."""
    found = []
    for graph in graphs(model):
        found += graph.initializer
        found += [attr.t for node in graph.node for attr in node.attribute if attr.HasField("t")]
    return found


def names(model: onnx.ModelProto) -> list[str]:
    """Value names to swap around."""
    found = ["", "nope", "é", "a/b:0", "x" * 3000]
    for graph in graphs(model):
        found += [tensor.name for tensor in graph.initializer]
        found += [port.name for port in graph.input] + [port.name for port in graph.output]
        found += [name for node in graph.node for name in node.output]
    return found


def _node(model: onnx.ModelProto, rng: random.Random) -> onnx.NodeProto | None:
    nodes = [node for graph in graphs(model) for node in graph.node]
    return rng.choice(nodes) if nodes else None


def change_dims(model: onnx.ModelProto, rng: random.Random) -> None:
    """Dims that do not fit the data, or nothing at all."""
    found = tensors(model)
    if found:
        dims = rng.choice(found).dims
        kind = rng.randrange(4)
        if kind == 0 or not dims:
            dims.extend([rng.choice(HOSTILE_INTS)] * rng.choice([1, 1, 2, 40]))
        elif kind == 1:
            dims[rng.randrange(len(dims))] = rng.choice(HOSTILE_INTS)
        elif kind == 2:
            dims.pop()
        else:
            dims[:] = list(dims)[::-1]


def change_dtype(model: onnx.ModelProto, rng: random.Random) -> None:
    """Another element type, of a tensor or of a port."""
    code = rng.choice([*range(-1, 30), 2**31 - 1])
    found = tensors(model)
    ports = [port for graph in graphs(model) for port in [*graph.input, *graph.output]]
    if found and (rng.random() < 0.6 or not ports):
        rng.choice(found).data_type = code
    elif ports:
        rng.choice(ports).type.tensor_type.elem_type = code


def change_data(model: onnx.ModelProto, rng: random.Random) -> None:
    """Data in other fields, or more or less of it."""
    found = tensors(model)
    if found:
        tensor = rng.choice(found)
        kind = rng.randrange(8)
        if kind == 0:
            tensor.raw_data = tensor.raw_data[: rng.randrange(len(tensor.raw_data) + 1)]
        elif kind == 1:
            tensor.raw_data = tensor.raw_data + b"\xff" * rng.randrange(1, 9)
        elif kind == 2:
            tensor.ClearField("raw_data")
        elif kind == 3:
            tensor.int32_data.extend([rng.choice([-(2**31), -1, 0, 1, 255, 65535, 2**31 - 1])] * rng.randrange(1, 9))
        elif kind == 4:
            tensor.string_data.append(b"\xff\xfe")
        elif kind == 5:
            tensor.float_data.extend([float("nan")] * rng.randrange(1, 9))
        elif kind == 6:
            tensor.segment.begin = 1
        else:
            tensor.int64_data.extend([rng.choice(HOSTILE_INTS)] * rng.randrange(1, 9))


def change_values(model: onnx.ModelProto, rng: random.Random) -> None:
    """Other numbers in a tensor of the right size: shapes, axes, indices and weights that nobody would write."""
    found = [tensor for tensor in tensors(model) if tensor.raw_data or tensor.int64_data or tensor.float_data]
    if not found:
        return
    small = [tensor for tensor in found if tensor.data_type in (6, 7)]  # integers say what happens to shapes
    tensor = rng.choice(small if small and rng.random() < 0.7 else found)
    if tensor.int64_data:
        tensor.int64_data[rng.randrange(len(tensor.int64_data))] = rng.choice(HOSTILE_INTS)
    elif tensor.float_data:
        tensor.float_data[rng.randrange(len(tensor.float_data))] = rng.choice(HOSTILE_FLOATS)
    else:
        kind = {7: "<q", 6: "<i", 1: "<f", 11: "<d"}.get(tensor.data_type, "<B")
        raw, size = bytearray(tensor.raw_data), struct.calcsize(kind)
        if len(raw) >= size:
            at = rng.randrange(len(raw) // size) * size
            value = rng.choice(HOSTILE_FLOATS if kind in ("<f", "<d") else HOSTILE_INTS)
            if isinstance(value, int) and rng.random() < 0.5:
                value = rng.randrange(-4, 9)
            if isinstance(value, int):
                value %= 1 << 8 * size
                kind = kind.upper()
            struct.pack_into(kind, raw, at, value)
            tensor.raw_data = bytes(raw)


def change_port(model: onnx.ModelProto, rng: random.Random) -> None:
    """An input or output of another rank, or with other sizes."""
    graph = rng.choice(graphs(model))
    ports = [port for port in [*graph.input, *graph.output] if port.type.HasField("tensor_type")]
    if not ports:
        return
    dims = rng.choice(ports).type.tensor_type.shape.dim
    kind = rng.randrange(4)
    if kind == 0 and dims:
        dims[rng.randrange(len(dims))].dim_value = rng.choice([*HOSTILE_INTS, 2, 3, 4, 5])
    elif kind == 1 and dims:
        dims[rng.randrange(len(dims))].dim_param = rng.choice(["", "batch", "T", "x" * 3000])
    elif kind == 2 and dims:
        del dims[rng.randrange(len(dims))]
    else:
        dims.add().dim_param = rng.choice(["", "batch", "n"])


def _near(number: int, rng: random.Random) -> int:
    return min(max(number + rng.choice([-2, -1, 1, 2]), -(2**63)), 2**63 - 1)


def nudge_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    """An attribute of the right type with another value that might be meant."""
    nodes = [node for graph in graphs(model) for node in graph.node if node.attribute]
    if not nodes:
        return
    attr = rng.choice(rng.choice(nodes).attribute)
    if attr.type == onnx.AttributeProto.INT:
        attr.i = _near(attr.i, rng)
    elif attr.type == onnx.AttributeProto.FLOAT:
        attr.f = rng.choice(HOSTILE_FLOATS)
    elif attr.type == onnx.AttributeProto.INTS and attr.ints:
        at = rng.randrange(len(attr.ints))
        attr.ints[at] = _near(attr.ints[at], rng)
    elif attr.type == onnx.AttributeProto.STRING:
        attr.s = rng.choice([b"forward", b"reverse", b"bidirectional", b"SAME_UPPER", b"VALID", b"reflect", b"linear"])


def change_name(model: onnx.ModelProto, rng: random.Random) -> None:
    """Values read or made under another name."""
    node, pool = _node(model, rng), names(model)
    graph = rng.choice(graphs(model))
    places = [list(graph.input), list(graph.output), list(graph.initializer)]
    kind = rng.randrange(4)
    if kind == 0 and node is not None and node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(pool)
    elif kind == 1 and node is not None and node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice(pool)
    elif kind == 2 and node is not None:
        node.name = rng.choice(pool)
    else:
        place = [item for items in places for item in items]
        if place:
            rng.choice(place).name = rng.choice(pool)


def change_inputs(model: onnx.ModelProto, rng: random.Random) -> None:
    """Inputs and outputs swapped, dropped, added."""
    node = _node(model, rng)
    if node is None:
        return
    values = node.input if rng.random() < 0.7 else node.output
    kind = rng.randrange(3)
    if kind == 0:
        shuffled = list(values)
        rng.shuffle(shuffled)
        values[:] = shuffled
    elif kind == 1 and values:
        del values[rng.randrange(len(values))]
    else:
        values.extend([rng.choice(names(model))] * rng.choice([1, 1, 3, 100]))


def change_attribute(model: onnx.ModelProto, rng: random.Random) -> None:
    """Attributes of another value or kind, gone, doubled or new."""
    node = _node(model, rng)
    if node is None:
        return
    kind = rng.randrange(8)
    if kind == 0 or not node.attribute:
        name = rng.choice(
            [
                "axis",
                "axes",
                "k",
                "split",
                "pads",
                "min",
                "max",
                "to",
                "value",
                "clip",
                "layout",
                "direction",
                "body",
                "spatial",
                "k",
                "perm",
            ]
        )
        value = rng.choice([rng.choice(HOSTILE_INTS), [rng.choice(HOSTILE_INTS)] * 3, 1.5, "x", [0.5], ["a"]])
        node.attribute.append(onnx.helper.make_attribute(name, value))
        return
    at = rng.randrange(len(node.attribute))
    attr = node.attribute[at]
    if kind == 1:
        del node.attribute[at]
    elif kind == 2:
        attr.type = rng.choice(list(onnx.AttributeProto.AttributeType.values()))
    elif kind == 3:
        attr.i = rng.choice(HOSTILE_INTS)
        if attr.ints:
            attr.ints[rng.randrange(len(attr.ints))] = rng.choice(HOSTILE_INTS)
    elif kind == 4:
        attr.s = rng.choice([b"", b"\xff\xff", b"bidirectional", b"x" * 10000])
    elif kind == 5:
        node.attribute.append(attr)
    elif kind == 6:
        attr.name = rng.choice(["", "axes", "value", "body", "nope"])
    else:
        attr.ref_attr_name = "nope"


def change_nodes(model: onnx.ModelProto, rng: random.Random) -> None:
    """Nodes deleted, doubled, moved, of another operator or domain."""
    graph = rng.choice(graphs(model))
    if not graph.node:
        return
    at = rng.randrange(len(graph.node))
    kind = rng.randrange(5)
    if kind == 0:
        del graph.node[at]
    elif kind == 1:
        graph.node.append(graph.node[at])
    elif kind == 2:
        nodes = list(graph.node)
        rng.shuffle(nodes)
        copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
        del graph.node[:]
        graph.node.extend(copies)
    elif kind == 3:
        graph.node[at].op_type = rng.choice(OPS)
    else:
        graph.node[at].domain = rng.choice(["", "ai.onnx", "com.microsoft", "nope"])


def change_opset(model: onnx.ModelProto, rng: random.Random) -> None:
    """Another opset or IR version."""
    if model.opset_import and rng.random() < 0.8:
        rng.choice(model.opset_import).version = rng.choice([*range(30), *HOSTILE_INTS])
    elif rng.random() < 0.5:
        del model.opset_import[:]
    else:
        model.ir_version = rng.choice([*range(16), *HOSTILE_INTS])


def make_external(model: onnx.ModelProto, rng: random.Random) -> None:
    """Data in a file that is not there, or not ours."""
    if not model.graph.initializer:
        return
    tensor = rng.choice(model.graph.initializer)
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[rng.randrange(3) :]
    for key in ("location", "offset", "length"):
        if rng.random() < 0.7:
            numbers = [str(value) for value in HOSTILE_INTS] + ["", "x", "1e9", "\u0663", "9" * 30]
            tensor.external_data.add(key=key, value=rng.choice(HOSTILE_PATHS if key == "location" else numbers))


def nest(model: onnx.ModelProto, rng: random.Random) -> None:
    """Subgraphs in subgraphs, and types in types."""
    depth = rng.choice([1, 5, 31, 32, 33, 45])
    if rng.random() < 0.5:
        kind = model.graph.input.add(name="deep").type
        for _ in range(depth):
            kind = rng.choice([kind.sequence_type.elem_type, kind.optional_type.elem_type])
        return
    inner = onnx.GraphProto()
    inner.CopyFrom(model.graph) if depth < 6 else inner.node.add(op_type="Identity", input=["x"], output=["y"])
    for _ in range(depth):
        outer = onnx.GraphProto(name="outer")
        node = outer.node.add(op_type="If", input=[rng.choice(names(model))], output=["y"])
        node.attribute.add(name="then_branch", type=onnx.AttributeProto.GRAPH).g.CopyFrom(inner)
        outer.output.add(name="y")
        inner = outer
    model.graph.node.add(op_type="If", input=["c"], output=["deep"]).attribute.add(
        name="then_branch", type=onnx.AttributeProto.GRAPH
    ).g.CopyFrom(inner)


def add_function(model: onnx.ModelProto, rng: random.Random) -> None:
    """Functions that call each other: in a circle, or doubling at every level."""
    levels = rng.choice([1, 3, 20, 40])
    circle = rng.random() < 0.3
    for level in range(levels):
        function = model.functions.add(name=f"f{level}", domain="local")
        function.input.append("a")
        function.output.append("b")
        function.opset_import.add(domain="", version=17)
        function.opset_import.add(domain="local", version=1)
        last = level + 1 == levels and not circle
        op, domain = ("Relu", "") if last else (f"f{(level + 1) % levels}", "local")
        function.node.add(op_type=op, domain=domain, input=["a"], output=["m"])
        function.node.add(op_type=op, domain=domain, input=["m"], output=["b"])
    nodes = [node for node in model.graph.node if len(node.input) >= 1 and node.input[0]]
    if nodes:
        node = rng.choice(nodes)
        model.graph.node.insert(0, onnx.helper.make_node("f0", [node.input[0]], ["from_function"], domain="local"))
        node.input[0] = "from_function"


def sparse(model: onnx.ModelProto, rng: random.Random) -> None:
    """An initializer that is sparse, and claims to be large."""
    tensor = model.graph.sparse_initializer.add()
    tensor.dims.extend([rng.choice(HOSTILE_INTS) for _ in range(rng.randrange(3))])
    count = rng.randrange(4)
    tensor.values.CopyFrom(onnx.helper.make_tensor(rng.choice(names(model)), 1, [count], [1.0] * count))
    indices = [rng.choice([0, 1, 2, 5, *HOSTILE_INTS]) for _ in range(count)]
    tensor.indices.CopyFrom(onnx.helper.make_tensor("i", 7, [count], indices))
    if rng.random() < 0.5 and model.graph.initializer:
        replaced = rng.choice(model.graph.initializer)
        tensor.values.name = replaced.name
        model.graph.initializer.remove(replaced)


MUTATORS: list[Callable[[onnx.ModelProto, random.Random], None]] = [
    change_dims, change_dtype, change_data, change_name, change_inputs, change_attribute, change_nodes, change_opset,
    make_external, nest, add_function, sparse, change_values, change_values, change_port, nudge_attribute,
]  # fmt: skip


def mutate_model(data: bytes, rng: random.Random) -> bytes:
    """One to four structural changes."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        try:
            rng.choice(MUTATORS)(model, rng)
        except DecodeError:
            break  # protobuf itself refuses to copy what is this deep
    return model.SerializeToString()


def case(sources: list[tuple[str, bytes, bytes | None]], seed: int, index: int) -> tuple[str, bytes, bytes | None]:
    """Case `index` of `seed`: what it was made from, its bytes, its external data."""
    rng = random.Random(f"{seed}/{index}")
    name, data, external = rng.choice(sources)
    kind = rng.random()
    if kind < 0.02:
        data = rng.randbytes(rng.randrange(400))
    elif kind < 0.12:
        data = mutate_bytes(data, rng)
    else:
        data = mutate_model(data, rng)
        if kind > 0.97:
            data = mutate_bytes(data, rng)
    return name, data, external


# Running


def not_as_promised(graph: Graph) -> str:
    """What breaks the contract of `ir`, "" if nothing does: names are unique text, makers come before readers."""
    made: set[str] = set()

    def inside(graph: Graph, known: set[str]) -> str:
        new = [item.name for item in graph.inputs] + list(graph.consts)
        known = {"", *known, *new}
        for node in graph.nodes:
            words = [node.op, node.name, node.domain, *node.inputs, *node.outputs, *node.attrs]
            if not all(isinstance(word, str) for word in words):
                return f"{node}: a name is not text"
            if not known.issuperset(node.inputs):
                return f"{node}: reads what nobody has made yet"
            for value in node.attrs.values():
                for sub in value if isinstance(value, list) else [value]:
                    wrong = inside(sub, known) if isinstance(sub, Graph) else ""
                    if wrong:
                        return wrong
            new += [name for name in node.outputs if name]
            known.update(node.outputs)
        if len(set(new)) < len(new) or made.intersection(new):
            return f"graph {graph.name!r}: a value is made twice"
        made.update(new)
        return "" if all(item.name in known for item in graph.outputs) else "an output is made by nobody"

    return inside(graph, set())


class Runner:
    """Runs cases in a scratch folder, with a clock over each."""

    def __init__(self, folder: Path, seconds: int, walk: Callable[[Graph], object] | None) -> None:
        self.folder, self.seconds, self.walk = folder, seconds, walk
        (folder / "weights.bin").write_bytes(bytes(range(256)) * 16)
        os.symlink("/etc/passwd", folder / "link")
        os.mkfifo(folder / "fifo")
        signal.signal(signal.SIGPROF, self._bark)  # its own time, and, six times as long, that of the clock
        signal.signal(signal.SIGALRM, self._bark)

    @staticmethod
    def _bark(*_: object) -> None:
        raise Watchdog

    def run(self, name: str, data: bytes, external: bytes | None) -> tuple[str, str]:
        """What became of a case: its class, and for a failure the traceback."""
        source: Path | bytes = data
        if external is not None or b"location" in data:
            source = self.folder / name
            source.write_bytes(data)
            if external is not None:
                (self.folder / f"{name}.data").write_bytes(external)
        signal.setitimer(signal.ITIMER_PROF, self.seconds)
        signal.alarm(6 * self.seconds)
        stage = "refused"
        try:
            graph = importer.read(source)
            wrong = not_as_promised(graph)
            if wrong:
                return "FAILED", wrong
            stage = "walk refused"
            if self.walk is not None:
                self.walk(graph)
            return "walked" if self.walk is not None else "imported", ""
        except errors.LstmInferError as error:
            if not str(error).strip():
                return "FAILED", f"{type(error).__name__} says nothing"
            return f"{stage}: {type(error).__name__}", ""
        except Watchdog:
            return "FAILED", f"over {self.seconds} s\n{traceback.format_exc()}"
        except BaseException:
            return "FAILED", traceback.format_exc()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.alarm(0)


def block(args: argparse.Namespace, sources: list[tuple[str, bytes, bytes | None]], start: int, stop: int) -> bytes:
    """Cases start to stop in a process of their own. Its answer: counts and failures, pickled."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(read_end)
        resource.setrlimit(resource.RLIMIT_AS, (args.memory << 20, args.memory << 20))
        folder = Path(tempfile.mkdtemp(prefix="fuzz_import_"))
        at = folder / "at"
        try:
            runner = Runner(folder, args.seconds, _walker() if args.walk else None)
            counts: collections.Counter[str] = collections.Counter()
            failures = []
            for index in range(start, stop):
                at.write_text(str(index))
                made = case(sources, args.seed, index)
                outcome, trace = runner.run(*made)
                counts[outcome] += 1
                counts["parsed"] += _parses(made[1])
                if trace:
                    failures.append((index, made[0], trace))
            with open(write_end, "wb") as pipe:
                pipe.write(pickle.dumps((counts, failures)))
        except BaseException:
            traceback.print_exc()
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os._exit(0)
    os.close(write_end)
    with open(read_end, "rb") as pipe:
        answer = pipe.read()
    _, status = os.waitpid(pid, 0)
    if status or not answer:
        crash = f"the process died with status {status}; run its cases one by one with --only"
        answer = pickle.dumps((collections.Counter({"FAILED": 1}), [(start, f"block {start}..{stop - 1}", crash)]))
    return answer


def _parses(data: bytes) -> bool:
    try:
        onnx.ModelProto.FromString(data)
    except (DecodeError, RuntimeError):
        return False
    return True


MOST_BYTES = 1 << 26
"""Larger runs are left out: they would test the patience of the memory limit, not the engine."""


def _walker() -> Callable[[Graph], object]:
    """What takes an imported Graph further: all of `load` behind the import, a stream, and one run of the kernels."""
    import warnings

    import numpy as np

    from lstm_infer.feeds import Options
    from lstm_infer.model import Model

    def walk(graph: Graph) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model = Model(graph, Options(None, {}, {}, None, None, 1))
            with contextlib.suppress(errors.LstmInferError):
                stream = model.stream()
                stream.snapshot()
            if model._roles.walkable:
                return
            facts = model._roles.feeds(*model._roles.analysis_sizes())
            fed = {port.name for port in model._roles.inputs}
            if sum(math.prod(fact.shape) * fact.dtype.itemsize for fact in facts.values()) < MOST_BYTES:
                program = model._program(facts, [port.name for port in graph.outputs])
                if program.arena_bytes < MOST_BYTES:
                    model.run({name: np.ones(fact.shape, fact.dtype) for name, fact in facts.items() if name in fed})

    return walk


def main() -> int:
    """Parse arguments, run, print counts. Exit status 1 if anything failed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, default=10_000, help="cases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", type=int, help="run this one case here, and show what happens")
    parser.add_argument("--walk", action="store_true", help="also load, stream and run what imports")
    parser.add_argument("--seconds", type=int, default=20, help="for one case")
    parser.add_argument("--memory", type=int, default=4096, help="address space of the worker, MiB")
    args = parser.parse_args()
    faulthandler.enable()
    sources = seeds(folders())
    if not sources:
        print("no .onnx files: set LSTM_INFER_EXPORTS", file=sys.stderr)
        return 2
    if args.only is not None:
        made = case(sources, args.seed, args.only)
        with tempfile.TemporaryDirectory() as folder:
            print(made[0], *Runner(Path(folder), args.seconds, _walker() if args.walk else None).run(*made), sep="\n")
        return 0
    counts: collections.Counter[str] = collections.Counter()
    failures: list[tuple[int, str, str]] = []
    begin = time.monotonic()
    for start in range(0, args.n, BLOCK):
        stop = min(start + BLOCK, args.n)
        more, failed = pickle.loads(block(args, sources, start, stop))
        counts += more
        failures += failed
        for index, name, trace in failed[:3]:
            print(f"\nFAILED seed {args.seed} case {index} ({name})\n{trace}", flush=True)
        if sys.stderr.isatty() or stop == args.n:
            rate = stop / (time.monotonic() - begin)
            print(
                f"\r{stop}/{args.n} cases, {rate:.0f}/s, {len(failures)} failures", end="", file=sys.stderr, flush=True
            )
    print(f"\ntried {args.n}, seed {args.seed}, parsed as protobuf {counts.pop('parsed', 0)}")
    for outcome, count in counts.most_common():
        print(f"{count:8d}  {outcome}")
    return 1 if failures else 0


if __name__ == "__main__":
    raise SystemExit(main())
