"""help() says something of every public name: what it takes, in which shape and dtype, and what it raises."""

from __future__ import annotations

import doctest
import inspect
import io
from typing import Any

import pytest

import lstm_infer

METHODS = ["load", "Model.run", "Model.stream", "Stream.step", "Stream.run", "Stream.flush", "Stream.restore"]


def public() -> dict[str, Any]:
    """Public names, and those of their public members, also the inherited ones."""
    found = {}
    for name in lstm_infer.__all__:
        found[name] = item = getattr(lstm_infer, name)
        if inspect.isclass(item) and not issubclass(item, BaseException):
            own = [key for base in item.__mro__ if base.__module__.startswith("lstm_infer") for key in vars(base)]
            found |= {f"{name}.{key}": getattr(item, key) for key in own if not key.startswith("_")}
    found.pop("__version__")
    return {name: item for name, item in found.items() if callable(item) or isinstance(item, property)}


@pytest.mark.parametrize("name", public())
def test_it_has_a_docstring(name: str) -> None:
    text = inspect.getdoc(public()[name]) or ""
    sentence = text.removeprefix(text.partition("\n")[0]) if text.startswith(name.rpartition(".")[2] + "(") else text
    assert len(sentence.strip()) > 20, f"help() of {name} says {text!r}"


EXAMPLES = ["load", "convert", "Model.run", "Model.stream", "Model.pool"]


def test_where_examples_are() -> None:
    """In what everybody calls, and nowhere unseen by the test below."""
    assert set(EXAMPLES) <= {name for name, item in public().items() if ">>> " in (inspect.getdoc(item) or "")}


@pytest.mark.parametrize("name", public())
def test_examples_run(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)  # where what they write goes
    found = doctest.DocTestParser().get_doctest(inspect.getdoc(public()[name]) or "", {}, name, None, 0)
    said = io.StringIO()
    assert doctest.DocTestRunner().run(found, out=said.write).failed == 0, said.getvalue()


@pytest.mark.parametrize("name", METHODS)
def test_what_is_called_with_arrays_says_what_it_raises(name: str) -> None:
    assert "Raises\n------" in (inspect.getdoc(public()[name]) or "")
