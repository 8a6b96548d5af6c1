"""What a source archive and an installation must hold and must not.

python .ci/check_contents.py sdist FOLDER         every file of the repository but the dot files
python .ci/check_contents.py installed FOLDER     every file of the package but the sources of the extension modules
"""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path

NOT_INSTALLED = (".pyx", ".pxd", ".c", ".h")
KERNELS = "conversion/c/kernels/"
"""What convert copies into a folder of C: the sources of the kernels, and no others."""


def tracked(under: str = ".") -> list[str]:
    """The files of the repository."""
    return subprocess.run(["git", "ls-files", under], check=True, capture_output=True, text=True).stdout.split()


def sdist(folder: Path) -> list[str]:
    wanted = {name for name in tracked() if not name.startswith(".")}
    held = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    made = {name for name in held if ".egg-info/" in name or name in ("PKG-INFO", "setup.cfg")}
    return [f"lacks {name}" for name in sorted(wanted - held)] + [
        f"holds {name}, which is not in the repository" for name in sorted(held - wanted - made)
    ]


def installed(folder: Path) -> list[str]:
    package, source = folder / "lstm_infer", "src/lstm_infer/"
    held = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    wanted = {name.removeprefix(source) for name in tracked(source) if Path(name).suffix not in NOT_INSTALLED}
    wanted |= {KERNELS + name.removeprefix("kernels/") for name in tracked("kernels") if not name.endswith(".md")}
    wrong = [f"lacks {name}" for name in sorted(wanted - held)]
    wrong += [f"holds {name}" for name in sorted(held - wanted) if Path(name).suffix in NOT_INSTALLED]
    modules = [
        name
        for name in ("_core", "_stream", "_states", "_rig", "_pool", "_keys", "_check")
        if not list(package.glob(f"{name}.*.so"))
    ]
    wrong += [f"lacks the module {name}" for name in modules]
    bills = list(folder.glob("lstm_infer-*.dist-info/sboms/lstm_infer.cdx.json"))
    if len(bills) != 1:
        return [*wrong, "lacks its SBOM"]
    version = bills[0].parts[-3].removeprefix("lstm_infer-").removesuffix(".dist-info")
    return wrong + runpy.run_path("wheels/sbom.py")["faults"](bills[0].read_text(), version)


def main() -> int:
    what, folder = sys.argv[1:]
    wrong = {"sdist": sdist, "installed": installed}[what](Path(folder))
    for line in wrong:
        print(f"{what} {line}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
