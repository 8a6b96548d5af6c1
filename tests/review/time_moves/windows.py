"""Convolutions and pooling along the steps."""

from __future__ import annotations

from graph_nodes import END, Impossible
from onnx import TensorProto


def to_channels(g):
    """A value of three axes as [B, C, T]."""
    name, axes = g.value()
    if len(axes) != 3 or "B" not in axes or not any(isinstance(n, int) for n in axes):
        raise Impossible
    t, b = g.time(axes), axes.index("B")
    c = next(a for a, n in enumerate(axes) if isinstance(n, int))
    perm = [b, c, t]
    name = name if perm == [0, 1, 2] else g.do("Transpose", name, perm=perm)
    return name, [axes[p] for p in perm]


def conv(g):
    name, (b, c, t) = to_channels(g)
    kernel, dilation, stride = (
        g.pick.choice([1, 2, 3, 5]),
        g.pick.choice([1, 1, 2]),
        g.pick.choice([1, 1, 1, 2]),
    )
    reach = (kernel - 1) * dilation
    begin, end = g.pick.choice(
        [(reach, 0), (reach // 2, reach - reach // 2), (0, 0), (0, reach), (1, 1), (reach, reach)]
    )
    many = g.pick.choice([1, 2, 4])
    grouped = g.pick.random() < 0.2
    weights = g.floats(c if grouped else many, 1 if grouped else c, kernel)
    how = {"auto_pad": "SAME_UPPER"} if g.pick.random() < 0.1 else {"pads": [begin, end]}
    bias = [g.floats(c if grouped else many)] if g.pick.random() < 0.5 else []
    made = g.do("Conv", name, weights, *bias, kernel_shape=[kernel], dilations=[dilation], strides=[stride],
                   group=c if grouped else 1, **how)  # fmt: skip
    same = stride == 1 and (begin + end == reach or "auto_pad" in how)
    g.put(made, [b, c if grouped else many, t if same else g.new_length()])


def conv2d(g):
    name, (b, c, t) = to_channels(g)
    made = g.do("Unsqueeze", name, g.ints(1))
    begin, end = g.pick.choice([(2, 0), (1, 1), (0, 0)])
    made = g.do("Conv", made, g.floats(2, 1, 1, 3), kernel_shape=[1, 3], pads=[0, begin, 0, end])
    g.put(made, [b, 2, c, t if begin + end == 2 else g.new_length()])


def unconv(g):
    name, (b, c, _) = to_channels(g)
    kernel, stride = g.pick.choice([(2, 1), (2, 2), (3, 1), (1, 1)])
    pads = g.pick.choice([[0, 0], [0, kernel - 1], [kernel - 1, 0]])
    made = g.do("ConvTranspose", name, g.floats(c, 2, kernel), kernel_shape=[kernel], strides=[stride], pads=pads)
    g.put(made, [b, 2, g.new_length()])


def pool(g):
    name, (b, c, t) = to_channels(g)
    op = g.pick.choice(["MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"])
    if op.startswith("Global"):
        g.put(g.do(op, name), [b, c, 1])
        return
    kernel, stride = g.pick.choice([(2, 1), (2, 2), (3, 1), (3, 2)])
    pads = g.pick.choice([[0, 0], [kernel - 1, 0], [1, 1]])
    more = {"ceil_mode": 1} if g.pick.random() < 0.1 else {}
    more |= {"count_include_pad": g.pick.choice([0, 1])} if op == "AveragePool" else {}
    made = g.do(op, name, kernel_shape=[kernel], strides=[stride], pads=pads, **more)
    g.put(
        made,
        [b, c, t if stride == 1 and sum(pads) == kernel - 1 and not more.get("ceil_mode") else g.new_length()],
    )


def residual(g):
    """A causal Conv around which the signal is led."""
    name, (b, c, t) = to_channels(g)
    kernel = g.pick.choice([2, 3])
    lead = g.pick.choice([kernel - 1, 1])
    padded = g.do("Pad", name, g.ints(0, 0, lead, 0, 0, kernel - 1 - lead))
    if len(g.nodes) % 2:  # as Keras leaves it; not drawn, so that the numbers of graphs stay
        padded = g.do("Cast", padded, to=TensorProto.FLOAT)
    made = g.do("Conv", padded, g.floats(c, c, kernel), kernel_shape=[kernel])
    g.put(g.do("Add", name, made), [b, c, t])


def cache(g):
    """Steps of the past as an input that comes back, in front of a Conv."""
    name, (b, c, t) = to_channels(g)
    kernel = g.pick.choice([2, 3])
    if t != "T":
        raise Impossible
    state = f"h{len(g.inputs)}"
    g.inputs[state] = ("B", c, kernel - 1)
    joined = g.do("Concat", state, name, axis=2)
    g.pairs[state] = g.do("Slice", joined, g.ints(1 - kernel), g.ints(END), g.ints(2))
    g.put(g.do("Conv", joined, g.floats(2, c, kernel), kernel_shape=[kernel]), [b, 2, t])
