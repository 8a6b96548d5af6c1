"""Arrays of others as arrays of NumPy, without a copy: tensors of torch, what has `__dlpack__`, what has a buffer.

Whatever takes arrays takes these too. They are looked at where an exact array is not given: that costs an exact one nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import DtypeError
from .imported import is_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["view", "viewed", "views_of", "wrong_dtype"]

CPU = 1
"""What `__dlpack_device__` says of memory that this engine can read: kDLCPU of dlpack.h."""


def view(what: str, want: object, value: Any) -> NDArray[Any]:
    """One array of others; an error that names the remedy where it is none. `want`: the dtype that is taken."""
    if isinstance(value, np.ndarray):
        return value
    try:
        return _view(value)
    except Exception as error:  # what strangers raise
        raise DtypeError(f"{what} takes an array of {want}, got {_why_not(want, value, error)}") from None


def wrong_dtype(what: str, want: object, got: object) -> DtypeError:
    """The error of an array of another dtype; its remedy is right for arrays, tensors and buffers."""
    more = f" (bytes: np.frombuffer(x, np.{want}))" if got == np.uint8 else ""
    if got == np.int16 and np.dtype(want).kind == "f":  # type: ignore[call-overload]
        more = " (16-bit audio also by its scale: np.asarray(x, np.float32) / 32768)"
    if getattr(got, "kind", "") == "c":  # a conversion would drop the imaginary parts
        return DtypeError(
            f"{what} takes {want}, got {got}; models take real numbers: np.abs(x) where they are magnitudes, or real and imaginary "
            f"parts on an axis of their own (np.stack([x.real, x.imag], axis).astype(np.{want}))"
        )
    return DtypeError(f"{what} takes {want}, got {got}; convert it with np.asarray(x, np.{want}){more}")


def views_of(x: Any, out: Any) -> tuple[Any, Any, bool]:
    """What a call is given, arrays of others as views, also inside a dict; and whether there were any. What cannot be viewed
    stays as it is: who looks for the names of inputs says what is wrong."""
    new_x, new_out = _viewed(x), _viewed(out)
    return new_x, new_out, new_x is not x or new_out is not out


def _viewed(value: Any) -> Any:
    if type(value) is not dict:
        return viewed(value)
    held = dict(value)  # in one go: others may change it while strangers are asked for their memory
    found = {name: viewed(one) for name, one in held.items()}
    return found if any(found[name] is not held[name] for name in found) else value


def viewed(value: Any) -> Any:
    """One of others as a view; what cannot be viewed stays as it is."""
    if value is None or isinstance(value, (np.ndarray, list, tuple)):
        return value
    try:
        return _view(value)
    except Exception:  # what strangers raise
        return value


def _view(value: Any) -> NDArray[Any]:
    """The same memory. Raises whatever the other side raises, TypeError where there is none."""
    if is_of("torch", "Tensor", value):
        found: NDArray[Any] = value.numpy()  # a third of what DLPack takes, and never a copy
        return found
    if hasattr(type(value), "__dlpack__"):
        return np.from_dlpack(value)
    return np.asarray(memoryview(value))


def _why_not(want: object, value: Any, error: Exception) -> str:
    """What was given, and what to do."""
    kind = type(value).__name__
    device = _device(value)
    try:
        grad = bool(getattr(value, "requires_grad", False))
    except Exception:  # whatever a stranger's attribute does
        grad = False
    if grad:
        return f"a {kind} that requires grad; give x.detach()"
    if device:
        return f"a {kind} on the device {device}; this engine runs on the CPU: give x.cpu()"
    if isinstance(value, (list, tuple, int, float, complex)):
        return f"{kind}; write np.asarray(x, np.{want})"
    if hasattr(type(value), "__dlpack__"):
        of = str(getattr(value, "dtype", kind))
        remedy = "give it as an array of NumPy" if of.endswith(str(want)) else f"convert it to {want} first"
        return f"a {kind} of {of} that cannot be read as an array ({error}); {remedy}"
    return f"{kind}; give a NumPy array, a tensor on the CPU or a buffer: np.asarray(x, np.{want})"


def _device(value: Any) -> str:
    """Where a tensor lies; "" for the CPU, and for what is none."""
    try:
        if value.__dlpack_device__()[0] == CPU:
            return ""
        return str(getattr(value, "device", None) or f"{value.__dlpack_device__()} of DLPack")
    except Exception:  # no tensor, or one whose device DLPack does not know
        named = str(getattr(value, "device", "cpu"))
        return "" if named == "cpu" else named
