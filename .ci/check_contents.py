"""What a source archive and an installation must hold and must not.

python .ci/check_contents.py sdist FOLDER         every file of the repository but the dot files
python .ci/check_contents.py installed FOLDER     typed, with the demo's model; no sources of the extension modules
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def sdist(folder: Path) -> list[str]:
    tracked = subprocess.run(["git", "ls-files"], check=True, capture_output=True, text=True).stdout.split()
    wanted = {name for name in tracked if not name.startswith(".")}
    held = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    made = {name for name in held if ".egg-info/" in name or name in ("PKG-INFO", "setup.cfg")}
    return [f"lacks {name}" for name in sorted(wanted - held)] + [
        f"holds {name}, which is not in the repository" for name in sorted(held - wanted - made)
    ]


def installed(folder: Path) -> list[str]:
    package = folder / "lstm_infer"
    held = {str(path.relative_to(package)) for path in package.rglob("*") if path.is_file()}
    wanted = {
        "py.typed",
        "_core.pyi",
        "_check.pyi",
        "_stream.pyi",
        "cli/demo/amp.onnx",
        "__init__.py",
        "cli/command.py",
    }
    wrong = [f"lacks {name}" for name in sorted(wanted - held)]
    wrong += [f"holds {name}" for name in sorted(held) if Path(name).suffix in (".pyx", ".pxd", ".c", ".h")]
    modules = [name for name in ("_core", "_stream", "_states", "_check") if not list(package.glob(f"{name}.*.so"))]
    return wrong + [f"lacks the module {name}" for name in modules]


def main() -> int:
    what, folder = sys.argv[1:]
    wrong = {"sdist": sdist, "installed": installed}[what](Path(folder))
    for line in wrong:
        print(f"{what} {line}", file=sys.stderr)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
