"""Loop, Scan and If: against onnxruntime, at the edges, and what a hostile file may not do."""

from __future__ import annotations

import time

import numpy as np
import onnx
import onnx.parser
import pytest
from run import ISAS

import shared_files
from engine import onnxruntime_run
from lstm_infer import LstmInferError, NotStreamableError, ShapeError, UnsupportedOpError, load
from tolerances import exact, like_onnxruntime

rng = np.random.default_rng(7)


def f32(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def i64(value):
    return np.array(value, np.int64)


def truth(value):
    return np.array(value, np.bool_)


def text(body, opset=17):
    """A model from ONNX's text form."""
    return onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : {opset}]>\n{body}').SerializeToString()


def check(data, feeds, *, isas=ISAS, **options):
    """Every output on every set against onnxruntime; returns ours."""
    want = onnxruntime_run(data, feeds)
    assert want is not None
    for isa in isas:
        fed = {name: value for name, value in feeds.items() if name not in options.get("constants", {})}
        got = load(data, isa=isa, **options).run(fed)
        for name, value in want.items():
            like_onnxruntime(got[name], value, f"{name} on {isa}")
    return got


SUM = """
g (int64 m, bool go, float[B,3] s, float[4,B,3] x) => (float[B,3] last{stack})
{{
    last{stack_out} = Loop (m, go, s) <body = b (int64 i, bool c, float[B,3] h) => (bool c2, float[B,3] h2{row})
    {{
        c2 = Identity (c)
        xi = Gather <axis = 0> (x, i)
        t = Tanh (h)
        h2 = Add (t, xi)
        {row_node}
    }}>
}}
"""


def summing(stacked=False):
    return text(
        SUM.format(
            stack=", float[T,B,3] rows" if stacked else "",
            stack_out=", rows" if stacked else "",
            row=", float[B,3] row" if stacked else "",
            row_node="row = Neg (h2)" if stacked else "",
        )
    )


# ---- Loop ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [0, 1, 4])
@pytest.mark.parametrize("go", [True, False])
def test_trip_count_and_condition_at_run_time(m, go):
    check(summing(), {"m": i64(m), "go": truth(go), "s": f32(2, 3), "x": f32(4, 2, 3)})


def test_index_past_the_end_is_an_error():
    model = load(summing())
    with pytest.raises(ShapeError, match="index"):
        model.run({"m": i64(5), "go": truth(True), "s": f32(2, 3), "x": f32(4, 2, 3)})


@pytest.mark.parametrize("m", [1, 3, 4])
def test_scan_outputs_of_a_known_length(m):
    feeds = {"m": i64(m), "go": truth(True), "s": f32(2, 3), "x": f32(4, 2, 3)}
    check(summing(True), feeds, constants={"m": m, "go": True})


def test_scan_outputs_of_no_iteration():
    s = f32(2, 3)
    got = load(summing(True), constants={"m": 0, "go": True}).run({"s": s, "x": f32(4, 2, 3)})
    exact(got["last"], s)
    assert got["rows"].shape == (0, 2, 3)


def test_scan_outputs_of_an_unknown_length_are_refused():
    with pytest.raises(UnsupportedOpError, match=r"rows.*depends on the data.*constants="):
        load(summing(True)).run({"m": i64(2), "go": truth(True), "s": f32(2, 3), "x": f32(4, 2, 3)})


def test_early_exit_by_a_condition_on_the_data():
    data = text("""
    g (float[2] x) => (float[2] y, int64 n)
    <int64 m = {1000}, bool t = {1}, int64 zero = {0}>
    {
        y, n = Loop (m, t, x, zero) <body = b (int64 i, bool c, float[2] h, int64 k)
            => (bool c2, float[2] h2, int64 k2) <float two = {2}, float most = {100}, int64 one = {1}>
        {
            h2 = Mul (h, two)
            top = ReduceMax <keepdims = 0> (h2)
            c2 = Less (top, most)
            k2 = Add (k, one)
        }>
    }""")
    got = check(data, {"x": np.array([1.0, 3.0], np.float32)})
    assert got["n"] == 6


def test_condition_that_only_counts_ends_the_loop_when_planned():
    data = text("""
    g (float[2] x) => (float[2] y, float[T,2] rows)
    <int64 m = {100}, bool t = {1}, int64 zero = {0}>
    {
        y, k, rows = Loop (m, t, x, zero) <body = b (int64 i, bool c, float[2] h, int64 n)
            => (bool c2, float[2] h2, int64 n2, float[2] row) <int64 two = {2}, int64 most = {9}>
        {
            h2 = Sin (h)
            n2 = Add (n, two)
            c2 = Less (n2, most)
            row = Identity (h2)
        }>
    }""")
    assert check(data, {"x": f32(2)})["rows"].shape == (5, 2)


def test_no_trip_count_and_no_condition_inputs():
    data = text(
        """
    g (float[2] x) => (float[2] y)
    {
        y = Loop ("", "", x) <body = b (int64 i, bool c, float[2] h) => (bool c2, float[2] h2) <int64 three = {3}>
        {
            h2 = Cos (h)
            c2 = Less (i, three)
        }>
    }""".replace('""', "")
    )
    check(data, {"x": f32(2)})


def test_iteration_number_and_swapped_values():
    """Carried values that change places are read before any is written."""
    data = text("""
    g (int64 m, float[3] a, float[3] b) => (float[3] p, float[3] q, int64 k)
    <bool t = {1}, int64 zero = {0}>
    {
        p, q, k = Loop (m, t, a, b, zero) <body = b (int64 i, bool c, float[3] u, float[3] v, int64 n)
            => (bool c2, float[3] v1, float[3] u1, int64 n2)
        {
            c2 = Identity (c)
            v1 = Identity (v)
            u1 = Identity (u)
            n2 = Add (n, i)
        }>
    }""")
    for m in (0, 1, 2, 5):
        check(data, {"m": i64(m), "a": f32(3), "b": f32(3)})


def test_nested_loops():
    data = text("""
    g (int64 m, int64 k, float[2,3] x) => (float[2,3] y)
    <bool t = {1}>
    {
        y = Loop (m, t, x) <body = outer (int64 i, bool c, float[2,3] h) => (bool c2, float[2,3] h2)
        {
            c2 = Identity (c)
            f = Cast <to = 1> (i)
            h1 = Loop (k, c, h) <body = inner (int64 j, bool d, float[2,3] g) => (bool d2, float[2,3] g2)
            {
                d2 = Identity (d)
                e = Cast <to = 1> (j)
                s = Add (e, f)
                w = Sin (g)
                g2 = Add (w, s)
            }>
            h2 = Sub (h1, x)
        }>
    }""")
    for m, k in ((0, 2), (2, 0), (3, 4)):
        check(data, {"m": i64(m), "k": i64(k), "x": f32(2, 3)})


def test_nested_scans_read_and_write_slices_of_slices():
    data = text("""
    g (float[4,3,2] x, float[2] s) => (float[4,3,2] y, float[2] last)
    {
        last, y = Scan <num_scan_inputs = 1, body = outer (float[2] h, float[3,2] row) => (float[2] h2, float[3,2] out)
        {
            h2, out = Scan <num_scan_inputs = 1, body = inner (float[2] g, float[2] e) => (float[2] g2, float[2] o)
            {
                a = Add (g, e)
                g2 = Tanh (a)
                o = Mul (g2, e)
            }> (h, row)
        }> (s, x)
    }""")
    check(data, {"x": f32(4, 3, 2), "s": f32(2)})


def test_weights_as_carried_values():
    data = text("""
    g (float[T,B,3] x, float[B,2] s) => (float[T,B,2] y)
    <bool t = {1}, float[3,2] w = {1,2,3,4,5,6}, float[2,2] r = {0.5,-0.5,0.25,0.5}, int64[1] a = {0}, int64[1] e = {1}>
    {
        shape = Shape (x)
        n1 = Slice (shape, a, e)
        n = Squeeze (n1)
        h, w1, r1, y = Loop (n, t, s, w, r) <body = b (int64 i, bool c, float[B,2] h0, float[3,2] w0, float[2,2] r0)
            => (bool c2, float[B,2] h2, float[3,2] w2, float[2,2] r2, float[B,2] row)
        {
            c2 = Identity (c)
            xi = Gather <axis = 0> (x, i)
            p = MatMul (xi, w0)
            q = MatMul (h0, r0)
            z = Add (p, q)
            h2 = Tanh (z)
            row = Identity (h2)
            w2 = Identity (w0)
            r2 = Identity (r0)
        }>
    }""")
    x, s = f32(5, 2, 3), f32(2, 2)
    check(data, {"x": x, "s": s})
    model = load(data)
    whole = model.run({"x": x, "s": s})["y"]
    stream = model.stream(batch=2, inputs={"s": s})
    pieces = [stream.run(x[:1]), stream.run(x[1:4]), stream.run(x[4:])]
    exact(np.concatenate(pieces), whole)


def test_growing_value_is_unrolled():
    data = text("""
    g (float[1,2] x, float[3,1,2] r) => (float[N,2] y)
    <int64 m = {3}, bool t = {1}>
    {
        y = Loop (m, t, x) <body = b (int64 i, bool c, float[K,2] h) => (bool c2, float[L,2] h2)
        {
            c2 = Identity (c)
            ri = Gather <axis = 0> (r, i)
            h2 = Concat <axis = 0> (h, ri)
        }>
    }""")
    assert check(data, {"x": f32(1, 2), "r": f32(3, 1, 2)})["y"].shape == (4, 2)


def test_growing_value_in_a_long_loop_is_refused():
    data = text("""
    g (float[1,2] x, int64 m) => (float[N,2] y)
    <bool t = {1}>
    {
        y = Loop (m, t, x) <body = b (int64 i, bool c, float[K,2] h) => (bool c2, float[L,2] h2)
        {
            c2 = Identity (c)
            h2 = Concat <axis = 0> (h, x)
        }>
    }""")
    with pytest.raises(UnsupportedOpError, match="shape changes"):
        load(data).run({"x": f32(1, 2), "m": i64(2)})
    with pytest.raises(UnsupportedOpError, match="shape changes"):
        load(data, constants={"m": 1000}).run({"x": f32(1, 2)})


def test_known_loop_is_computed_when_planned():
    data = text("""
    g (float[2] x) => (float[2] y)
    <int64 m = {5}, bool t = {1}, float one = {1}>
    {
        k = Loop (m, t, one) <body = b (int64 i, bool c, float h) => (bool c2, float h2) <float two = {2}>
        {
            c2 = Identity (c)
            h2 = Mul (h, two)
        }>
        y = Mul (x, k)
    }""")
    check(data, {"x": f32(2)})


def test_an_operator_on_the_host_is_unrolled():
    data = text(
        """
    g (float[3] x, int64[3] at) => (float[3] y)
    <int64 m = {3}, bool t = {1}>
    {
        y = Loop (m, t, x) <body = b (int64 i, bool c, float[3] h) => (bool c2, float[3] h2)
        {
            c2 = Identity (c)
            h2 = CumSum (h, i0)
        }>
    }""".replace("i0", "axis").replace("bool t = {1}>", "bool t = {1}, int64 axis = {0}>", 1)
    )
    check(data, {"x": f32(3), "at": np.array([2, 0, 1])})


def test_a_choice_inside_a_loop_of_unknown_length():
    """What is chosen decides what comes next: a greedy walk, as many steps as are asked for."""
    data = text(
        """
    g (int64 m, float[6] s, float[6,6] w, int64[6] score) => (float[6] last, int64 total)
    <bool t = {1}, int64 zero = {0}>
    {
        last, total = Loop (m, t, s, zero) <body = b (int64 i, bool c, float[6] h, int64 n) => (bool c2, float[6] h2, int64 n2)
        {
            c2 = Identity (c)
            a = ArgMax <axis = 0, keepdims = 0> (h)
            row = Gather <axis = 0> (w, a)
            h2 = Add (h, row)
            best = ReduceMax <keepdims = 0> (score)
            picked = Gather <axis = 0> (score, a)
            gap = Sub (best, picked)
            n2 = Add (n, gap)
        }>
    }"""
    )
    for m in (0, 1, 9):
        check(data, {"m": i64(m), "s": f32(6), "w": f32(6, 6), "score": rng.integers(-9, 9, 6)})


# ---- Scan ----------------------------------------------------------------------------------------------------


def scan(axes, directions, out_axis, out_direction, shapes):
    a, b = (",".join(map(str, s)) for s in shapes)
    return text(f"""
    g (float[2,3] s, float[{a}] x, float[{b}] z) => (float[2,3] last, float[A,B,C] y)
    {{
        last, y = Scan <num_scan_inputs = 2, scan_input_axes = {axes}, scan_input_directions = {directions},
            scan_output_axes = [{out_axis}], scan_output_directions = [{out_direction}],
            body = b (float[2,3] h, float[2,3] xi, float[2,3] zi) => (float[2,3] h2, float[2,3] yi)
        {{
            p = Mul (h, xi)
            q = Add (p, zi)
            h2 = Tanh (q)
            yi = Sub (h2, xi)
        }}> (s, x, z)
    }}""")


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("out_axis", [0, 2, -2])
@pytest.mark.parametrize("turned", [(0, 0, 0), (1, 1, 0), (0, 1, 1)])
def test_scan_axes_and_directions(axis, out_axis, turned):
    shapes = [[2, 3], [2, 3]]
    shapes[0].insert(axis % 3, 4)
    shapes[1].insert(0, 4)
    data = scan(f"[{axis}, 0]", f"[{turned[0]}, {turned[1]}]", out_axis, turned[2], shapes)
    check(data, {"s": f32(2, 3), "x": f32(*shapes[0]), "z": f32(*shapes[1])})


def test_slices_that_differ_in_the_sign_of_zero_are_not_one():
    data = text(
        """
        g (float[B,2] h) => (float[B,2] last, float[2,B,2] y)
        <float[2,2] w = {0.0, 0.0, -0.0, -0.0}>
        {
            last, y = Scan <num_scan_inputs = 1, body = b (float[B,2] u, float[2] e) => (float[B,2] v, float[B,2] o)
            {
                v = Identity (u)
                r = Reciprocal (e)
                m = Mul (u, r)
                o = Atan (m)
            }> (h, w)
        }
        """
    )
    check(data, {"h": np.array([[1, -2], [3, 4]], np.float32)})


def test_scan_lengths_must_agree():
    data = scan("[0, 0]", "[0, 0]", 0, 0, [["T", 2, 3], ["U", 2, 3]])
    with pytest.raises(ShapeError, match="different lengths"):
        load(data).run({"s": f32(2, 3), "x": f32(4, 2, 3), "z": f32(5, 2, 3)})


def test_forward_scan_streams_and_a_backward_one_does_not():
    model = load(scan("[0, 0]", "[0, 0]", 0, 0, [["T", 2, 3], ["T", 2, 3]]))
    s, x, z = f32(2, 3), f32(7, 2, 3), f32(7, 2, 3)
    whole = model.run({"s": s, "x": x, "z": z})
    stream = model.stream(batch=2, initial={"s": s})
    parts = [stream.run({"x": x[a:b], "z": z[a:b]})["y"] for a, b in ((0, 1), (1, 6), (6, 7))]
    exact(np.concatenate(parts), whole["y"])
    exact(stream.state["s"], whole["last"])
    with pytest.raises(NotStreamableError):
        load(scan("[0, 0]", "[1, 1]", 0, 1, [["T", 2, 3], ["T", 2, 3]])).stream()


# ---- If ------------------------------------------------------------------------------------------------------

CHOICE = """
g (bool c, float[2,3] x) => (float[2,3] y, float[3] z)
<float[3,3] w = {1,2,3,4,5,6,7,8,9}>
{
    y, z = If (c) <then_branch = a () => (float[2,3] p, float[3] p2)
    {
        p = MatMul (x, w)
        p2 = ReduceSum <keepdims = 0> (x, zero)
    }, else_branch = b () => (float[2,3] q, float[3] q2) <float[2,3] q = {0,1,2,3,4,5}>
    {
        n = Neg (x)
        q2 = ReduceMax <axes = [0], keepdims = 0> (n)
    }>
}
""".replace("<float[3,3] w", "<int64[1] zero = {0}, float[3,3] w")


@pytest.mark.parametrize("c", [True, False])
def test_if_at_run_time(c):
    check(text(CHOICE), {"c": truth(c), "x": f32(2, 3)})
    check(text(CHOICE), {"c": truth(c), "x": f32(2, 3)}, constants={"c": c})


def test_if_inside_a_loop():
    data = text("""
    g (int64 m, float[3] x) => (float[3] y)
    <bool t = {1}, int64 two = {2}, int64 zero = {0}>
    {
        y = Loop (m, t, x) <body = b (int64 i, bool c, float[3] h) => (bool c2, float[3] h2)
        {
            c2 = Identity (c)
            r = Mod (i, two)
            even = Equal (r, zero)
            h2 = If (even) <then_branch = e () => (float[3] p) { p = Sin (h) },
                            else_branch = o () => (float[3] q) { s = Add (h, x)
                                                                 q = Cos (s) }>
        }>
    }""")
    for m in (0, 1, 4, 5):
        check(data, {"m": i64(m), "x": f32(3)})


def test_branches_of_different_shapes_are_refused():
    data = text("""
    g (bool c, float[2,3] x) => (float[A,B] y)
    {
        y = If (c) <then_branch = a () => (float[A,B] p) { p = Transpose (x) },
                    else_branch = b () => (float[A,B] q) { q = Identity (x) }>
    }""")
    with pytest.raises(UnsupportedOpError, match="constants="):
        load(data).run({"c": truth(True), "x": f32(2, 3)})
    check(data, {"c": truth(True), "x": f32(2, 3)}, constants={"c": True})


def test_the_branch_that_does_not_fit_is_an_error_only_when_chosen():
    data = text("""
    g (bool c, float[N,3] x) => (float[A,B] y)
    <float[3,2] w = {1,2,3,4,5,6}, float[4,2] v = {1,2,3,4,5,6,7,8}>
    {
        xt = Transpose (x)
        y = If (c) <then_branch = a () => (float[A,B] p) { p = MatMul (x, w) },
                    else_branch = b () => (float[A,B] q) { q = MatMul (xt, v) }>
    }""")
    check(data, {"c": truth(True), "x": f32(2, 3)})
    with pytest.raises(ShapeError, match=r"If.*else branch"):
        load(data).run({"c": truth(False), "x": f32(2, 3)})


def test_sample_rate_fed_as_an_input():
    path = shared_files.model("silero_vad")
    data = path.read_bytes()
    model = load(path)
    for rate, n, batch in ((16000, 576, 1), (8000, 288, 2)):
        feeds = {"input": f32(batch, n) * 0.1, "state": f32(2, batch, 128) * 0.1, "sr": i64(rate)}
        want = onnxruntime_run(data, feeds)
        for name, value in model.run(feeds).items():
            like_onnxruntime(value, want[name], name)
    with pytest.raises(ShapeError, match=r"If_0.*else branch"):
        model.run({"input": f32(1, 576), "state": f32(2, 1, 128), "sr": i64(8000)})


# ---- sequences -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("axis, new_axis", [(0, 1), (1, 1), (-1, 1), (0, 0), (1, 0)])
def test_a_sequence_filled_by_a_loop(axis, new_axis):
    data = text(
        f"""
    g (float[T,2,3] x) => (float[A,B,C] y)
    <bool t = {{1}}, int64[1] a = {{0}}, int64[1] e = {{1}}>
    {{
        shape = Shape (x)
        n1 = Slice (shape, a, e)
        n = Squeeze (n1)
        none = SequenceEmpty ()
        all = Loop (n, t, none) <body = b (int64 i, bool c, seq(float[2,3]) s) => (bool c2, seq(float[2,3]) s2)
        {{
            c2 = Identity (c)
            xi = Gather <axis = 0> (x, i)
            r = Relu (xi)
            s2 = SequenceInsert (s, r)
        }}>
        y = ConcatFromSequence <axis = {axis}, new_axis = {new_axis}> (all)
    }}""".replace("A,B,C", "A,B,C" if new_axis else "A,B")
    )
    check(data, {"x": f32(4, 2, 3)})


def test_sequences_written_out():
    data = text("""
    g (float[2,3] x) => (float[A,B] y, float[C,D,E] z, float[3] r)
    <int64 one = {1}>
    {
        p = Relu (x)
        s = SequenceConstruct (x, p)
        q = SequenceInsert (s, p)
        y = ConcatFromSequence <axis = 1> (q)
        z = ConcatFromSequence <axis = 0, new_axis = 1> (s)
        rows = SplitToSequence <axis = 0, keepdims = 0> (x)
        r = SequenceAt (rows, one)
    }""")
    check(data, {"x": f32(2, 3)})


@pytest.mark.parametrize("index", [0, 1])
def test_a_piece_of_a_sequence_that_is_split_by_a_size(index):
    data = text(f"""
    g (float[6,3] x) => (float[A,B] y)
    <int64 size = {{3}}, int64 at = {{{index}}}>
    {{
        parts = SplitToSequence <axis = 0> (x, size)
        y = SequenceAt (parts, at)
    }}""")
    check(data, {"x": f32(6, 3)})


def test_sequences_filled_by_one_loop():
    data = text("""
    g (float[T,2,3] x) => (float[A,B,C] y, float[D,E] z, float[2,3] h)
    <bool t = {1}, int64[1] a = {0}, int64[1] e = {1}, float[2,3] zero = {0, 0, 0, 0, 0, 0}>
    {
        shape = Shape (x)
        n1 = Slice (shape, a, e)
        n = Squeeze (n1)
        s0 = SequenceEmpty ()
        r0 = SequenceEmpty ()
        s, h, r = Loop (n, t, s0, zero, r0)
            <body = b (int64 i, bool c, seq(float[2,3]) s1, float[2,3] h1, seq(float[2,3]) r1)
                => (bool c2, seq(float[2,3]) s2, float[2,3] h2, seq(float[2,3]) r2)
        {
            c2 = Identity (c)
            xi = Gather <axis = 0> (x, i)
            h2 = Add (h1, xi)
            p = Relu (xi)
            s2 = SequenceInsert (s1, p)
            r2 = SequenceInsert (r1, h2)
        }>
        y = ConcatFromSequence <axis = 0, new_axis = 1> (s)
        z = ConcatFromSequence <axis = 1> (r)
    }""")
    check(data, {"x": f32(4, 2, 3)})


def test_a_sequence_that_begins_empty():
    data = text("""
    g (float[2,3] x) => (float[A,B] y, int64 n)
    {
        none = SequenceEmpty ()
        p = Relu (x)
        s = SequenceInsert (none, x)
        q = SequenceInsert (s, p)
        y = ConcatFromSequence <axis = 1> (q)
        n = SequenceLength (q)
    }""")
    check(data, {"x": f32(2, 3)})


def test_other_sequences_are_refused_by_name():
    data = text("""
    g (float[2,3] x, int64 k) => (float[A,B] y)
    {
        p = Relu (x)
        s = SequenceConstruct (x, p)
        y = SequenceAt (s, k)
    }""")
    with pytest.raises(UnsupportedOpError, match="Sequence"):
        load(data)


# ---- hostile -------------------------------------------------------------------------------------------------

ENDLESS = """
g (int64 m, float[2] x) => (float[2] y)
<bool t = {1}>
{
    y = Loop (m, t, x) <body = b (int64 i, bool c, float[2] h) => (bool c2, float[2] h2)
    {
        d = Sin (h)
        h2 = Add (d, x)
        top = ReduceMax <keepdims = 0> (h2)
        big = Abs (top)
        more = Add (big, one)
        c2 = Less (big, more)
    }>
}
""".replace("bool t = {1}>", "bool t = {1}, float one = {1}>")


def test_an_endless_loop_ends():
    model = load(text(ENDLESS))
    start = time.monotonic()
    with pytest.raises(ShapeError, match="the loop ran past its limit"):
        model.run({"m": i64(2**63 - 1), "x": f32(2)})
    assert time.monotonic() - start < 20
    check(text(ENDLESS), {"m": i64(10), "x": f32(2)})


def test_an_absurd_trip_count_is_refused():
    data = text(ENDLESS.replace("c2 = Less (big, more)", "c2 = Identity (c)"))
    with pytest.raises(LstmInferError):
        load(data, constants={"m": 2**62}).run({"x": f32(2)})
    data = summing(True)
    with pytest.raises(LstmInferError):
        load(data, constants={"m": 2**62, "go": True}).run({"s": f32(2, 3), "x": f32(4, 2, 3)})


def test_an_endless_known_loop_is_refused():
    data = text("""
    g (float[2] x) => (float[2] y)
    <bool t = {1}, float one = {1}>
    {
        k = Loop (, t, one) <body = b (int64 i, bool c, float h) => (bool c2, float h2)
        {
            c2 = Identity (c)
            h2 = Neg (h)
        }>
        y = Mul (x, k)
    }""")
    start = time.monotonic()
    with pytest.raises(LstmInferError):
        load(data).run({"x": f32(2)})
    assert time.monotonic() - start < 30


# ---- the normal form -----------------------------------------------------------------------------------------

LOOPS = [
    "tf2onnx_k_gru", "tf2onnx_k_simplernn", "tf2onnx_k_lstm_fixed", "tf2onnx_k_lstm_hard_sigmoid",
    "tf2onnx_k_embedding_mask", "tf2onnx_k_convlstm", "dyn_cell_scan_hop",
    "ts_cell_loop_scripted",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:the file has .* of its example frozen in")
@pytest.mark.parametrize("name", LOOPS)
def test_exported_loops_stream_bit_for_bit(name):
    model = load(shared_files.export(name))
    (port,) = model.inputs
    T, batch = 11, 1 if port.batch_axis is None else port.shape[port.batch_axis] or 2
    shape = [n or 1 for n in port.shape]
    shape[port.time_axis] = T
    if port.batch_axis is not None:
        shape[port.batch_axis] = batch
    x = f32(*shape) if "embedding" not in name else rng.integers(0, 5, shape).astype(port.dtype)
    (whole,) = model.run({port.name: x}).values()
    stream = model.stream(batch=batch)
    parts = [stream.run(np.take(x, range(a, b), port.time_axis)) for a, b in ((0, 1), (1, 2), (2, 8), (8, 11))]
    axis = model.outputs[0].time_axis
    exact(parts[-1] if axis is None else np.concatenate(parts, axis), whole)


def test_a_loop_as_long_as_the_sequence_but_not_along_it_does_not_stream():
    data = text("""
    g (float[T,B,3] x, float[B,3] s) => (float[T,B,3] y, float[B,3] z)
    <bool t = {1}, int64[1] a = {0}, int64[1] e = {1}>
    {
        shape = Shape (x)
        n1 = Slice (shape, a, e)
        n = Squeeze (n1)
        last, y = Scan <num_scan_inputs = 1, body = b (float[B,3] h, float[B,3] xi) => (float[B,3] h2, float[B,3] yi)
        {
            p = Mul (h, xi)
            h2 = Sin (p)
            yi = Identity (h2)
        }> (s, x)
        z = Loop (n, t, s) <body = l (int64 i, bool c, float[B,3] g) => (bool c2, float[B,3] g2)
        {
            c2 = Identity (c)
            g2 = Cos (g)
        }>
    }""")
    check(data, {"x": f32(5, 2, 3), "s": f32(2, 3)})
    with pytest.raises(NotStreamableError, match="as often"):
        load(data).stream(batch=2)
