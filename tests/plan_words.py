"""Plans of models as words, as a file would hold them: each with the sizes of its memories and a copy of its constants.

Constants lie in one block of memory here, 64 bytes or more apart, so that a step that reaches over the end of one is seen.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

import lstm_infer
from lstm_infer.drive.driver import Driver
from lstm_infer.drive.inputs import Inputs, choices, stream_spec
from lstm_infer.program import assemble
from lstm_infer.program.program import BASE_CONST, BASE_FIRST
from lstm_infer.program.verifier import Memories, PlanWords

GAP = 64


@dataclass
class Kept:
    """A plan, what it was made for, and the sizes of its memories. constants: offset to content."""

    name: str
    isa: str
    plan: PlanWords
    state: int
    arena: int
    inputs: list[int]
    outputs: list[int]
    constants: dict[int, np.ndarray] = field(repr=False)

    @property
    def memories(self) -> Memories:
        blocks = [(offset, content.nbytes) for offset, content in self.constants.items()]
        return Memories(blocks, self.state, self.arena, self.inputs, self.outputs)

    @property
    def constant_bytes(self) -> int:
        return max((offset + content.nbytes for offset, content in self.constants.items()), default=0)

    def all_steps(self, plan: PlanWords | None = None) -> Iterator[tuple[str, np.ndarray]]:
        """The steps of the plan, and of those in it."""
        plan = plan or self.plan
        yield from plan.steps
        for inner in plan.nested:
            yield from self.all_steps(inner)


@contextmanager
def recorded(name: str) -> Iterator[list[Kept]]:
    """All plans that are made meanwhile."""
    found: list[Kept] = []
    made = assemble.Placed.plan

    def plan(self, calls):
        found.append(_kept(name, self, calls))
        return made(self, calls)

    assemble.Placed.plan = plan
    try:
        yield found
    finally:
        assemble.Placed.plan = made


def _kept(name, placed, calls):
    ports: dict[int, int] = {}
    constants: dict[int, tuple[int, np.ndarray]] = {}
    top = 0

    def address(view):
        nonlocal top
        buffer = view.buffer
        base, offset = placed.address(view)
        if base >= BASE_FIRST:
            ports[base] = max(ports.get(base, 0), buffer.n_bytes)
        if base != BASE_CONST:
            return base, offset
        if id(buffer) not in constants:
            content = np.frombuffer(np.ascontiguousarray(buffer.keep[0]).tobytes(), np.uint8)
            constants[id(buffer)] = top, content
            top = -(-(top + content.nbytes + GAP) // 64) * 64
        return base, constants[id(buffer)][0] + view.byte_offset

    plan = _words_of(assemble.words(calls, address, placed.n_bases))
    sizes = [ports.get(base, 0) for base in range(BASE_FIRST, placed.n_bases)]
    n_in = placed.n_inputs
    held = dict(constants.values())
    return Kept(name, placed.isa, plan, placed.state_bytes, placed.arena_bytes, sizes[:n_in], sizes[n_in:], held)


def _words_of(made) -> PlanWords:
    return PlanWords(made.steps, [_words_of(inner) for inner in made.nested])


def plans_of(path, *, steps: int = 5, batches=(1, 3), **options) -> list[Kept]:
    """What a model runs: whole, and as a stream in steps and in chunks. Whatever the model refuses is left out."""
    name = f"{getattr(path, 'stem', 'model')} {options or ''}".strip()
    with recorded(name) as found, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            model = lstm_infer.load(path, **options)
            chosen = choices(model)
        except lstm_infer.LstmInferError:
            return found
        for batch in batches:
            for choice in chosen[:2]:
                _exercised(model, choice, steps, batch)
    return found


def _exercised(model, choice, steps, batch):
    rng = np.random.default_rng(1)
    try:
        inputs = Inputs(model, choice)
        T, B = inputs.sizes(steps, batch)
        if batch not in (1, B):
            return
        model.run(inputs.draw(rng, T, B))
    except lstm_infer.LstmInferError:
        pass
    try:
        spec = stream_spec(model)
        if isinstance(spec, Exception):
            return
        driver = Driver(model, Inputs(model, choice), spec)
        T = 70 if batch == 1 else 9
        feeds = driver.signal(rng, T, batch)
        driver.in_pieces(rng, driver.open(feeds, batch), feeds, T, batch)
    except lstm_infer.LstmInferError:
        pass


SMALL = {
    "reverse": """(float[T, B, 3] x, int64[B] n) => (float[T, B, 3] y) {
        y = ReverseSequence <time_axis = 0, batch_axis = 1> (x, n) }""",
    "nd": """(float[3, 4, 5] x, int64[2, 6, 2] i, float[2, 6, 5] u) => (float[2, 6, 5] a, float[3, 4, 5] b, float[3, 4, 5] c) {
        a = GatherND (x, i)
        b = ScatterND (x, i, u)
        c = ScatterND <reduction = "add"> (x, i, u) }""",
    "elements": """(float[3, 7] x, int32[3, 4] i) => (float[3, 4] a, float[3, 7] b) {
        a = GatherElements <axis = 1> (x, i)
        b = ScatterElements <axis = 1, reduction = "max"> (x, i, a) }""",
    "integers": """(int64[3, 40] x, int32[40, 5] y, uint8[2, 3, 70] z) => (
        int64[3] a, int64[3] b, int32[5, 5] c, uint8[2, 3, 4] d, int64[2, 3, 4] e, int64[2, 70] f) {
        axes = Constant <value_ints = [1]> ()
        a = ReduceSum <keepdims = 0> (x, axes)
        b = ReduceL2 <keepdims = 0> (x, axes)
        t = Transpose (y)
        c = MatMul (t, y)
        k = Constant <value_ints = [4]> ()
        d, e = TopK (z, k)
        f = ArgMin <axis = 1, keepdims = 0, select_last_index = 1> (z) }""",
    "floats": """(float[2, 3, 40] x) => (int64[2, 40] a, float[2, 3, 5] b, int64[2, 3, 5] c, float[2, 3] d, float[2, 40] e) {
        a = ArgMax <axis = 1, keepdims = 0> (x)
        k = Constant <value_ints = [5]> ()
        b, c = TopK <largest = 0> (x, k)
        axes = Constant <value_ints = [2]> ()
        d = ReduceLogSumExp <keepdims = 0> (x, axes)
        one = Constant <value_ints = [1]> ()
        e = ReduceMin <keepdims = 0> (x, one) }""",
    "drawn": """(float[2, 9] p) => (float[2, 9] a, int32[2, 3] b) {
        a = RandomUniformLike <seed = 1.0> (p)
        b = Multinomial <sample_size = 3, seed = 2.0> (p) }""",
    "windows": """(float[2, 3, 9, 17] x) => (float[2, 3, N, M] a, float[2, 3, P, Q] b, float[2, 3, R, S] c) {
        a = MaxPool <kernel_shape = [3, 3], strides = [2, 3], pads = [1, 1, 1, 1]> (x)
        b = AveragePool <kernel_shape = [2, 5], strides = [1, 2], pads = [0, 2, 0, 2]> (x)
        c = MaxPool <kernel_shape = [2, 4], dilations = [2, 3]> (x) }""",
}
"""Models of the operators whose kernels are seldom met."""

LAYERS = {
    "rnn": "{ y, h = RNN <hidden_size = 40> (x, w, r, b) }",
    "gru": "{ y, h = GRU <hidden_size = 40, linear_before_reset = 1> (x, w, r, b) }",
    "gru0": "{ y, h = GRU <hidden_size = 40> (x, w, r, b) }",
    "lstm": "{ y, h = LSTM <hidden_size = 40> (x, w, r, b) }",
    "lens": '{ y, h = LSTM <hidden_size = 40, direction = "reverse"> (x, w, r, b, n) }',
}


CONVS = [
    # (shape of x, shape of w, attributes)
    ((1, 6, 40), (20, 6, 5), "pads = [2, 2]"),
    ((2, 6, 61), (6, 1, 3), "group = 6, dilations = [2], strides = [2]"),
    ((1, 3, 9, 33), (8, 3, 3, 3), "pads = [1, 1, 1, 1], strides = [1, 2]"),
    ((2, 8, 7, 20), (12, 2, 2, 5), "group = 4, pads = [0, 2, 1, 0], dilations = [1, 2]"),
    ((1, 2, 5, 6, 17), (3, 2, 2, 3, 3), "pads = [1, 0, 1, 1, 0, 1], strides = [2, 1, 3]"),
    ((1, 24, 1, 30), (33, 24, 1, 1), "strides = [1, 1]"),
    ((2, 5, 4), (7, 5, 4), "group = 1"),
    ((1, 4, 200), (3, 4, 7), "strides = [5], pads = [3, 1], dilations = [3]"),
]


def small_models() -> Iterator[tuple[str, bytes]]:
    """Files of SMALL, of one recurrent layer each, and of one convolution."""
    import onnx.parser

    head = '<ir_version: 10, opset_import: ["" : 22]>\n'
    for name, text in SMALL.items():
        yield name, onnx.parser.parse_model(f"{head}{name} {text}").SerializeToString()
    rng = np.random.default_rng(1)
    for name, text in LAYERS.items():
        gates = {"rnn": 1, "gru": 3, "gru0": 3}.get(name, 4)
        more = ", int32[B] n" if name == "lens" else ""
        model = onnx.parser.parse_model(
            f"{head}{name} (float[T, B, 67] x{more}) => (float[T, 1, B, 40] y, float[1, B, 40] h) {text}"
        )
        for key, shape in (("w", (1, 40 * gates, 67)), ("r", (1, 40 * gates, 40)), ("b", (1, 80 * gates))):
            value = rng.standard_normal(shape).astype(np.float32) / 8
            model.graph.initializer.append(onnx.numpy_helper.from_array(value, key))
        yield name, model.SerializeToString()
    for index, (x, w, attributes) in enumerate(CONVS):
        out = ", ".join("N M I J K"[: 2 * len(x) - 1].split())
        text = f"(float{list(x)} x) => (float[{out}] y) {{ y = Conv <{attributes}> (x, w) }}"
        model = onnx.parser.parse_model(f"{head}conv{index} {text}")
        value = rng.standard_normal(w).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(value, "w"))
        yield f"conv{index}", model.SerializeToString()
