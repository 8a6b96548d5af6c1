"""How alike the names of a state's old and new value are: the last resort where data flow does not decide."""

from __future__ import annotations

import re

__all__ = ["affinity", "says_state", "stem"]


def stem(name: str) -> str:
    """What is left of a name without the words that mark a state as old or new."""
    last = re.split(r"[/.:]", name)[-1].lower()
    words = re.sub(r"(new|next|out(put)?|in(put)?|prev(ious)?|updated?|init(ial)?|state|hidden|n$|_n\b|0$)", "", last)
    return re.sub(r"[^a-z0-9]", "", words)


def says_state(name: str) -> bool:
    """Does a name speak of a state: h, c2, lstm_cell, cache_in, prev."""
    last = re.split(r"[/.:]", name)[-1].lower()
    words = r"state|hidden|cell|cache|mem|context|ctx|buf|hist|past|prev|carry|init"
    return re.search(words, last) is not None or re.search(r"(^|_)[hcs][xn0-9]*(_|$)", last) is not None


def affinity(a: str, b: str) -> int:
    """How alike two names are: 2 same stem, 1 one begins with the other, else 0."""
    x, y = a.lower(), b.lower()
    if stem(a) == stem(b) and stem(a):
        return 2
    return 1 if x.startswith(y) or y.startswith(x) else 0
