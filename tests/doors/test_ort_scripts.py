"""Scripts written for onnxruntime give the same after the import line alone has changed.

They are habits seen in public code, written anew: sessions and metadata, hand-carried states, io_binding, values, options.
"""

from __future__ import annotations

import sys
import threading
import warnings

import numpy as np
import onnx
import pytest

import stream_models
import tolerances
from lstm_infer import ArgumentError, DtypeError, FeedError, ShapeError
from lstm_infer import onnxruntime as mine
from lstm_infer.doors import ort_options

theirs = pytest.importorskip("onnxruntime")


def model_file(tmp_path):
    model = onnx.load_from_string(stream_models.state_io())
    model.producer_name, model.model_version, model.doc_string = "trainer", 7, "a test"
    model.metadata_props.add(key="sample_rate", value="16000")
    onnx.save(model, tmp_path / "model.onnx")
    return str(tmp_path / "model.onnx")


SCRIPTS = {
    "session": """
        import numpy as np
        sess = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [i.name for i in sess.get_inputs()]
        shapes = [[d if isinstance(d, int) else 1 for d in i.shape] for i in sess.get_inputs()]
        types = [i.type for i in sess.get_inputs()] + [o.type for o in sess.get_outputs()]
        rng = np.random.default_rng(0)
        feed = {n: rng.random(s).astype(np.float32) for n, s in zip(names, shapes)}
        result = sess.run([sess.get_outputs()[0].name], feed) + sess.run(None, feed)
        told = names, shapes, types, [o.name for o in sess.get_outputs()], sess.get_providers()
    """,
    "carried by hand": """
        import numpy as np
        opts = ort.SessionOptions()
        opts.intra_op_num_threads = 1
        opts.inter_op_num_threads = 1
        opts.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_ALL
        opts.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
        opts.log_severity_level = 3
        ort.set_default_logger_severity(3)
        session = ort.InferenceSession(path, sess_options=opts)
        first = session.get_inputs()[0]
        state = {i.name: np.zeros([1 if not isinstance(d, int) else d for d in i.shape], dtype="float32")
                 for i in session.get_inputs()[1:]}
        result = []
        for t in range(9):
            x = np.full([d if isinstance(d, int) else 1 for d in first.shape], np.sin(t), np.float32)
            y, *new = session.run(None, {first.name: x, **state})
            state = dict(zip(state, new))
            result.append(y)
        told = session.get_session_options().intra_op_num_threads
    """,
    "io_binding": """
        import numpy as np
        with open(path, "rb") as file:
            s = ort.InferenceSession(file.read(), None, ["CPUExecutionProvider"])
        io = s.io_binding()
        rng = np.random.default_rng(1)
        arrays = {i.name: rng.random([d if isinstance(d, int) else 1 for d in i.shape]).astype(np.float32)
                  for i in s.get_inputs()}
        for n, (name, a) in enumerate(arrays.items()):
            if n == 0:
                io.bind_input(name, "cpu", 0, np.float32, a.shape, a.ctypes.data)
            elif n == 1:
                io.bind_cpu_input(name, a)
            else:
                io.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(a))
        outs = [o.name for o in s.get_outputs()]
        shape = s.run([outs[0]], arrays)[0].shape
        mem = ort.OrtValue.ortvalue_from_shape_and_type(shape, np.float32, "cpu", 0)
        io.bind_ortvalue_output(outs[0], mem)
        for name in outs[1:]:
            io.bind_output(name)
        s.run_with_iobinding(io)
        result = io.copy_outputs_to_cpu() + [mem.numpy()] + [v.numpy() for v in io.get_outputs()]
        next(iter(arrays.values()))[:] = 0.5
        s.run_with_iobinding(io)
        result.append(mem.numpy().copy())
        told = [v.shape() for v in io.get_outputs()], mem.data_type(), mem.device_name(), mem.is_tensor()
    """,
    "metadata": """
        session = ort.InferenceSession(path)
        meta = session.get_modelmeta()
        rate = int(meta.custom_metadata_map["sample_rate"])
        told = (meta.producer_name, meta.version, meta.description, meta.graph_name, meta.domain, rate,
                meta.custom_metadata_map, session.get_provider_options(), session.get_overridable_initializers(),
                ort.get_device())
        result = []
    """,
    "values": """
        import numpy as np
        session = ort.InferenceSession(path)
        rng = np.random.default_rng(2)
        feed = {i.name: ort.OrtValue.ortvalue_from_numpy(
            rng.random([d if isinstance(d, int) else 1 for d in i.shape]).astype("f")) for i in session.get_inputs()}
        ro = ort.RunOptions()
        ro.log_severity_level = 3
        outs = session.run_with_ort_values(None, feed, ro)
        v = next(iter(feed.values()))
        v.update_inplace(np.ones(v.shape(), np.float32))
        outs += session.run_with_ort_values([session.get_outputs()[0].name], feed, ro)
        as_list = {n: o.numpy().tolist() for n, o in feed.items()}
        result = [o.numpy() for o in outs] + session.run(None, as_list)
        import threading
        done, got = threading.Event(), []
        def callback(res, user_data, err):
            got.extend([*res, user_data, err]); done.set()
        session.run_async(None, {n: o.numpy() for n, o in feed.items()}, callback, "mine")
        assert done.wait(60)
        result += got[:-2]
        told = got[-2:], [o.shape() for o in outs], [o.element_type() for o in outs], v.has_value()
    """,
    "memory that is shared": """
        import numpy as np
        session = ort.InferenceSession(path)
        shapes = {i.name: [d if isinstance(d, int) else 1 for d in i.shape] for i in session.get_inputs()}
        buffers = {n: np.zeros(s, np.float32) for n, s in shapes.items()}
        values = {n: ort.OrtValue.ortvalue_from_numpy(b) for n, b in buffers.items()}  # made once, refilled before each call
        rng, result = np.random.default_rng(3), []
        for _ in range(3):
            for b in buffers.values():
                b[:] = rng.random(b.shape)
            result += [v.numpy().copy() for v in session.run_with_ort_values(None, values)]
        first = next(iter(values.values()))
        first.update_inplace(np.full(first.shape(), 2, np.float32))
        strided = np.repeat(next(iter(buffers.values())), 2, axis=-1)[..., ::2]
        result += [next(iter(buffers.values())), np.asarray(first), ort.OrtValue.ortvalue_from_numpy(strided).numpy()]
        told = np.shares_memory(first.numpy(), next(iter(buffers.values())))
    """,
    "names twice, profiling, options": """
        import numpy as np
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        refused = []
        wrong = {"no_such_option": 1, "intra_op_num_threads": "two", "logid": 3, "graph_optimization_level": "all"}
        for name, value in wrong.items():
            try:
                setattr(options, name, value)
            except (AttributeError, TypeError) as error:
                refused.append((name, isinstance(error, AttributeError)))
        session = ort.InferenceSession(path, options)
        feed = {i.name: np.ones([d if isinstance(d, int) else 1 for d in i.shape], np.float32) for i in session.get_inputs()}
        last = session.get_outputs()[-1].name
        result = session.run([last, session.get_outputs()[0].name, last], feed)
        stopped = ort.RunOptions()
        stopped.terminate = True
        for call in (lambda: session.run(None, feed, stopped),
                     lambda: session.run_with_ort_values(
                         None, {n: ort.OrtValue.ortvalue_from_numpy(a) for n, a in feed.items()}, stopped)):
            try:
                call()
                refused.append("ran")
            except Exception as error:
                refused.append("terminate" in str(error))
        told = refused, session.end_profiling(), options.has_providers(), len(result)
    """,
}


ERRORS = """
    import numpy as np
    session, result, told = ort.InferenceSession(path), [], []
    state = ort.capi.onnxruntime_pybind11_state
    feed = {i.name: np.ones([d if isinstance(d, int) else 1 for d in i.shape], np.float32) for i in session.get_inputs()}
    name = next(iter(feed))
    for kind, call in [
        (state.InvalidArgument, lambda: session.run(None, {**feed, name: feed[name].astype(np.float64)})),
        (state.InvalidArgument, lambda: session.run(["none"], feed)),
        (state.InvalidArgument, lambda: session.run(None, {**feed, "none": feed[name]})),
        (state.InvalidArgument, lambda: session.run(None, {**feed, name: feed[name][0]})),
        (state.NoSuchFile, lambda: ort.InferenceSession(path + ".none")),
        (state.InvalidProtobuf, lambda: ort.InferenceSession(b"no model")),
        ((state.Fail, state.InvalidGraph, state.NotImplemented, state.RuntimeException), lambda: ort.InferenceSession(broken)),
    ]:
        try:
            call()
        except kind:
            told.append(True)
"""


def test_errors_are_caught_by_the_names_of_the_original(tmp_path):
    import textwrap

    onnx_op = onnx.helper.make_node("NoSuchOperator", ["x"], ["y"])
    ports = [onnx.helper.make_tensor_value_info(name, 1, [1]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx_op], "g", ports[:1], ports[1:])
    broken = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)]).SerializeToString()
    for ort in (theirs, mine):
        names = {"ort": ort, "path": model_file(tmp_path), "broken": broken}
        exec(compile(textwrap.dedent(ERRORS), "errors", "exec"), names)
        assert names["told"] == [True] * 7


def test_the_errors_can_be_imported():
    from lstm_infer.onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, NoSuchFile

    assert issubclass(FeedError, (Fail, InvalidArgument)) and not issubclass(FeedError, NoSuchFile)


def test_classes_are_where_the_original_defines_them():
    from lstm_infer.onnxruntime.capi.onnxruntime_inference_collection import InferenceSession, IOBinding, OrtValue

    assert (InferenceSession, IOBinding, OrtValue) == (mine.InferenceSession, mine.IOBinding, mine.OrtValue)


def test_a_number_in_an_array_is_taken_for_a_scalar():
    """The sample rate of a voice detector, written np.array([16000])."""
    make, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph([make("Mul", ["x", "gain"], ["y"])], "g", [value("x", 1, [2]), value("gain", 1, [])],
                                   [value("y", 1, [2])])  # fmt: skip
    data = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    ).SerializeToString()
    feed = {"x": np.array([1, 2], np.float32), "gain": np.array([3], np.float32)}
    want, got = (ort.InferenceSession(data).run(None, feed)[0] for ort in (theirs, mine))
    np.testing.assert_array_equal(got, want)
    with pytest.raises(ShapeError, match=r"declared as \[\], got \[2\]"):
        mine.InferenceSession(data).run(None, {**feed, "gain": np.ones(2, np.float32)})


def passes_on(kind):
    """A model that gives back x, a row of this type."""
    ports = [onnx.helper.make_tensor_value_info(name, kind, [None]) for name in "xy"]
    graph = onnx.helper.make_graph([onnx.helper.make_node("Identity", ["x"], ["y"])], "g", ports[:1], ports[1:])
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=8).SerializeToString()


@pytest.mark.parametrize(
    ("kind", "value"),
    [("INT8", 300), ("UINT8", -1), ("UINT8", 256), ("INT32", 2**40), ("UINT64", -1), ("INT64", 1j), ("FLOAT", 1j)],
)
def test_a_number_of_a_list_that_does_not_fit_is_refused(kind, value):
    """It was wrapped around, or lost its imaginary part."""
    model = passes_on(getattr(onnx.TensorProto, kind))
    with pytest.raises(RuntimeError):
        theirs.InferenceSession(model).run(None, {"x": [value]})
    with pytest.raises(DtypeError, match=r"does not fit it|models take real numbers"):
        mine.InferenceSession(model).run(None, {"x": [value]})


@pytest.mark.parametrize("kind", ["INT8", "UINT8", "INT64", "UINT64", "FLOAT16", "FLOAT"])
def test_a_number_of_a_list_that_fits_is_taken(kind):
    kind = getattr(onnx.TensorProto, kind)
    dtype = onnx.helper.tensor_dtype_to_np_dtype(kind)
    for value in [0, 100] if dtype.kind == "f" else [np.iinfo(dtype).min, np.iinfo(dtype).max]:
        got = mine.InferenceSession(passes_on(kind)).run(None, {"x": [value]})[0]
        assert got.dtype == dtype and got.tolist() == [value]


def test_a_value_of_a_read_only_array_can_be_written_to():
    array = np.zeros(3, np.float32)
    array.flags.writeable = False
    value = mine.OrtValue.ortvalue_from_numpy(array)
    value.update_inplace(np.ones(3, np.float32))
    assert value.numpy().tolist() == [1, 1, 1] and not array.any()
    scalar = mine.OrtValue.ortvalue_from_numpy(np.array(16000))
    assert scalar.shape() == [] and scalar.element_type() == 7


def test_what_is_not_there_says_where_to_read():
    with pytest.raises(AttributeError, match=r"no 'LoraAdapter'; docs/onnxruntime\.md"):
        _ = mine.LoraAdapter
    with pytest.raises(ArgumentError, match="element_type"):
        mine.OrtValue.ortvalue_from_shape_and_type([1], 16)  # bfloat16, for which NumPy has no type


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_gives_the_same(name, tmp_path):
    import textwrap

    found = []
    for ort in (theirs, mine):
        names = {"ort": ort, "path": model_file(tmp_path)}
        exec(compile(textwrap.dedent(SCRIPTS[name]), name, "exec"), names)
        found.append((names["result"], names["told"]))
    (want, told), (got, said) = found
    assert said == told
    assert len(got) == len(want)
    for value, wanted in zip(got, want, strict=True):
        tolerances.like_onnxruntime(value, wanted, name)


def test_options_that_mean_nothing_are_named_once(tmp_path, monkeypatch):
    monkeypatch.setattr(ort_options, "_said", set())
    options = mine.SessionOptions()
    options.enable_profiling, options.intra_op_num_threads = True, 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    with pytest.warns(UserWarning, match=r"enable_profiling, intra_op_num_threads, session\.intra_op\.\w+, CUDAExec"):
        mine.InferenceSession(model_file(tmp_path), options, ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mine.InferenceSession(model_file(tmp_path), options, [("CUDAExecutionProvider", {"device_id": 0})])
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
    with pytest.raises(ArgumentError, match="no entry 'x'"):
        options.get_session_config_entry("x")


VALUES = [
    0,
    1,
    3,
    7,
    99,
    -1,
    1 << 31,
    1 << 40,
    True,
    False,
    None,
    1.0,
    1.5,
    "1",
    "all",
    "",
    [],
    {},
    np.int64(1),
    np.bool_(True),
]
"""What is tried for every option, beside a member of each enumeration."""


@pytest.mark.parametrize("kind", ["SessionOptions", "RunOptions"])
def test_an_option_takes_what_the_original_takes(kind):
    here = getattr(mine, kind)()
    plain = {name: getattr(here, name) for name in here.__dataclass_fields__ if not name.startswith("_")}
    enumerations = ("GraphOptimizationLevel.ORT_ENABLE_BASIC", "ExecutionMode.ORT_PARALLEL", "ExecutionOrder.DEFAULT")
    for name in plain:
        for value in (*VALUES, *enumerations):
            results = []
            for ort in (theirs, mine):
                options, given = getattr(ort, kind)(), value
                if value in enumerations if isinstance(value, str) else False:
                    of, _, member = value.partition(".")
                    given = getattr(getattr(ort, of), member)
                try:
                    setattr(options, name, given)
                    found = getattr(options, name)
                    results.append(found if isinstance(plain[name], str) else int(found))
                except TypeError:
                    results.append("TypeError")
            assert results[0] == results[1], (name, value, results)


def test_members_of_the_original_are_taken():
    options = mine.SessionOptions()
    options.graph_optimization_level = theirs.GraphOptimizationLevel.ORT_DISABLE_ALL
    assert options.graph_optimization_level is mine.GraphOptimizationLevel.ORT_DISABLE_ALL


@pytest.mark.parametrize(
    ("call", "remedy"),
    [
        (lambda data: mine.InferenceSession(data, session_options=mine.SessionOptions()), "is it sess_options=?"),
        (lambda data: mine.InferenceSession(data, provider=["CPUExecutionProvider"]), "is it providers=?"),
        (lambda data: mine.InferenceSession(data, verbose=True), "it takes path_or_bytes, sess_options, providers"),
        (lambda data: mine.InferenceSession(data, ["CPUExecutionProvider"]), "InferenceSession(path, providers=[...])"),
        (lambda data: mine.InferenceSession(data, mine.SessionOptions), "that is the class, write SessionOptions()"),
        (lambda data: mine.InferenceSession(data, {"threads": 1}), "write ort.SessionOptions()"),
        (lambda data: mine.InferenceSession(data, providers="CPUExecutionProvider"), "write ['CPUExecutionProvider']"),
        (lambda data: mine.InferenceSession(data, providers=[3]), "names, or (name, dict of options), expected, got 3"),
        (lambda data: mine.InferenceSession(data, None, ["CPUExecutionProvider"], [{}, {}]), "each of 1 providers"),
        (lambda data: mine.InferenceSession(data).run(None, {}, {"terminate": True}), "write ort.RunOptions()"),
        (lambda data: mine.InferenceSession(data).run({}, None), "write run(None, {'x': ...})"),
        (lambda data: mine.InferenceSession(data).run(None, np.ones(3)), "write run(None, {'x': ...})"),
        (lambda data: setattr(mine.SessionOptions(), "graph_optimization_level", 3), "GraphOptimizationLevel.ORT_ENABLE_L"),
        (lambda data: setattr(mine.SessionOptions(), "execution_mode", "fast"), "write ExecutionMode.ORT_SEQUENTIAL"),
        (lambda data: mine.SessionOptions().add_session_config_entry("a", 1), "config_value: a text expected, got 1"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_an_argument_names_it(call, remedy):
    with pytest.raises(ArgumentError) as caught:
        call(stream_models.hidden_state())
    assert remedy in str(caught.value) and "load()" not in str(caught.value)


@pytest.mark.parametrize("name", ["T", "B"])
def test_a_size_is_fixed_by_its_name(tmp_path, name):
    path, said = model_file(tmp_path), []
    for ort in (mine, theirs):
        options = ort.SessionOptions()
        options.add_free_dimension_override_by_name(name, 3)
        session = ort.InferenceSession(path, options)
        said.append([i.shape for i in session.get_inputs()])
        for T, B in ((3, 4), (4, 3)):
            feeds = {"x": np.zeros((T, B, 5), np.float32)}
            feeds |= {state: np.zeros((1, B, 19), np.float32) for state in ("h0", "c0")}
            if (name == "T") == (T == 3):
                session.run(None, feeds)
                continue
            with pytest.raises(Exception, match="4"):
                session.run(None, feeds)
    assert said[0] == said[1]


@pytest.mark.parametrize("error", [ValueError, SystemExit])
def test_what_a_call_back_raises_is_said_by_a_hook_and_the_session_goes_on(tmp_path, monkeypatch, error):
    """There by that of what cannot be raised, here by that of threads: both print it, and nobody else hears of it."""
    feeds = {"x": np.zeros((3, 4, 5), np.float32)} | {s: np.zeros((1, 4, 19), np.float32) for s in ("h0", "c0")}
    for ort, where in ((mine, (threading, "excepthook")), (theirs, (sys, "unraisablehook"))):
        said, told, answers = [], threading.Event(), []

        def hook(args, said=said, told=told):
            said.append(args.exc_type)
            told.set()

        def wrong(results, user_data, message):
            raise error

        def right(results, user_data, message, answers=answers, told=told):
            answers.append(len(results))
            told.set()

        monkeypatch.setattr(*where, hook)
        session = ort.InferenceSession(model_file(tmp_path))
        session.run_async(None, feeds, wrong, None)
        assert told.wait(60) and said == [error]
        told.clear()
        session.run_async(None, feeds, right, None)
        assert told.wait(60) and answers == [len(session.get_outputs())] and said == [error]


def test_what_does_not_fit_a_binding(tmp_path):
    session = mine.InferenceSession(model_file(tmp_path))
    io = session.io_binding()
    with pytest.raises(FeedError, match="no input 'z'"):
        io.bind_cpu_input("z", np.zeros(1))
    with pytest.raises(FeedError, match="no output 'z'"):
        io.bind_output("z")
    with pytest.raises(ArgumentError, match="all memory is the CPU's"):
        io.bind_output(session.get_outputs()[0].name, "cuda")
    with pytest.raises(ArgumentError, match="element_type"):
        mine.OrtValue.ortvalue_from_shape_and_type([1], "no type")
    value = mine.OrtValue.ortvalue_from_shape_and_type([2, 3], np.float32)
    with pytest.raises(ShapeError, match="expected, got"):
        value.update_inplace(np.zeros(3, np.float32))
    for i in session.get_inputs():
        io.bind_cpu_input(i.name, np.zeros([d if isinstance(d, int) else 1 for d in i.shape], np.float32))
    io.bind_ortvalue_output(session.get_outputs()[0].name, value)
    with pytest.raises(ShapeError, match="bound to"):
        session.run_with_iobinding(io)
    assert np.from_dlpack(value).shape == (2, 3)


def test_a_seed_is_that_of_later_sessions(monkeypatch):
    from lstm_infer.doors import onnxruntime as door

    monkeypatch.setattr(door, "_seed", [])
    mine.set_seed(5)
    assert mine.InferenceSession(stream_models.state_io()).model._options.seed == 5


def test_a_binding_without_outputs():
    session = mine.InferenceSession(stream_models.hidden_state())
    binding = session.io_binding()
    binding.bind_cpu_input("x", np.zeros((4, 1, stream_models.INPUTS), np.float32))
    with pytest.raises(FeedError, match=r"bind_output\(name\)"):
        session.run_with_iobinding(binding)
