"""What is no array of NumPy goes in, and is filled, without a copy: tensors, buffers, whatever has `__dlpack__`."""

from __future__ import annotations

import array

import numpy as np
import pytest

import every_road
import lstm_infer
import stream_models
from lstm_infer import views
from lstm_infer.errors import DtypeError, FeedError, ShapeError

try:
    import torch
except ImportError:
    torch = None

needs_torch = pytest.mark.skipif(torch is None, reason="torch is not installed")


class Exported:
    """Somebody else's array: nothing but DLPack."""

    def __init__(self, array, device=(1, 0)):
        self.array, self.device_of_mine = array, device

    def __dlpack__(self, **more):
        if self.device_of_mine != (1, 0):
            raise BufferError("not here")
        return self.array.__dlpack__(**more)

    def __dlpack_device__(self):
        return self.device_of_mine


FORMS = {
    "memoryview": memoryview,
    "DLPack": Exported,
    "torch": lambda a: torch.from_numpy(a),
}


@pytest.fixture(params=FORMS)
def form(request):
    """Makes an array one of somebody else's, over the same memory."""
    if request.param == "torch" and torch is None:
        pytest.skip("torch is not installed")
    return FORMS[request.param]


def signals(model, steps):
    """A chunk of each streamed input, by name."""
    rng, found = np.random.default_rng(3), {}
    for port in model.inputs:
        if port.name in model.streaming.inputs:
            shape = [steps if a == port.time_axis else n or 1 for a, n in enumerate(port.shape)]
            shape = [steps, *shape] if port.time_axis is None else shape
            found[port.name] = rng.uniform(-1, 1, shape).astype(port.dtype)
    return found


@pytest.fixture
def _fillable(form):
    """NumPy before 2.1 has no word in DLPack for memory that may be written to."""
    if form is Exported and not np.from_dlpack(np.zeros(1)).flags.writeable:
        pytest.skip("this NumPy takes what comes by DLPack as read-only")


@pytest.fixture(params=["hidden_state", "state_io", "frame", "centred_conv"])
def model(request):
    return lstm_infer.load(getattr(stream_models, request.param)())


def test_run_gives_the_same_bits(model, form):
    feeds = signals(model, 9)
    (name, x), *_ = feeds.items()
    want, got = model.stream().run(x), model.stream().run(form(x))
    assert type(got) is np.ndarray
    np.testing.assert_array_equal(got, want)
    np.testing.assert_array_equal(next(iter(model.stream().run({name: form(x)}).values())), want)


@pytest.mark.usefixtures("_fillable")
def test_out_is_filled_and_returned(model, form):
    (x,) = signals(model, 9).values()
    want = model.stream().run(x)
    mine = np.full_like(want, np.nan)
    out = form(mine) if want.size else mine
    assert model.stream().run(form(x), out=out) is out
    np.testing.assert_array_equal(mine, want)


@pytest.mark.usefixtures("_fillable")
def test_a_dict_of_them(form):
    model = lstm_infer.load(stream_models.hidden_state())
    (x,) = signals(model, 5).values()
    want = model.stream().run({"x": x})["y"]
    out = {"y": form(np.empty_like(want))}
    assert model.stream().run({"x": form(x)}, out=out) is out
    np.testing.assert_array_equal(views.view("out", "float32", out["y"]), want)


@pytest.mark.usefixtures("_fillable")
@pytest.mark.parametrize("mine", [0, 1])
def test_a_dict_of_some_of_them(form, mine):
    """One input and one output are arrays of NumPy, the others are somebody else's."""
    road = every_road.ROADS["gru, two inputs, two outputs"]()
    model, fed = road.load(), road.signal(0, 5)
    want = model.stream().run(fed)
    x = {name: a if k == mine else form(a) for k, (name, a) in enumerate(fed.items())}
    arrays = {name: np.empty_like(a) for name, a in want.items()}
    out = {name: a if k == mine else form(a) for k, (name, a) in enumerate(arrays.items())}
    assert model.stream().run(x, out=out) is out
    for name, a in want.items():
        np.testing.assert_array_equal(arrays[name], a)


def test_the_whole_run_takes_them(model, form):
    feeds = {p.name: np.ones([n or 3 for n in p.shape], p.dtype) for p in model.inputs}
    want, got = model.run(feeds), model.run({name: form(a) for name, a in feeds.items()})
    assert all(type(a) is np.ndarray for a in got.values())
    for name, a in want.items():
        np.testing.assert_array_equal(got[name], a)


@pytest.mark.usefixtures("_fillable")
def test_pools_take_them(form):
    model = lstm_infer.load(stream_models.hidden_state())
    (x,) = signals(model, 4).values()
    many = np.stack([x, -x])
    with model.pool() as pool, model.pool() as other:
        ids, mine = [pool.open(), pool.open()], [other.open(), other.open()]
        want = pool.run(ids, many)
        np.testing.assert_array_equal(other.run(mine, form(many)), want)
        filled = np.empty_like(want)
        out = form(filled)
        assert other.run(form(np.array(mine)), form(many), out=out) is out
        np.testing.assert_array_equal(filled, pool.run(ids, many))
        for id, y in other.step({id: form(x[:1]) for id in mine}).items():
            assert type(y) is np.ndarray and id in mine
    np.testing.assert_array_equal(model.run_many([form(x)])[0], model.run_many([x])[0])


def test_a_frame_that_waits_is_a_copy(form):
    model = lstm_infer.load(stream_models.hidden_state())
    x = np.ones((1, stream_models.INPUTS), np.float32)
    with model.pool(max_wait=0.2) as pool:
        answer = pool.submit(pool.open(), form(x))
        x[...] = 7
        np.testing.assert_array_equal(answer.result(10), model.stream().step(np.ones_like(x)))


def test_nothing_is_copied(form):
    mine = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert np.shares_memory(views.view("x", "float32", form(mine)), mine)


@pytest.mark.usefixtures("_fillable")
def test_they_take_the_compiled_road(form, monkeypatch):
    def slow(*given):
        raise AssertionError("the general path was taken")

    monkeypatch.setattr(lstm_infer.Stream, "_step_slow", slow)
    monkeypatch.setattr(lstm_infer.Stream, "_run_slow", slow)
    stream = lstm_infer.load(stream_models.hidden_state()).stream()
    x = np.zeros((2, 1, stream_models.INPUTS), np.float32)
    y = stream.run(form(x), out=np.empty_like(stream.run(x)))
    stream.step(form(x[0]), out=form(y[0].copy()))
    stream.step({"x": form(x[0])})


def test_array_of_the_standard_library():
    model = lstm_infer.load(stream_models.hidden_state())
    flat = array.array("f", range(stream_models.INPUTS))
    x = memoryview(flat).cast("B").cast("f", [1, stream_models.INPUTS])
    np.testing.assert_array_equal(model.stream().step(x), model.stream().step(np.array(flat, np.float32)[None]))
    with pytest.raises(ShapeError, match=r"takes \[1, 1, \d+\] or \[1, \d+\], got"):
        model.stream().step(flat)


X = np.zeros((1, stream_models.INPUTS), np.float32)


def refused(x=X, out=None):
    stream = lstm_infer.load(stream_models.hidden_state()).stream()
    with pytest.raises((DtypeError, FeedError, ShapeError)) as caught:
        stream.step(x, out=out)
    np.testing.assert_array_equal(stream.state[next(iter(stream.state))], 0)
    return str(caught.value)


def test_wrong_dtypes_are_refused(form):
    assert "takes float32, got float64; convert it with np.asarray(x, np.float32)" in refused(
        form(X.astype(np.float64))
    )
    out = lstm_infer.load(stream_models.hidden_state()).stream().step(X).astype(np.float64)
    assert "takes an array of float32, got float64" in refused(out=form(out))


@pytest.mark.usefixtures("_fillable")
def test_what_cannot_be_filled_is_refused(form):
    y = lstm_infer.load(stream_models.hidden_state()).stream().step(X)
    if form is memoryview:
        assert "is read-only" in refused(out=memoryview(y.tobytes()).cast("f", y.shape))
    wide = np.zeros((y.shape[0], 2 * y.shape[1]), np.float32)
    assert "not C-contiguous" in refused(out=form(wide[:, ::2]))
    assert "has shape" in refused(out=form(wide))


@pytest.mark.usefixtures("_fillable")
def test_memory_that_is_shared_with_an_input_is_refused(form):
    y = lstm_infer.load(stream_models.hidden_state()).stream().step(X)
    both = np.zeros(X.size + y.size - 1, np.float32)
    x, out = both[: X.size].reshape(X.shape), both[X.size - 1 :].reshape(y.shape)
    assert "shares memory with an input" in refused(form(x), form(out))


def test_other_devices_are_named():
    assert "on the device (2, 0) of DLPack; this engine runs on the CPU: give x.cpu()" in refused(
        Exported(X, device=(2, 0))
    )
    elsewhere = Exported(X, device=(2, 0))
    elsewhere.device = "cuda:0"
    with pytest.raises(DtypeError, match="on the device cuda:0"):
        lstm_infer.load(stream_models.hidden_state()).run({"x": elsewhere})


@needs_torch
def test_tensors_that_do_not_come_over_say_what_to_do():
    tensor = torch.zeros(1, stream_models.INPUTS)
    assert "requires grad; give x.detach()" in refused(tensor.clone().requires_grad_())
    assert "on the device meta" in refused(tensor.to("meta"))
    assert "torch.bfloat16" in refused(tensor.bfloat16())
    assert "to_dense()" in refused(tensor.to_sparse())
    out = torch.empty(1, stream_models.HIDDEN, requires_grad=True)
    assert "out: output 'y'" in (said := refused(out=out)) and "give x.detach()" in said


@pytest.mark.parametrize("given", [[[0.0]], 1.0, (1, 2)])
def test_lists_and_numbers_are_the_callers(given):
    assert "write np.asarray(x, np.float32)" in refused(given)
