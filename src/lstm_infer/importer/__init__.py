"""ONNX files to Graphs: the only place of the engine that knows protobuf, loaded only while a file is read.

What comes out is in one modern form whatever opset went in (see `opsets.py`), with constants as arrays, functions
inlined, names unique, nodes in order, and nothing in it that no output needs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lstm_infer.errors import LstmInferError, OnnxImportError
from lstm_infer.graph.ir import Graph

if TYPE_CHECKING:
    from lstm_infer.typing import Source

__all__ = ["read"]


def read(source: Source, built: Callable[[str, str, int], bool] | None = None) -> Graph:
    """Read an ONNX model.

    Parameters
    ----------
    source : path, bytes, onnx.ModelProto or torch.onnx.ONNXProgram
        External data is looked for beside the file, so only a path can have it.
    built : callable, optional
        Says whether an operator (domain, name, opset) is built; one that is not is replaced by the function that ONNX
        defines it by, where there is one. None: every operator stays as it is.

    Returns
    -------
    Graph
        Arrays in it are read-only where they share memory with the file's bytes.

    Raises
    ------
    OnnxImportError
        The file is missing, broken, not ONNX, or says something that cannot be run faithfully.
    UnsupportedOpError
        An operator version that is not built.
    """
    try:
        from lstm_infer.importer.build import build
        from lstm_infer.importer.source import parse
    except ImportError as error:
        raise OnnxImportError(
            f"reading ONNX needs the packages onnx and protobuf: {error}; pip install onnx"
        ) from error
    label = "the model"
    try:
        model, file = parse(source)
        label = file.label
        return build(model, file, built)
    except LstmInferError:
        raise
    except (MemoryError, RecursionError) as error:
        raise OnnxImportError(f"{label}: too large or too deep to read ({type(error).__name__})") from error
    except UnicodeDecodeError as error:
        raise OnnxImportError(f"{label}: a name in it is not UTF-8 text; the file is damaged") from error
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, OSError) as error:
        raise OnnxImportError(f"{label}: cannot be read: {type(error).__name__}: {error}; is it damaged?") from error
