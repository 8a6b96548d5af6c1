"""The README says what is so: its Python runs as pasted, its command lines parse, its links lead somewhere."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest

import shared_files

README = (shared_files.ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def step_model() -> bytes:
    """x [B, 5], h, c -> y, h', c': an LSTM cell as one step, names of the outputs unlike those of the inputs."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    rng = np.random.default_rng(0)
    n_units = 7
    weights = {
        "W": rng.uniform(-1, 1, (1, 4 * n_units, 5)),
        "R": rng.uniform(-1, 1, (1, 4 * n_units, n_units)),
        "D": rng.uniform(-1, 1, (n_units, 3)),
    }
    constants = [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()]
    constants.append(numpy_helper.from_array(np.array([0], np.int64), "zero"))
    nodes = [
        helper.make_node("Unsqueeze", ["x", "zero"], ["x3"]),
        helper.make_node("LSTM", ["x3", "W", "R", "", "", "h", "c"], ["", "later", "memory"], hidden_size=n_units),
        helper.make_node("Squeeze", ["later", "zero"], ["last"]),
        helper.make_node("MatMul", ["last", "D"], ["y"]),
    ]

    def port(name: str, *shape: int | str) -> object:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    state = (1, "B", n_units)
    graph = helper.make_graph(
        nodes,
        "step",
        [port("x", "B", 5), port("h", *state), port("c", *state)],
        [port("y", "B", 3), port("later", *state), port("memory", *state)],
        constants,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def test_python_runs_as_pasted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks one after the other, in a folder that holds the files they name."""
    from lstm_infer.cli.demo.show import MODEL

    shutil.copy(MODEL, tmp_path / "model.onnx")
    (tmp_path / "step.onnx").write_bytes(step_model())
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    found = blocks("python")
    assert len(found) == 3
    for block in found:
        exec(compile(block, "README.md", "exec"), names)


def test_the_first_example_is_short() -> None:
    assert len([line for line in blocks("python")[0].splitlines() if line.strip()]) <= 12


def test_the_two_commands_stand_first() -> None:
    assert blocks("sh")[:2] == ["pip install . && lstm-infer demo\n", "pip install '.[test]' && pytest\n"]


def test_command_lines_parse() -> None:
    from lstm_infer.cli import command as cli

    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("lstm-infer")]
    assert lines
    for line in lines:
        arguments = cli._parser().parse_args(shlex.split(line, comments=True)[1:])
        assert callable(arguments.call), line


def test_links_lead_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (shared_files.ROOT / target).exists(), target


def test_what_is_called_not_built_is_refused() -> None:
    listed = re.search(r"Not built:\n(.*?)\.\n", README, re.DOTALL)
    names = re.findall(r"`(\w+)`", listed[1]) if listed else []
    assert names
    table = (shared_files.ROOT / "docs" / "ops.md").read_text(encoding="utf-8")  # itself tested against the registry
    built = set(re.findall(r"^\| (\w+) \|", table, re.MULTILINE))
    assert not built & set(names), "these are built now: take them out of the README"


def test_precisions_and_threads_are_refused_as_the_readme_says() -> None:
    import lstm_infer
    from lstm_infer.cli.demo.show import MODEL

    for option in ({"precision": "bf16"}, {"threads": 2}):
        with pytest.raises(ValueError, match=r"not built|expected"):
            lstm_infer.load(MODEL, **option)
