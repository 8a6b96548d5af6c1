"""Faults that the engine had, or might have, put back on purpose one at a time: the random graphs have to find each.

    python tests/review/faults.py                 the first seed that finds each fault, of 2,000
    python tests/review/faults.py reset delay     only these

A fault is a change of a few words in one function: where the words are no longer there it says so, and has to be written
anew. A seed finds a fault where its graph is wrong with it, and not wrong without. Exit status 1: one is not found.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import textwrap
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

from frame_checks import try_frame  # noqa: E402
from time_checks import try_time  # noqa: E402

__all__ = ["FAULTS", "Fault", "attempt"]

MOST = 2000
TRY = {"time": partial(try_time, against_onnxruntime=False), "frame": try_frame}


@dataclass(frozen=True)
class Fault:
    """One fault: what goes wrong, the kind of graphs that find it, a seed that does, and how it is made."""

    what: str
    kind: str
    seed: int
    changes: tuple[tuple[str, str, str], ...]
    """("module:function", words of its source, other words)."""

    def put_back(self, patch):
        """Make it, until the patch ends."""
        by_function = {}
        for where, old, new in self.changes:
            by_function.setdefault(where, []).append((old, new))
        for where, words in by_function.items():
            module, _, path = where.partition(":")
            home = holder = importlib.import_module(f"lstm_infer.{module}")
            for name in path.split("."):
                holder = getattr(holder, name)
            function = inspect.unwrap(holder)
            source = textwrap.dedent(inspect.getsource(function))
            for old, new in words:
                if old not in source:
                    raise LookupError(f"{where} no longer says {old!r}: write this fault anew")
                source = source.replace(old, new)
            made = {}
            exec(
                compile(f"from __future__ import annotations\n{source}", f"<{where}, changed>", "exec"),
                vars(home),
                made,
            )
            patch.setattr(function, "__code__", inspect.unwrap(made[function.__name__]).__code__)


FAULTS = {
    "overwritten": Fault(
        "a state is read after the next one was written over it", "time", 691,
        (("streams.plan:StreamPlan._settled", "if lost := b.in_place.finish()", "if lost := set()"),
         ("streams.plan:StreamPlan.__init__", "again = read_again(spec.pairs, one.nodes)", "again = ()")),
    ),
    "blended": Fault(
        "a state that is blended with the next one in a body is overwritten before", "time", 691,
        (("program.inplace:InPlace.behind", "self.lost.add(key)", "pass"),
         ("program.builder:Builder.add", "self.in_place.reads(call.reads)", "self._depth or self.in_place.reads(call.reads)"),
         ("program.inplace:InPlace.finish", "self.lost.add(key)", "pass")),
    ),
    "rows": Fault(
        "rows of several signals come step by step, where a run gives them signal by signal", "time", 681,
        (("analysis.analyse:_one_signal",
          'one_signal=f"node {mixed.node!r} {mixed.reason}"', 'roles=replace(spec.roles, batch_size=None)'),),
    ),
    "inner_time": Fault(
        "an output in which time is not outermost is given in pieces", "time", 681,
        (("analysis.follow:_Flow._output", "not self.ground.leads(name)", "False"),),
    ),
    "lost_state": Fault(
        "a recurrence behind a Reshape that mixes time with another axis loses its state", "time", 30,
        (("analysis.carried:CarriedStates.recurrence", "if not places and not self._of_one_step(node)",
          "if not any(p.alone for p in places) and not self._of_one_step(node)"),),
    ),
    "batch_for_time": Fault(
        "a recurrence behind a Reshape takes the first of the axes that were merged, the batch, for time", "time", 604,
        (("analysis.times:find_time", "label = traced.alone(source, axis)",
          "label = next((traced.root(f.label) for f in traced.axes[source][axis] if f.label), 0)"),),
    ),
    "mask_for_state": Fault(
        "a signal that reaches an output element by element, scaled say, is taken for a state", "frame", 0,
        (("analysis.states:pair_states", "open_edges = undecided(decided)",
          "decided.settle(dict.fromkeys(decided.free_edges(scene.levels <= 4), ''))\n    open_edges = undecided(decided)"),),
    ),
    "rhymes": Fault(
        "an input and an output whose names rhyme are taken for a state", "frame", 0,
        (("analysis.states:pair_states", "open_edges = undecided(decided)",
          "rhyming = [edge for edge in decided.free_edges(scene.fitting) if scene.rhymes(*edge)]\n"
          "    decided.settle(dict.fromkeys(rhyming, ''))\n    open_edges = undecided(decided)"),),
    ),
    "state_at_steps": Fault(
        "a state is read at every step beside its recurrence", "time", 620,
        (("analysis.follow:_Flow._check_begun", "if late := [node.inputs[i] for i in begun if i not in starts]", "if late := []"),),
    ),
    "samples": Fault(
        "samples of a frame that make one step are taken for time", "frame", 5,
        (("analysis.times:find_time", "if extent == 1 and any(", "if extent == 0 and any("),
         ("analysis.times:find_time", "if len({walked.facts[name].shape[a] for name, a in places}) > 1", "if False"),
         ("analysis.times:find_time", "if extent == 1 and not _grows(", "if extent == 0 and not _grows(")),
    ),
    "reset": Fault(
        "a reset forgets the states", "time", 3,
        (("stream:Stream.reset", "self._state[:] = self._first", "pass"),),
    ),
    "reset_phase": Fault(
        "a reset forgets what histories and queues hold", "time", 17,
        (("stream:Stream.reset", "now, now.plan.first_phase, False", "now, now.phase, False"),),
    ),
    "other_phase": Fault(
        "a call of one phase is taken in another", "time", 17,
        (("streams.plan:StreamPlan.call_in", "self._returning.get(phase)", "next(iter(self._returning.values()), None)"),),
    ),
    "any_chunk": Fault(
        "a chunk that leads elsewhere is taken for one that leads back", "time", 350,
        (("streams.general:_made", "if phase == now.phase and not flushed", "if not flushed"),
         ("streams.plan:StreamPlan.returned", "self._returns(p, phase)", "True")),
    ),
    "delay": Fault(
        "the signal before, which comes back as an input, is streamed as another signal", "frame", 14,
        (("analysis.pairing.flow:delays", "if not scene.frames", "if True"),
         ("analysis.pairing.rest:_delayed", "if source is not None", "if False")),
    ),
    "queue": Fault(
        "steps that wait for those of a slower branch are dropped", "time", 597,
        (("streams.chunk:Chunk._join", "Taken(held[i], total[i], total[i] - steps)", "Taken(0, total[i], total[i] - steps)"),),
    ),
    "length": Fault(
        "a constant that follows the length of the sequence is taken for one of every step", "time", 50,
        (("analysis.follow:_Flow.node", "lengths.check_constants(self.ground, node, timed, ", "dict("),),
    ),
    "contested": Fault(
        "a signal that is added is a state though another input may be the delay of the sum", "frame", 901,
        (("analysis.pairing.funnels:_contested", "scene.frames", "False"),),
    ),
}  # fmt: skip


def attempt(fault, seed):
    """What a seed's graph says of a fault: the error that it finds, or None."""
    with pytest.MonkeyPatch.context() as patch:
        fault.put_back(patch)
        try:
            TRY[fault.kind](seed)
        except Exception as error:  # whatever it is, it is not what the graph gives without the fault
            return error
    return None


def find(fault, most):
    """The first seed that finds a fault, and its error; None where none does."""
    for seed in range(most):
        error = attempt(fault, seed)
        if error is not None:
            try:
                TRY[fault.kind](seed)
            except Exception:  # wrong without it: found nothing
                continue
            return seed, error
    return None


def main():
    names = sys.argv[1:] or list(FAULTS)
    missed = 0
    for name in names:
        begin, found = time.monotonic(), find(FAULTS[name], MOST)
        missed += found is None
        told = f"not found in {MOST}" if found is None else f"{FAULTS[name].kind} graph {found[0]}"
        shown = "" if found is None else f"{type(found[1]).__name__}: {' '.join(str(found[1]).split())[:150]}"
        print(f"{name:15} {told:22} {time.monotonic() - begin:5.1f} s  {FAULTS[name].what}\n    {shown}", flush=True)
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
