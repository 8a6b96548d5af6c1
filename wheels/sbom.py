"""What a wheel is made of, as CycloneDX in `.dist-info/sboms/` (PEP 770): the package, and what the build compiles into it.

setup.py writes it. What a wheel holds is looked at by

    pip install 'cyclonedx-python-lib[json-validation]'
    python wheels/sbom.py dist/*.whl                     # against the schema of CycloneDX too, where that is installed

No date and no random serial number: the same commit, built with the same tools, gives the same bytes.
"""

from __future__ import annotations

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

NAME = "lstm_infer.cdx.json"
LINKED = {
    "cython": ("Apache-2.0", "its support code stands in each extension module that it writes"),
    "numpy": ("BSD-3-Clause", "inline code of its C headers, compiled into each extension module"),
}
"""What of others is compiled into the extension modules: licence, and how it gets there."""
SPEC = "1.6"


def component(name: str, version: str, licence: str, description: str) -> dict[str, Any]:
    """Return one entry: a package of the Python Package Index."""
    purl = f"pkg:pypi/{name.replace('_', '-')}@{version}"
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "description": description,
        "licenses": [{"license": {"id": licence}}],
        "purl": purl,
    }


def bill(version: str, linked: dict[str, str]) -> dict[str, Any]:
    """Return the bill of this version, built with these versions of what is linked in."""
    if set(linked) != set(LINKED):
        raise ValueError(f"versions of {sorted(LINKED)} expected, got {sorted(linked)}")
    package = component("lstm_infer", version, "MIT", "the package: Python, its kernels in C, its modules in Cython")
    parts = [component(name, linked[name], *LINKED[name]) for name in sorted(linked)]
    refs = [part["bom-ref"] for part in parts]
    return {
        "$schema": f"http://cyclonedx.org/schema/bom-{SPEC}.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "version": 1,
        "metadata": {"component": package},
        "components": parts,
        "dependencies": [{"ref": package["bom-ref"], "dependsOn": refs}, *({"ref": ref} for ref in refs)],
    }


def write(dist_info: Path, version: str, linked: dict[str, str]) -> None:
    """Write the bill into a `.dist-info` folder."""
    folder = dist_info / "sboms"
    folder.mkdir(exist_ok=True)
    (folder / NAME).write_text(json.dumps(bill(version, linked), indent=2) + "\n", encoding="utf-8")


def faults(text: str, version: str) -> list[str]:
    """What is wrong with the bill of this version of the package."""
    try:
        found = json.loads(text)
    except ValueError as error:
        return [f"its SBOM is no JSON: {error}"]
    try:
        linked = {part["name"]: part["version"] for part in found["components"]}
        if found != bill(version, linked):
            return [f"its SBOM is not the one of {version}"]
    except (KeyError, TypeError, ValueError) as error:
        return [f"its SBOM lists something else: {error}"]
    return []


def faults_of_wheel(wheel: Path) -> list[str]:
    """What is wrong with the SBOM of a wheel."""
    version = wheel.name.split("-")[1]
    entry = f"lstm_infer-{version}.dist-info/sboms/{NAME}"
    with zipfile.ZipFile(wheel) as held:
        if entry not in held.namelist():
            return [f"lacks {entry}"]
        return faults(held.read(entry).decode(), version)


def schema_faults(wheel: Path) -> list[str]:
    """What the schema of CycloneDX says of it."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    version = wheel.name.split("-")[1]
    with zipfile.ZipFile(wheel) as held:
        text = held.read(f"lstm_infer-{version}.dist-info/sboms/{NAME}").decode()
    error = JsonStrictValidator(SchemaVersion.from_version(SPEC)).validate_str(text)
    return [f"the schema refuses its SBOM: {error}"] if error else []


def main() -> int:
    try:
        import cyclonedx  # noqa: F401
    except ImportError:
        print("cyclonedx-python-lib is not here: not compared with the schema", file=sys.stderr)
        by_schema = False
    else:
        by_schema = True
    status = 0
    for wheel in map(Path, sys.argv[1:]):
        wrong = faults_of_wheel(wheel)
        wrong += schema_faults(wheel) if by_schema and not wrong else []
        print(f"{wheel.name}: {'; '.join(wrong) or ('valid by schema' if by_schema else 'fine')}")
        status |= bool(wrong)
    return status


if __name__ == "__main__":
    sys.exit(main())
