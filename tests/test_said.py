"""What the commands print and draw, whatever a file calls its parts, is called itself, and whatever stands open."""

from __future__ import annotations

import os
import subprocess
import sys
import unicodedata
from pathlib import Path

import numpy as np
import onnx
import pytest

import lstm_infer
import stream_models
from lstm_infer.cli.command import main
from lstm_infer.cli.demo.show import MODEL
from lstm_infer.cli.describe import describe
from lstm_infer.records import printable

ODD = "\x1b[31m\r\x07$\\odd$\u202e\u2028[bold]"
"""Orders to a terminal, a formula to matplotlib, text from right to left, the end of a line, a style to rich."""


@pytest.fixture
def odd(tmp_path):
    """A file with such names."""
    model = onnx.load_from_string(stream_models.hidden_state())
    model.graph.input[0].name = model.graph.node[0].input[0] = f"x{ODD}"
    for n, node in enumerate(model.graph.node):
        node.name = f"n{n}{ODD}"
    model.graph.name, model.producer_name = f"g{ODD}", f"p{ODD}"
    path = tmp_path / "odd.onnx"
    path.write_bytes(model.SerializeToString())
    return path


def obeyed(text):
    """What a terminal would obey."""
    return sorted({c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")} - {"\n"})


@pytest.mark.parametrize(
    "command", ["inspect", "verify", "bench --rounds 1", "bench --profile", "precision", "convert"]
)
def test_names_are_said_as_text(command, odd, tmp_path, capsys):
    if command in ("verify", "bench --rounds 1"):
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    name, *options = command.split()
    options += [str(tmp_path / "odd.lsi")] * (name == "convert") + ["--steps", "20"] * (name == "precision")
    assert main([name, str(odd), *options]) == 0
    said = capsys.readouterr()
    assert not obeyed(said.out + said.err)


def test_reports_in_python_are_text(odd, tmp_path):
    model = lstm_infer.load(odd)
    made = lstm_infer.convert(model, tmp_path / "odd.onnx", force=True)
    assert (
        not obeyed(str(made))
        and not obeyed(model.summary())
        and not obeyed(repr(model))
        and not obeyed(repr(model.stream()))
    )


def test_names_are_drawn_as_text(odd, tmp_path, capsys):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    picture = tmp_path / "errors.png"
    assert main(["precision", str(odd), "--steps", "20", "--plot", str(picture)]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "missing from font" not in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text elsewhere")
def test_a_name_of_a_file_that_is_no_text(odd, tmp_path, capsys):
    path = Path(os.fsdecode(bytes(tmp_path) + b"/\xff.onnx"))
    path.write_bytes(odd.read_bytes())
    page = tmp_path / "net.html"
    assert main(["inspect", str(path), "--html", str(page)]) == 0
    assert "\\udcff.onnx" in page.read_text(encoding="utf-8")
    assert printable(str(path)).encode()


@pytest.mark.skipif(sys.platform == "win32", reason="no shell of POSIX")
@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_closed_standard_streams(closed):
    done = subprocess.run(
        f'"{sys.executable}" -m lstm_infer isa {closed}', shell=True, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr


def test_the_option_is_named_beside_the_argument(tmp_path, capsys):
    assert main(["convert", str(MODEL), str(tmp_path / "amp")]) == 2
    assert "--to" in capsys.readouterr().err


def with_first_states(learned):
    """A GRU whose first state, of the batch's size, is computed: zeros, or a parameter for each unit."""
    rng = np.random.default_rng(0)
    make, initial = onnx.helper.make_node, onnx.numpy_helper.from_array
    weights = {"W": rng.normal(size=(1, 12, 3)), "R": rng.normal(size=(1, 12, 4)), "first": rng.normal(size=(1, 1, 4))}
    nodes = [
        make("Shape", ["x"], ["batch"], start=1, end=2),
        make("Concat", ["one", "batch", "units"], ["shape"], axis=0),
        make("Expand", ["first", "shape"], ["h"]) if learned else make("ConstantOfShape", ["shape"], ["h"]),
        make("GRU", ["x", "W", "R", "", "", "h"], ["y"], hidden_size=4),
    ]
    sizes = {"one": np.array([1]), "units": np.array([4])}
    consts = [initial(a.astype(np.float32), n) for n, a in weights.items()] + [initial(a, n) for n, a in sizes.items()]
    ports = (
        [onnx.helper.make_tensor_value_info("x", 1, ["T", "B", 3])],
        [onnx.helper.make_tensor_value_info("y", 1, ["T", 1, "B", 4])],
    )
    graph = onnx.helper.make_graph(nodes, "g", *ports, consts)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=9)


@pytest.mark.parametrize("learned", [False, True])
def test_parameters_are_those_of_the_file(learned):
    found = describe(lstm_infer.load(with_first_states(learned)), "m.onnx")
    assert found.parameters == 12 * 3 + 12 * 4 + 4 * learned  # zeros for each signal of a batch are none


def test_parameters_of_the_demo_are_its_floats():
    graph = onnx.load(MODEL).graph
    floats = sum(int(np.prod(one.dims)) for one in graph.initializer if one.data_type == onnx.TensorProto.FLOAT)
    assert describe(lstm_infer.load(MODEL), "m.onnx").parameters == floats
