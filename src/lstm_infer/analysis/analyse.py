"""Can a model stream, and how: the door of the analysis. It takes a graph and the roles of its inputs, and only reads.

Nothing is lowered here: the graph is walked at several lengths, and what every node does with the time axis is compared.
"""

from __future__ import annotations

import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from itertools import islice

from ..errors import LstmInferError, NotStreamableError, StateError
from ..frozen import frozen
from ..graph.ir import Graph
from ..walk.remembered import remembering, unchanged
from ..walk.walk import Walk
from .axes import trace
from .drawn import with_draws
from .follow import follow
from .frames import frame_spec, loop_spec
from .ground import Ground
from .lengths import where_fixed
from .pairing.flow import CACHE
from .refusal import EachCallError, MixedError, refuse_unknown
from .remedies import frames_inside, remedy, unrolled
from .roles import Roles
from .spec import StreamSpec
from .states import OpenStatesError, Pairs, pair_states
from .switches import switched

__all__ = ["Reading", "analyse", "read"]


@frozen
class Reading:
    """What the analysis of a model found, whatever the answer is."""

    spec: StreamSpec | LstmInferError
    """How it streams, or why not."""
    roles: Roles
    """Time and batch of the inputs of a whole run: states have no time axis."""


def read(graph: Graph, roles: Roles, states: Mapping[str, str] | None) -> Reading:
    """Decide how a model streams; never fails."""
    with remembering(graph), unchanged(graph):
        return _read(graph, roles, states)


def _read(graph: Graph, roles: Roles, states: Mapping[str, str] | None) -> Reading:
    seen = [roles]
    try:
        return Reading(_analyse(graph, roles, states, seen), seen[-1])
    except NotStreamableError as error:
        more = remedy(roles, lambda other: analyse(graph, other, states))
        told = f"{error}. {more}" if more else str(error)
        told += unrolled(graph)
        return Reading(NotStreamableError(told, node=error.node, op=error.op, reason=error.reason), seen[-1])
    except StateError as error:
        if one := _of_one_signal(graph, roles, states):
            return one
        if not isinstance(error, OpenStatesError):
            return Reading(error.kept(), seen[-1])
        good = (one for one in error.readings if _streams(graph, roles, one))
        return Reading(error.of(list(islice(good, 1))), seen[-1])
    except LstmInferError as error:
        return Reading(error.kept(), seen[-1])


def _of_one_signal(graph: Graph, roles: Roles, states: Mapping[str, str] | None) -> Reading | None:
    """How a file of one signal streams that walks with several too, where an output then is no next value of a state any
    more: the signal is a part of it, beside what is of one signal."""
    ports = {port.name: port.shape or () for port in roles.inputs}
    declared = {ports[name][axis] for name, axis in roles.batch.items()}
    if declared != {1} or roles.batch_size is not None:
        return None
    alone, seen = replace(roles, batch_size=1), list[Roles]()
    T, several = roles.analysis_sizes()
    try:
        facts, more = alone.walk(T, 1).facts, roles.walk(T, several).facts
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # names would have to decide
            spec = _analyse(graph, alone, states, seen)
    except (LstmInferError, UserWarning):
        return None
    grown = [
        f"output {out!r} of the state {name!r} is {list(more[out].shape)} with {several} signals"
        for name, out in spec.pairs.items()
        if name not in roles.batch and facts[out].shape == facts[name].shape and more[out].shape != more[name].shape
    ]
    return Reading(replace(spec, one_signal=grown[0]), seen[-1]) if grown else None


def _streams(graph: Graph, roles: Roles, states: Mapping[str, str]) -> bool:
    """Does a model stream with these states."""
    try:
        analyse(graph, roles, states)
    except LstmInferError:
        return False
    return True


def analyse(graph: Graph, roles: Roles, states: Mapping[str, str] | None) -> StreamSpec:
    """Decide how the model streams.

    Raises
    ------
    NotStreamableError
        A node needs the whole input, there is no time axis and no state, or there are several time axes.
    StateError
        States cannot be paired with outputs.
    """
    return _analyse(graph, roles, states, [])


def _analyse(graph: Graph, roles: Roles, states: Mapping[str, str] | None, seen: list[Roles]) -> StreamSpec:
    """`seen`: the roles as they were understood on the way, the last of them the best."""
    refuse_unknown(roles)
    T, B = roles.analysis_sizes()
    walked = roles.walk(T, B)
    if roles.switches:
        spec = switched(roles, walked, lambda one: analyse(graph, one, states))
        seen.append(spec.roles)
        return spec
    traced = trace(roles.inputs, walked, roles.time, roles.batch)
    pairs = _pairs(graph, roles, walked, states)
    roles = roles.without_states(pairs)
    seen.append(roles)
    if not roles.time:
        if states is None:
            _refuse_longer(graph, roles, pairs)
        return with_draws(frame_spec(graph, roles, walked, traced, pairs), walked, traced)
    try:
        return with_draws(_fixed(follow(Ground(graph, roles, walked, traced, pairs))), walked, traced)
    except NotStreamableError as refusal:
        each_call = isinstance(refusal, EachCallError)
        if isinstance(refusal, MixedError) and (one := _one_signal(graph, roles, states, refusal)):
            return one
        if pairs and (roles.time_size == 1 or (each_call and _walks_one(roles, B))):
            return with_draws(loop_spec(graph, roles, walked, traced, pairs), walked, traced)
        if pairs and roles.one_step():  # only right at the one step that the file declares
            roles = replace(roles, time_size=1)
            seen.append(roles)
            return _analyse(graph, roles, states, seen)
        if one := frames_inside(roles, lambda other: analyse(graph, other, states)):
            seen.append(one.roles)
            return one
        raise NotStreamableError(str(refusal), node=refusal.node, op=refusal.op, reason=refusal.reason) from None


def _one_signal(
    graph: Graph, roles: Roles, states: Mapping[str, str] | None, mixed: NotStreamableError
) -> StreamSpec | None:
    """How a model streams that mixes time with the signals of a batch: with one signal there is nothing to mix."""
    if not roles.batch or roles.batch_size is not None:
        return None
    try:
        spec = analyse(graph, replace(roles, batch_size=1), states)
    except LstmInferError:
        return None
    return replace(spec, one_signal=f"node {mixed.node!r} {mixed.reason}") if spec.mode == "time" else None


def _fixed(spec: StreamSpec) -> StreamSpec:
    """The same; refused where the file walks at one length only."""
    size = spec.roles.time_size
    if size not in (None, 1):
        told, node = where_fixed(spec.roles)
        why = f"the file is fixed to {size} time steps"
        raise NotStreamableError(
            f"{why}{told}; use run(), or export it with time open (dynamic_axes=, dynamic_shapes=)",
            node=node.name if node else "",
            op=node.op if node else "",
            reason=why,
        )
    return spec


def _refuse_longer(graph: Graph, roles: Roles, pairs: Pairs) -> None:
    """Refused where more states are found with one step a call than with as many as the file leaves open: what is cut off a
    cache is one step, so that behind more of them it comes out longer than it went in.

    Raises
    ------
    StateError
        There is one.
    """
    T, B = roles.analysis_sizes()
    for name in dict.fromkeys(name for name, _ in sorted(roles.unknown()) if name not in pairs):
        mine = {place for place in roles.unknown() if place[0] == name}
        one = replace(roles, open_sizes={**roles.open_sizes, **dict.fromkeys(mine, 1)})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of names that decide: what is only looked at
                found = pair_states(roles.inputs, graph.outputs, one.walk(T, B), streamed={}, given=None)
        except LstmInferError:
            continue
        more = {
            state: out for state, out in found.items() if state not in pairs and found.next[state].evidence == CACHE
        }
        if more and name not in found and pairs.items() <= found.items():
            shape = next(port.shape or () for port in roles.inputs if port.name == name)
            sizes = tuple(1 if (name, a) in mine else n if isinstance(n, int) else None for a, n in enumerate(shape))
            told = "; ".join(f"{out!r} holds the next value of {state!r}" for state, out in more.items())
            raise StateError(
                f"{told} where a call has one step of {name!r}, and grows where it has more, which the file leaves open: fix it "
                f"with load(..., inputs={{{name!r}: {sizes}}})"
            )


def _walks_one(roles: Roles, B: int) -> bool:
    try:
        roles.walk(1, B)
    except LstmInferError:
        return False
    return True


def _pairs(graph: Graph, roles: Roles, walked: Walk, states: Mapping[str, str] | None) -> Pairs:
    """Which output holds the next value of which input."""
    # where only one step walks, axes of extent 1 cannot be told apart: a state may look as if it had the time axis
    streamed = {} if roles.time_size == 1 else roles.time
    sequences = roles.sequences if roles.analysis_sizes()[0] != 1 else frozenset[str]()
    if pairs := _all_states(graph, roles, walked, states, sequences):
        return pairs

    def paired(whole: Collection[str]) -> Pairs:
        return pair_states(
            roles.inputs, graph.outputs, walked, streamed=streamed, given=states, sequences=sequences, whole=whole
        )

    pairs = paired(())
    growing = _growing(roles.without_states(pairs), pairs)
    return paired(growing) if growing else pairs


def _growing(roles: Roles, pairs: Pairs) -> set[str]:
    """The outputs of which a state is a part, and that have more parts where a call is longer."""
    parts = [found.place for found in pairs.next.values() if found.place.part is not None]
    timed = bool(roles.time) and roles.time_size is None
    if not parts or not (roles.stay_open() or timed):
        return set()
    T, B = roles.analysis_sizes()
    T = roles.probes[1] if timed else T
    for times, more in ((2, 0), (1, 1), (1, -1)):
        try:
            sizes = {place: max(times * n + more, 1) for place, n in roles.open_sizes.items()}
            facts = replace(roles, open_sizes=sizes).walk(T, B).facts
        except LstmInferError:
            continue
        return {p.output for p in parts if p.part and not p.part.scales(facts[p.output].shape[p.part.axis])}
    return set()


def _all_states(
    graph: Graph, roles: Roles, walked: Walk, states: Mapping[str, str] | None, sequences: Collection[str]
) -> Pairs | None:
    """The pairs of a model in which only states have what looked like a time axis, such as the frequencies of a cache:
    a recurrence runs over it, but the file takes it at one size only, and what is fed from step to step does not have
    it."""
    fed = {port.name for port in roles.inputs if port.dtype.kind == "f" and port.shape}
    if not roles.time or roles.time_size in (None, 1) or fed <= set(roles.time):
        return None
    try:
        pairs = pair_states(roles.inputs, graph.outputs, walked, streamed={}, given=states, sequences=sequences)
    except StateError:
        return None
    return pairs if set(roles.time) <= set(pairs) and fed - set(pairs) else None
