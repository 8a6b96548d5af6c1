"""Axes that change places, come and go, and become one."""

from __future__ import annotations

from graph_nodes import Impossible


def transpose(g):
    name, axes = g.value()
    perm = list(range(len(axes)))
    g.pick.shuffle(perm)
    g.put(g.do("Transpose", name, perm=perm), [axes[p] for p in perm])


def ones(g):
    name, axes = g.value()
    found = [a for a, n in enumerate(axes) if n == 1]
    if found and g.pick.random() < 0.6:
        a = g.pick.choice(found)
        g.put(g.do("Squeeze", name, g.ints(a)), [*axes[:a], *axes[a + 1 :]])
    else:
        a = g.pick.randrange(len(axes) + 1)
        g.put(g.do("Unsqueeze", name, g.ints(a)), [*axes[:a], 1, *axes[a:]])


def fold(g):
    """[B, T, n] to rows and back, or half the steps and twice the features, or time and features in one."""
    name, axes = g.value()
    if len(axes) != 3 or not isinstance(axes[2], int):
        raise Impossible
    n, kind = axes[2], g.pick.choice(["rows", "pairs", "flat", "halves", "wrong"])
    if kind == "rows":
        m = g.pick.choice([1, 2, n])
        rows = g.do("MatMul", g.do("Reshape", name, g.ints(-1, n)), g.floats(n, m))
        sizes = [g.size(name, 0), g.size(name, 1)]
        g.put(g.do("Reshape", rows, g.do("Concat", *sizes, g.ints(m), axis=0)), [*axes[:2], m])
    elif kind == "pairs":
        g.put(g.do("Reshape", name, g.ints(0, -1, 2 * n)), [axes[0], g.new_length(), 2 * n])
    elif kind == "flat":
        g.put(g.do("Reshape", name, g.ints(0, -1)), [axes[0], g.new_length()])
    elif kind == "halves":
        if n % 2:
            raise Impossible
        g.put(g.do("Reshape", name, g.ints(0, 0, 2, n // 2)), [*axes[:2], 2, n // 2])
    else:
        sizes = [g.size(name, 1), g.size(name, 0)]
        g.put(g.do("Reshape", name, g.do("Concat", *sizes, g.ints(n), axis=0)), [axes[1], axes[0], n])


def merge(g):
    """Two axes that stand side by side become one, and stay it: rows, or the features of all steps."""
    name, axes = g.value()
    found = [a for a in range(len(axes) - 1) if not isinstance(axes[a], tuple) and not isinstance(axes[a + 1], tuple)]
    if not found or 0 in axes:
        raise Impossible
    merge_at(g, name, axes, g.pick.choice(found))


def rows(g):
    """The rows of all signals and steps, in either order."""
    found = [(v, axes, a) for v, axes in g.values for a in range(len(axes) - 1) if {axes[a], axes[a + 1]} == {"B", "T"}]
    if not found:
        raise Impossible
    merge_at(g, *g.pick.choice(found))


def merge_at(g, name, axes, a):
    """An axis and the next one become one."""
    sizes = [-1 if b == a else 0 if b < a else g.size(name, b + 1) for b in range(len(axes) - 1)]
    parts = [g.ints(n) if isinstance(n, int) else n for n in sizes]
    shape = parts[0] if len(parts) == 1 else g.do("Concat", *parts, axis=0)
    g.put(g.do("Reshape", name, shape), [*axes[:a], (axes[a], axes[a + 1]), *axes[a + 2 :]])
