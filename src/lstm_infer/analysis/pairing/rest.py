"""What no evidence has decided: a signal, or for the caller to say."""

from __future__ import annotations

from ..names import says_state
from .decided import Decided
from .flow import delay_of, partners
from .naming import drives_sure, informs, scales
from .paths import ANY, ELEMENTWISE, MOVE

__all__ = ["undecided"]

Edges = dict[str, set[int]]


def undecided(decided: Decided) -> Edges:
    """Inputs that may be states, by the targets that may hold their next values; empty where the rest are signals."""
    found = _tied(decided)
    if not decided.scene.frames:
        return found
    _merge(found, _delayed(decided))
    for group in _alike(decided):
        if not decided.feeds() - set(group) and (decided.pairs or len(group) == 1):
            continue  # as states they would leave nothing to feed: signals
        for name in group:
            for k in decided.free_targets():
                if decided.scene.fits(name, k) and decided.scene.level(name, k) <= ANY and _doubtful(decided, name, k):
                    found.setdefault(name, set()).add(k)
    return found


def _merge(found: Edges, more: Edges) -> None:
    for name, targets in more.items():
        found.setdefault(name, set()).update(targets)


def _tied(decided: Decided) -> Edges:
    """Inputs with evidence of several targets, or several of one."""
    free = set(decided.free_targets())
    tied = {name: targets & free for name, targets in decided.open.items() if name not in decided.pairs}
    return {name: targets for name, targets in tied.items() if targets}


def _delayed(decided: Decided) -> Edges:
    """An output is an input itself, and another may hold what that was before, but no name says so."""
    found: Edges = {}
    for k in decided.free_targets():
        source = delay_of(decided, k)
        if source is not None and not decided.scene.rhymes(source[0], k):
            for name in partners(decided, k, source[0]):
                if source[0] not in decided.pairs:
                    found.setdefault(name, set()).add(k)
    return found


def _alike(decided: Decided) -> list[list[str]]:
    """Inputs that are left, grouped by how they stand in the graph: equal evidence, equal verdict."""
    scene, free, groups = decided.scene, decided.free_targets(), {}  # type: ignore[var-annotated]
    for name in decided.free_inputs():
        shape = scene.fact(name).shape
        near = sorted(scene.level(name, k) for k in free if scene.fits(name, k))
        into = sorted(scene.level(name, k) for k in decided.sure)
        groups.setdefault((shape, tuple(near), tuple(into)), []).append(name)
    return list(groups.values())


def _doubtful(decided: Decided, name: str, target: int) -> bool:
    """May this input be a state whose next value the target holds, so that it has to be asked."""
    scene = decided.scene
    kind = scene.fact(name).dtype.kind
    if scene.alone(name, target):  # depends on itself alone
        return kind == "f" and scene.level(name, target) > MOVE
    if scene.level(name, target) <= MOVE or scales(scene, name, target):
        return False
    if kind != "f":
        return says_state(name)
    if scene.summed(name, target) <= ELEMENTWISE:
        answers = {k for k in decided.free_targets() if k != target}
        return not drives_sure(decided, name) or bool(answers) or not informs(decided, name, target)
    answer = any(target in scene.behind[k] for k in decided.sure)
    return scene.exposed(target) or not (answer or informs(decided, name, target))
