"""Writes docs/ops.md, the table of operators, from the registry: python tools/make_ops_table.py [--check]."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from onnx.defs import OpSchema, get_all_schemas_with_history

from lstm_infer import ops  # noqa: F401  (registers the operators)
from lstm_infer.ops.registry import Op, registered

PAGE = Path(__file__).parent.parent / "docs" / "ops.md"

HEAD = """\
# Operators

Written by `tools/make_ops_table.py` from the registry in `src/lstm_infer/ops`; a test keeps it up to date. What is not
listed is replaced by the function that ONNX defines it by (Attention, RotaryEmbedding, AffineGrid, CenterCropPad,
HannWindow ...), or, where there is none, refused when the model is loaded, by name.

- **opsets**: versions of the domain. The importer brings older files into the newest form, so that attributes which
  became inputs are inputs.
- **types**: of the data. Every float is computed in float32, whatever its declared type; integers exactly.
- **runs**: kernel slots (`kernels/li_kernels.h`); *view*: no work at all; *known*: computed when the plan is made;
  *host*: NumPy between two C plans. Operators whose inputs are all constant are folded.

| operator | domain | opsets | types | runs | notes |
|---|---|---|---|---|---|
"""


def row(op: Op, schemas: Sequence[OpSchema]) -> str:
    """One line of the table."""
    low, high = op.opsets
    versions = [schema.since_version for schema in schemas if (schema.domain, schema.name) == (op.domain, op.name)]
    low = max(low, min(versions, default=low))
    runs = op.runs or ("host" if op.lower is None else "kernel")
    cells = (op.name, op.domain or "ai.onnx", f"{low}-{high or 'newest'}", op.dtypes, runs, op.note)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def page() -> str:
    """The whole page."""
    schemas = get_all_schemas_with_history()
    return HEAD + "".join(row(op, schemas) for op in registered())


def main() -> int:
    """Write the page, or with --check say whether it is up to date."""
    if "--check" in sys.argv[1:]:
        return int(not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page())
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
