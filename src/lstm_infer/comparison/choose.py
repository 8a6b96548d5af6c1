"""The cheapest mix of precisions inside an error: guessed from what each layer brings alone, then run to be sure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from ..frozen import frozen
from .records import LayerError

__all__ = ["Found", "as_dict", "choose"]

F32, REST = "f32", "*"
TRIES = 24
"""Mixes that are run to save further bytes, once one was found that fits."""
SHRINK = 0.7
"""Of the sum that was allowed, where the mix that it gave did not stay inside."""


@frozen
class Found:
    """A mix by layer, its largest error as run, and how many mixes were run on the way."""

    kinds: dict[str, str]
    largest: float
    runs: int


@frozen
class _Way:
    """One way to hold a layer: the error that it brings alone, and the bytes that it saves."""

    kind: str
    error: float
    saved: int


_Ways = dict[str, list[_Way]]
"""By layer, the fewest bytes first, f32 last."""
_Picked = dict[str, int]
"""By layer, which of its ways."""


def choose(
    layers: Sequence[LayerError],
    within: float,
    run: Callable[[Mapping[str, str]], float],
    whole: Mapping[str, float] | None = None,
) -> Found:
    """The cheapest mix whose largest error, as run, is at most `within`.

    layers: each layer alone in each precision. run: the largest error of a mix. whole: that of all layers in one precision,
    where it is known.

    The errors that layers bring alone are added up to guess at a mix: all begin in the fewest bytes, and the layer that
    brings most error for each byte it saves gives way first. A guess that does not stay inside is made again for a smaller
    sum. Where that saves less than one precision for all, that is taken instead. Then layers are tried in fewer bytes, the
    largest saving first.
    """
    ways = _ways(layers)
    picked, error, runs = _guess_and_run(ways, within, run)
    for kind, known in (whole or {}).items():
        alike = _alike(ways, kind)
        if known <= within and _saved(ways, alike) > _saved(ways, picked):
            tried, runs = run(_kinds(ways, alike)), runs + 1
            if tried <= within:
                picked, error = alike, tried
    tries = 0
    for layer, n in _cheaper(ways, picked):
        if n < picked[layer] and tries < TRIES:
            tries += 1
            tried = run(_kinds(ways, {**picked, layer: n}))
            if tried <= within:
                picked[layer], error = n, tried
    return Found(_kinds(ways, picked), error, runs + tries)


def _guess_and_run(ways: _Ways, within: float, run: Callable[[Mapping[str, str]], float]) -> tuple[_Picked, float, int]:
    """A mix that stays inside, its error, and how many were run."""
    target, runs, before = within, 0, None
    while True:
        picked = _guess(ways, target)
        if picked == before or all(ways[layer][n].kind == F32 for layer, n in picked.items()):
            return _alike(ways, F32), 0.0, runs
        error, runs, before = run(_kinds(ways, picked)), runs + 1, picked
        if error <= within:
            return picked, error, runs
        target = min(target, _total(ways, picked)) * min(SHRINK, within / error)


def _alike(ways: _Ways, kind: str) -> _Picked:
    """All in one precision, or in f32 where that saves nothing."""
    return {
        layer: next((n for n, way in enumerate(found) if way.kind == kind), len(found) - 1)
        for layer, found in ways.items()
    }


def as_dict(kinds: Mapping[str, str]) -> dict[str, str]:
    """The shortest `precision=` that says it: the layers that are not as most of them are, and the rest."""
    most = Counter(kinds.values()).most_common(1)[0][0] if kinds else F32
    return {**{layer: kind for layer, kind in kinds.items() if kind != most}, REST: most}


def _ways(layers: Sequence[LayerError]) -> _Ways:
    """Without those that save nothing beside one that brings no more."""
    found: dict[str, list[_Way]] = {}
    for one in layers:
        found.setdefault(one.layer, []).append(
            _Way(one.precision, one.largest, one.saved if one.held == one.precision else 0)
        )
    kept: _Ways = {}
    for layer, some in found.items():
        kept[layer] = [_Way(F32, 0.0, 0)]
        for way in sorted(some, key=lambda way: (way.saved, -way.error)):
            while kept[layer] and kept[layer][0].error >= way.error and way.saved >= kept[layer][0].saved > 0:
                kept[layer].pop(0)
            if way.saved > kept[layer][0].saved:
                kept[layer].insert(0, way)
    return kept


def _guess(ways: _Ways, target: float) -> _Picked:
    """The mix whose errors add up to at most `target`."""
    picked = dict.fromkeys(ways, 0)

    def price(layer: str) -> float:
        now, after = ways[layer][picked[layer]], ways[layer][picked[layer] + 1]
        return (now.error - after.error) / max(now.saved - after.saved, 1)

    while _total(ways, picked) > target:
        layer = max((layer for layer, n in picked.items() if n + 1 < len(ways[layer])), key=price)
        picked[layer] += 1
    return picked


def _cheaper(ways: _Ways, picked: _Picked) -> list[tuple[str, int]]:
    """Ways to save more bytes, the largest saving first."""
    found = [(layer, n) for layer, now in picked.items() for n in range(now)]
    return sorted(found, key=lambda one: ways[one[0]][picked[one[0]]].saved - ways[one[0]][one[1]].saved)


def _total(ways: _Ways, picked: _Picked) -> float:
    return sum(ways[layer][n].error for layer, n in picked.items())


def _saved(ways: _Ways, picked: _Picked) -> int:
    return sum(ways[layer][n].saved for layer, n in picked.items())


def _kinds(ways: _Ways, picked: _Picked) -> dict[str, str]:
    return {layer: ways[layer][n].kind for layer, n in picked.items()}
