"""docs/ops.md says what the registry says."""

from __future__ import annotations

import importlib.util
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "make_ops_table.py"


def test_table_is_up_to_date() -> None:
    spec = importlib.util.spec_from_file_location("make_ops_table", TOOL)
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert tool.PAGE.read_text(encoding="utf-8") == tool.page(), "run python tools/make_ops_table.py"
