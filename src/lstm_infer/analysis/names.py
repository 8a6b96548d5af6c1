"""What the names of inputs and outputs tell: a name says that it holds a state, or two names merely rhyme."""

from __future__ import annotations

import re
from functools import lru_cache

__all__ = ["SIDES", "affinity", "answers", "calls", "follows", "rhymes", "says_state", "stem"]

SIDES = frozenset({"in", "out", "input", "output", "inp", "outp"})
"""Words for where a value passes the edge of a graph."""

_TIMES = {
    "new",
    "next",
    "updated",
    "n",
    "prev",
    "previous",
    "old",
    "last",
    "past",
    "present",
    "current",
    "init",
    "initial",
}
"""Words for when a value holds."""

_FOLLOWING = {"new", "next", "updated", "n", "present", "final"}
"""Words for what holds behind the call."""

_HOLDERS = r"state|hidden|cell|cache|mem|context|ctx|buf|hist|past|prev|carry|init|present"
_LETTER = re.compile(r"([hcs])[xn0-9]*")


def _last(name: str) -> str:
    return re.split(r"[/.:]", name)[-1].lower()


@lru_cache(maxsize=4096)
def _words(name: str) -> tuple[str, ...]:
    """The words of a name; of a single letter with n or 0 behind it (hn, c0) the letter and the n."""
    found: list[str] = []
    for word in re.findall(r"[a-z]+[0-9]*|[0-9]+", _last(name)):
        short = re.fullmatch(r"([a-z])(n|0)", word)
        found += [short[1], "n" if short[2] == "n" else "init"] if short else [word]
    return tuple(found)


@lru_cache(maxsize=4096)
def stem(name: str, without: frozenset[str] = SIDES | _TIMES) -> str:
    """What is left of a name without some words; none where nothing is left."""
    return "_".join(word for word in _words(name) if word not in without)


@lru_cache(maxsize=4096)
def says_state(name: str) -> bool:
    """Does a name speak of a state: h, c2, lstm_cell, cache_in, prev."""
    last = _last(name)
    return re.search(_HOLDERS, last) is not None or any(
        _LETTER.fullmatch(word) for word in re.split(r"[^a-z0-9]+", last)
    )


_Keys = frozenset[tuple[int, str]]


@lru_cache(maxsize=4096)
def _stems(name: str) -> _Keys:
    found = enumerate(stem(name, words) for words in (SIDES, SIDES | _TIMES))
    return frozenset((k, text) for k, text in found if text)


@lru_cache(maxsize=4096)
def calls(name: str) -> _Keys:
    """What a name is looked for by: it rhymes with those that answer to one of these."""
    return _stems(name) | {(2, _last(name) + "n")}  # h, hn


@lru_cache(maxsize=4096)
def answers(name: str) -> _Keys:
    """What a name is found by."""
    return _stems(name) | {(2, _last(name))}


def rhymes(a: str, b: str) -> bool:
    """Are two names the same without the words for the side and the time at which they hold."""
    return not calls(a).isdisjoint(answers(b))


def follows(a: str, b: str) -> bool:
    """Does the name of b say that it is what comes after a: phase, phase_next."""
    marked = bool(_FOLLOWING.intersection(_words(b))) and _words(a) != _words(b)
    return rhymes(a, b) and (marked or _last(b) == _last(a) + "n")


def affinity(a: str, b: str) -> int:
    """How alike two names are: 2 same stem, 1 one begins with the other, else 0."""
    if rhymes(a, b):
        return 2
    x, y = a.lower(), b.lower()
    return 1 if x.startswith(y) or y.startswith(x) else 0
