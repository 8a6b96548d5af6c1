"""The bill of a wheel: what is linked in, the same bytes each time, and what is wrong with another one is said."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest

import shared_files

SBOM = runpy.run_path(str(shared_files.ROOT / "wheels" / "sbom.py"))
LINKED = {"cython": "3.1.0", "numpy": "2.0.0"}


def test_what_is_linked_in() -> None:
    bill = SBOM["bill"]("1.2.3", LINKED)
    assert bill["metadata"]["component"]["purl"] == "pkg:pypi/lstm-infer@1.2.3"
    assert [part["purl"] for part in bill["components"]] == ["pkg:pypi/cython@3.1.0", "pkg:pypi/numpy@2.0.0"]
    refs = {part["bom-ref"] for part in [bill["metadata"]["component"], *bill["components"]]}
    assert {entry["ref"] for entry in bill["dependencies"]} == refs
    with pytest.raises(ValueError, match="cython"):
        SBOM["bill"]("1.2.3", {"numpy": "2.0.0"})


def test_the_same_bytes(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        SBOM["write"](tmp_path / name, "1.2.3", LINKED)
    first, second = (tmp_path / name / "sboms" / SBOM["NAME"] for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert not SBOM["faults"](first.read_text(), "1.2.3")


def test_faults() -> None:
    bill = SBOM["bill"]("1.2.3", LINKED)
    assert "not the one of 1.2.4" in SBOM["faults"](json.dumps(bill), "1.2.4")[0]
    assert "no JSON" in SBOM["faults"]("{", "1.2.3")[0]
    assert "something else" in SBOM["faults"](json.dumps({**bill, "components": bill["components"][:1]}), "1.2.3")[0]
    bill["components"][0]["licenses"] = []
    assert "not the one of 1.2.3" in SBOM["faults"](json.dumps(bill), "1.2.3")[0]


def test_the_schema_takes_it() -> None:
    schema = pytest.importorskip("cyclonedx.schema", reason="needs cyclonedx-python-lib[json-validation]")
    validation = pytest.importorskip("cyclonedx.validation.json")
    check = validation.JsonStrictValidator(schema.SchemaVersion.from_version(SBOM["SPEC"])).validate_str
    bill = SBOM["bill"]("1.2.3", LINKED)
    try:
        assert check(json.dumps(bill)) is None
    except ImportError as error:  # the library without its extra
        pytest.skip(f"needs cyclonedx-python-lib[json-validation]: {error}")
    assert check(json.dumps({**bill, "components": [{"name": "no type"}]})) is not None
