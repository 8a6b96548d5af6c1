"""The page about Ray and Spark says what is in the files that are run."""

from __future__ import annotations

import ast
import inspect
import re

import pytest

import shared_files

PAGE = (shared_files.ROOT / "docs" / "engines.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_code_for_spark_is_that_of_the_example() -> None:
    example = (shared_files.ROOT / "examples" / "spark_keyed.py").read_text(encoding="utf-8")
    spark = [block for block in BLOCKS if block.startswith("def ")]
    assert len(spark) == 2 and all(block in example for block in spark)


def test_the_calls_for_ray_are_taken() -> None:
    """Names and arguments; test_ray.py runs them where Ray is installed."""
    pytest.importorskip("pyarrow", reason="tables need pyarrow")
    adapter = pytest.importorskip("lstm_infer.ray")
    seen = set()
    for block in BLOCKS:
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "score_keyed":
                seen.add("score_keyed")
                inspect.signature(adapter.score_keyed).bind(*node.args, **{k.arg or "": k.value for k in node.keywords})
                told = {k.arg for k in node.keywords}
                assert {"before", "after", "features", "time"} <= told
            if isinstance(node, ast.keyword) and node.arg == "fn_constructor_kwargs":
                seen.add("Sequences")
                inspect.signature(adapter.Sequences).bind(**ast.literal_eval(node.value))
    assert seen == {"score_keyed", "Sequences"}
