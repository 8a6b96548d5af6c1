"""load and Model: an immutable graph with its weights, shared by any number of streams and threads."""

from __future__ import annotations

from _thread import RLock  # `threading` is a tenth of the time that a mapped file takes to load
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from ._stream import MAX_CHUNK
from .later import Later
from .many import ManySignals
from .native.mapped import Mapped
from .native.plans import plans_in, quick
from .stream import Stream
from .within import NO_MEMORY, TOO_DEEP, within_memory

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from . import errors, given, log, parts
    from . import isa as isas
    from .analysis.roles import Roles
    from .analysis.spec import StreamSpec
    from .feeds import Options
    from .graph import budget
    from .graph.fact import Fact
    from .graph.ir import Graph, Node, Port
    from .native import container
    from .native.reader import Restored
    from .program.program import Program
    from .records import InputInfo, LayerInfo, OutputInfo, StateInfo, StreamInfo
    from .typing import Array, Feeds, Isa, Precision, Source
else:
    errors, given, log, parts = Later("errors"), Later("given"), Later("log"), Later("parts")
    budget, container, isas = Later("graph.budget"), Later("native.container"), Later("isa")

__all__ = ["Model", "load"]


def load(
    source: Source,
    *,
    precision: Precision | Mapping[str, Precision] = "f32",
    isa: Isa | None = None,
    threads: int = 1,
    inputs: Mapping[str, Sequence[int | None]] | None = None,
    constants: Mapping[str, ArrayLike] | None = None,
    states: Mapping[str, str] | None = None,
    time_axis: Mapping[str, int] | None = None,
    seed: int | None = None,
) -> Model:
    """Load an ONNX model.

    Parameters
    ----------
    source : path, bytes, file object, onnx.ModelProto or torch.onnx.ONNXProgram
        External data is looked for beside the file.
    precision : {"f32", "f16", "int8"} or dict of node name to one of these
        How weights are held; "*" in a dict stands for the nodes that it does not name. "f16": half the bytes, the results of
        f32 on the rounded weights, bit for bit; a layer with a weight beyond 65504 stays in f32. "int8": a quarter, with one
        scale for each row of weights, and one for what a signal feeds at each step; small layers stay in f32. "f32" holds
        weights as f16 too where that loses nothing. `Model.layers` says how each layer is held and why.
    isa : str, optional
        Force an instruction set ("scalar", "avx2", "avx512", "neon"); also the environment variable LSTM_INFER_ISA.
    threads : int
        So many share a large call of a pool and of `run_many`, where those do not say otherwise. Streams and `run` stay in the
        thread of their caller.
    inputs : dict of name to shape, optional
        Fixes sizes the file leaves open; None keeps one open.
    constants : dict of name to value, optional
        Turns inputs into constants, such as `{"sr": 16000}`; of an input with a value in the file, gives it another.
    states : dict of input name to output name, optional
        Says which output holds the next value of which input, in place of what is found.
    time_axis : dict of input name to axis, optional
        Says where time is, in place of what is found.
    seed : int, optional
        Of random operators: equal runs and equal streams then draw equal numbers. None: the seed of each node, or else one
        for each run and stream (docs/numerics.md).

    Raises
    ------
    OnnxImportError
        The file is broken, or cannot be run faithfully; UnsupportedOpError names an operator that is not built,
        MissingFileError a file that is not there.
    BudgetError
        What the model asks for before it runs is out of proportion to its file; names the node.
    IsaError
        The instruction set is unknown or cannot run here.
    FeedError, ShapeError, DtypeError
        `inputs`, `constants`, `states` or `time_axis` do not fit the graph.
    ArgumentError
        An argument is of another kind than what stands here, or not built.

    Examples
    --------
    >>> import lstm_infer
    >>> from lstm_infer.cli.demo.show import MODEL  # or the path of your own .onnx
    >>> model = lstm_infer.load(MODEL)
    >>> model.inputs[0].name, model.inputs[0].shape, model.inputs[0].time_axis
    ('x', (None, None, 1), 0)
    >>> [state.name for state in model.states]
    ['/lstm/LSTM.h', '/lstm/LSTM.c']
    """

    if type(threads) is not int or threads != 1:
        threads = given.number("threads", threads, 1)
    file = quick(source)
    if file is None:
        source = given.contents(source)
        whole = container.native(source)
        file = None if whole is None else (whole.memory, whole.label)
    if file is not None:
        _refuse_fixed(
            inputs=inputs, constants=constants, states=states, time_axis=time_axis, seed=seed, precision=precision
        )
        model = _from_file(*file, isa)
        model._threads = threads
        return model
    options = parts.load_options(isa, inputs, constants, states, time_axis, seed, precision)
    with budget.open_budget(budget.Allowance()), within_memory("load"):
        log.debug("load", "reading")
        try:
            model = Model(parts.read(source, parts.is_built), options)
        finally:
            log.debug("load", "loaded, or refused")
        model._threads = threads
        return model


class Model(ManySignals, Mapped):
    """A loaded model: immutable, picklable, shared freely between threads. Made by `load`."""

    __slots__ = (
        "__weakref__", "_default_ports", "_fingerprint", "_first", "_graph", "_lock", "_options", "_output_names",
        "_ports", "_programs", "_quick", "_repaired", "_rewritten", "_streams", "_walked_roles",
    )  # fmt: skip

    def __init__(self, graph: Graph, options: Options, *, shares: bool = False, before: Restored | None = None) -> None:
        """shares: another model has the same graph. before: it was rewritten before it was converted."""
        self._plans, self._threads = getattr(self, "_plans", {}), getattr(self, "_threads", 1)
        self._graph, self._options = graph, options
        store = before.store if before is not None else parts.ConstStore(options.precision, drops=not shares)
        self._programs = parts.Programs(graph, isas.choose_isa(options.isa), options.seed, store)
        self._lock = RLock()
        self._fingerprint = parts.Fingerprint(graph.signature, str(options.precision), options.constants)
        self._ports = parts.fed_ports(graph, options)
        self._repaired: tuple[str, ...] = () if before is None else before.repaired
        with budget.open_budget(graph.allowance), parts.remembering(graph) as walks:
            readers = parts.fix_defaults(graph, options.constants)
            if before is None:
                log.debug("load", "recognising cells and loops in %d nodes", len(graph.nodes))
                self._repaired = _rewritten(graph, self._ports, options)
            log.debug("load", "finding time and batch")
            self._prepare()
            self._default_ports = parts.settle_defaults(graph, readers, self._walked_roles.facts)
            walks.rest(graph, *self._walked_roles.asked_again())

    def _prepare(self) -> None:
        """Find out what the inputs mean."""
        graph, options = self._graph, self._options
        self._ports = parts.held_ports(self._ports, graph)
        self._rewritten: tuple[str, ...] = tuple(graph.notes)
        self._quick = [(p.name, p.dtype, -1 if p.shape is None else len(p.shape)) for p in self._ports]
        options.precision.check(node.name for node in self._weighted())
        self._output_names = tuple(p.name for p in graph.outputs)
        self._walked_roles = parts.find_roles(graph, self._ports, options.constants, options.time_axis)
        self._streams = parts.Answer(graph, self._walked_roles, self._ports, options, self._programs)
        self._refuse_unbuilt()

    def __reduce__(self) -> tuple[Any, ...]:
        return Model, (self._graph, self._options), (None, {"_repaired": self._repaired, "_threads": self._threads})

    def __copy__(self) -> Model:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Model:
        return self

    def __repr__(self) -> str:
        ins, outs = (
            ", ".join(f"{info.name} {parts.shape_text(info)}" for info in infos)
            for infos in (self.inputs, self.outputs)
        )
        return parts.printable(f"<lstm_infer.Model {self._graph.name!r}: {ins} -> {outs}, {self.isa}>")

    def _repr_html_(self) -> str:
        """What notebooks show."""
        return str(parts.model_html(self, self._graph.name, self._graph.producer))

    @property
    def isa(self) -> Isa:
        """The instruction set whose kernels run."""
        return cast("Isa", self._programs.isa)

    @property
    def nbytes(self) -> int:
        """Bytes of constants: as the kernels read them, and those of the graph that are not held so alone."""
        return self._programs.store.n_bytes + sum(parts.held_bytes(graph.consts) for graph in self._graph.graphs())

    @property
    def rewritten(self) -> tuple[str, ...]:
        """Cells, loops and unrolled layers that run as recurrent operators, one text each."""
        return self._rewritten

    @property
    def repaired(self) -> tuple[str, ...]:
        """Frozen sizes that were opened, one text per place."""
        return self._repaired

    @property
    def layers(self) -> tuple[LayerInfo, ...]:
        """Every node with packed weights: its operator, how many weights, how they are held and why, in the graph's order.
        Those that no call has packed so far are not among them."""
        return parts.layer_infos(self._programs.store.layers, self._weighted())

    @property
    def inputs(self) -> tuple[InputInfo, ...]:
        """The inputs in the graph's order, without those turned into constants."""
        return parts.input_infos(self._ports, self._roles)

    @property
    @within_memory("the analysis")
    def outputs(self) -> tuple[OutputInfo, ...]:
        """The outputs in the graph's order."""
        return parts.output_infos(self._graph.outputs, self._streams.reading())

    @property
    def states(self) -> tuple[StateInfo, ...]:
        """What a stream carries; empty where the model cannot be streamed."""
        spec = self._streams.answer()
        return () if isinstance(spec, errors.NotStreamableError) else spec.states

    @property
    def streaming(self) -> StreamInfo:
        """How the model streams.

        Raises
        ------
        NotStreamableError
            It needs its whole input at once; says which node and why.
        """
        spec = self._streams.spec()
        return parts.StreamInfo(
            spec.mode, tuple(spec.streamed), tuple(spec.side), dict(spec.pairs), {o.name: o.kind for o in spec.outputs},
            spec.lag, spec.rate, spec.steady, spec.stepwise,
        )  # fmt: skip

    def run(self, feeds: Feeds, outputs: Sequence[str] | None = None) -> dict[str, Array]:
        """Run the whole graph once, every input fed, as ONNX says.

        Parameters
        ----------
        feeds : dict of name to array
            In the declared dtypes, any strides; also tensors on the CPU, buffers and what has `__dlpack__`.
        outputs : names, optional
            Only these, in this order; default all.

        Returns
        -------
        dict of name to array
            In the declared dtypes.

        Raises
        ------
        FeedError
            An input is unknown or missing, or an output unknown.
        DtypeError
            An input has another dtype; nothing is converted.
        ShapeError
            A shape does not fit, or a value lies outside what an operator takes (an index, a length).
        BudgetError
            The run takes more memory than there is.
        ArgumentError
            `feeds` is no dict by name, or `outputs` no sequence of names.

        Examples
        --------
        >>> import numpy as np
        >>> import lstm_infer
        >>> from lstm_infer.cli.demo.show import MODEL
        >>> made = lstm_infer.load(MODEL).run({"x": np.zeros((48, 2, 1), np.float32)})  # [T, B, 1]
        >>> {name: array.shape for name, array in made.items()}
        {'y': (48, 2, 1)}
        """
        if type(feeds) is not dict:
            feeds = _named(feeds, outputs, [port.name for port in self._ports])
        wanted = self._output_names if outputs is None else _chosen(outputs, self._output_names)
        try:
            arrays = []
            for name, dtype, ndim in self._quick:
                array = feeds.get(name)
                if (
                    type(array) is not np.ndarray
                    or array.dtype != dtype
                    or array.ndim != ndim
                    or not array.flags.c_contiguous
                ):
                    arrays = self._checked(feeds)
                    break
                arrays.append(array)
            else:
                if len(feeds) != len(arrays):
                    arrays = self._checked(feeds)
            program = self._programs.kept.get((wanted, *[array.shape for array in arrays]))
            if program is None or len(arrays) != len(self._quick):
                program = self._make_program(feeds, arrays, wanted)
            return dict(zip(wanted, self._programs.call(program, arrays), strict=True))
        except RecursionError as error:
            from lstm_infer.errors import BudgetError  # as in within.py

            raise BudgetError(TOO_DEEP.format("the run")) from error
        except MemoryError as error:
            raise errors.BudgetError(NO_MEMORY.format("the run", error)) from error

    @within_memory("the stream")
    def stream(
        self,
        batch: int = 1,
        *,
        initial: Mapping[str, ArrayLike] | None = None,
        inputs: Mapping[str, ArrayLike] | None = None,
        max_chunk: int = MAX_CHUNK,
    ) -> Stream:
        """Begin a live signal; the stream carries every state of the model from call to call.

        Parameters
        ----------
        batch : int
            Signals stepped in lockstep.
        initial : dict of state name to array, optional
            First values; states not named start as the model says (zero for those that are graph inputs).
        inputs : dict of input name to array, optional
            Inputs without a time axis, fixed for the life of the stream.
        max_chunk : int
            Longest block that `Stream.run` gives the kernels at once.

        Raises
        ------
        NotStreamableError
            The model needs its whole input at once; says which node and why.
        StateError
            States cannot be paired, or a batch is asked of states that have no batch axis.
        FeedError, ShapeError, DtypeError
            `initial` or `inputs` do not fit.

        Examples
        --------
        >>> import numpy as np
        >>> import lstm_infer
        >>> from lstm_infer.cli.demo.show import MODEL
        >>> model, x = lstm_infer.load(MODEL), np.ones((48, 1, 1), np.float32)
        >>> stream = model.stream()
        >>> first = stream.step(x[0])  # [1, 1]: a time step, without its axis
        >>> rest = stream.run(x[1:])  # a chunk; the state goes on
        >>> bool(np.array_equal(np.concatenate([first[None], rest]), model.run({"x": x})["y"]))
        True
        """
        if self._plans and initial is None and inputs is None and type(batch) is int and type(max_chunk) is int:
            mapped = self._plans.get((batch, max_chunk))
            if mapped is not None:
                return Stream(self, mapped.asked, mapped)  # type: ignore[arg-type]
        first = {} if initial is None else given.named("initial", initial)
        first = {name: given.array(f"initial: {name!r}", value) for name, value in first.items()}
        bound = {} if inputs is None else given.named("inputs", inputs)
        batch, max_chunk = given.number("batch", batch, 1), given.number("max_chunk", max_chunk, 1)
        return Stream(self, *self._streams.open(batch, first, bound, max_chunk), first)

    @within_memory("the summary")
    def summary(self) -> str:
        """Inputs, outputs, states and where they come from, layers, the time axis and the cost; print it."""
        try:
            spec: StreamSpec | errors.LstmInferError = self._streams.answer()
        except errors.LstmInferError as error:  # which output holds which state is the caller's to say: here is what is
            spec = error.kept()
        return parts.summarize(self._graph, self.inputs, self.outputs, spec, self._roles, self.layers, self.isa)

    # ---- inside -----------------------------------------------------------------------------------------

    def _held_as(self, precision: str | Mapping[str, str]) -> Model:
        """The same graph, not read again, with its weights held otherwise."""
        options = parts.replace(self._options, precision=parts.asked_precision(precision))
        with budget.open_budget(budget.Allowance()), within_memory("load"):
            made = Model(self._graph, options, shares=True)
        made._repaired, made._threads = self._repaired, self._threads
        return made

    def _weighted(self) -> Iterator[Node]:
        """The nodes whose weights `precision` is about."""
        return (node for node in self._graph.walk() if parts.registry.weights(node))

    def _refuse_unbuilt(self) -> None:
        """What cannot be run is refused at load: a walk meets every node that a run would."""
        roles = self._walked_roles
        if roles.contradicts:
            raise errors.ShapeError(f"{roles.walkable}; the graph contradicts itself at every size of its inputs")
        if roles.walkable:
            parts.recurrent.check_attributes(self._graph.walk())
        else:  # held: weights are packed now, and every later program finds them
            self._first = self._program(roles.feeds(*roles.analysis_sizes()), self._output_names)

    @property
    def _roles(self) -> Roles:
        """What the axes of the inputs mean."""
        return self._streams.reading().roles

    def _checked(self, feeds: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """The inputs in order, then those with a default that are fed all the same; every one checked."""
        ports = [*self._ports, *(p for p in self._default_ports if p.name in feeds)]
        parts.check_baked(self._graph, feeds, self._options)
        return parts.checked_feeds(ports, feeds, self._options, lambda name: any(s.name == name for s in self.states))

    def _make_program(
        self, feeds: Mapping[str, NDArray[Any]], arrays: Sequence[NDArray[Any]], wanted: tuple[str, ...]
    ) -> Program:
        """The program for these shapes, from the cache where it was made before."""
        extra = tuple(p.name for p in self._default_ports if p.name in feeds)
        key = (wanted, *[array.shape for array in arrays], *extra)
        if (found := self._programs.kept.get(key)) is not None:
            return found
        names = [*(port.name for port in self._ports), *extra]
        parts.check_fixed(self._ports, arrays, self._graph)
        parts.check_sizes(self._ports, arrays, lambda name, axis: self._roles.opens(name, axis))
        facts = {name: parts.Fact.of(array) for name, array in self._options.constants.items()}
        facts |= {name: parts.Fact(array.shape, array.dtype) for name, array in zip(names, arrays, strict=True)}
        return self._programs.keep(key, self._programs.build(facts, names, wanted, self._streams.draws(facts)))

    def _program(self, facts: Mapping[str, Fact], wanted: Sequence[str]) -> Program:
        """The program of a whole run at given input sizes."""
        return self._programs.build(facts, [port.name for port in self._ports], wanted)


def _rewritten(graph: Graph, ports: Sequence[Port], options: Options) -> tuple[str, ...]:
    """Bring a graph into the form that the planner knows best; the frozen sizes that were opened."""
    graph.notes += parts.rewrite(graph, ports, options.constants, options.states)
    repaired = tuple(parts.thaw(graph, ports, options.constants))
    if repaired:
        parts.pad_delays(graph, ports, options.constants)
    parts.warn_once(repaired, graph)
    parts.hold_weights(graph, parts.registry.weights)
    for note in graph.notes:
        log.info("recognise", "%s: %s", graph.name, note)
    for place in repaired:
        log.info("recognise", "%s: repaired: %s", graph.name, place)
    return repaired


def _named(feeds: object, outputs: object, names: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Feeds of `run` that are no dict."""
    if isinstance(feeds, Mapping):
        return given.named("feeds", feeds)
    shown = f"feeds: a dict by name expected, got {given.shown(feeds)}"
    if isinstance(outputs, Mapping):
        raise errors.ArgumentError(f"{shown}; write run(feeds, outputs): InferenceSession has the other order")
    raise errors.ArgumentError(f"{shown}; write run({{{', '.join(f'{name!r}: ...' for name in names)}}})")


def _chosen(outputs: Sequence[str], there: Sequence[str]) -> tuple[str, ...]:
    """The outputs that are asked for."""
    for name in given.names("outputs", outputs):
        if name not in there:
            raise errors.FeedError(f"there is no output {name!r}; the model has {list(there)}")
    return tuple(dict.fromkeys(outputs))


def _refuse_fixed(**asked: Any) -> None:
    """What is fixed when a model is converted cannot be said again."""
    for name, value in asked.items():
        if value is not None and value != ("f32" if name == "precision" else {}):
            raise errors.ArgumentError(
                f"{name}: was fixed when the model was converted; load the file that it was made from"
            )


def _from_file(memory: NDArray[np.uint8], label: str, isa: str | None) -> Model:
    """The model in a native file."""
    with within_memory("load"):
        found = plans_in(memory, label, isa)
        if found:
            return Model._mapped(memory, label, isa, found)
        file = container.Container(memory, label)
        with budget.open_budget(budget.Allowance()), file.judged():
            before = parts.restored(file, isa)
            return Model(before.graph, before.options, before=before)
