"""The constants of a plan behind each other in one block, and that block as files for a compiler."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ...program.memory import ALIGN
from ...program.views import Buffer

__all__ = ["Blob"]

A_LINE = 6
"""Words of eight bytes in a line of the file of C."""


class Blob:
    """Constants, each placed when it is first asked for; equal ones lie in one place."""

    def __init__(self) -> None:
        self._by_content: dict[bytes, int] = {}
        self._by_buffer: dict[int, tuple[Buffer, int]] = {}
        self._parts: list[bytes] = []
        self.n_bytes = 0

    def at(self, buffer: Buffer) -> int:
        """Where a constant begins, in bytes."""
        found = self._by_buffer.get(id(buffer))
        if found is None:
            array: NDArray[np.generic] = buffer.keep[0]
            found = self._by_buffer[id(buffer)] = buffer, self.put(array.tobytes())
        return found[1]

    def put(self, data: bytes) -> int:
        """Where these bytes lie."""
        found = self._by_content.get(data)
        if found is None:
            found = self._by_content[data] = self.n_bytes
            padded = data + bytes(-len(data) % ALIGN)
            self._parts.append(padded)
            self.n_bytes += len(padded)
        return found

    def data(self) -> bytes:
        """All of it; never empty."""
        return b"".join(self._parts) or bytes(ALIGN)


def assembled(symbol: str, file: str) -> str:
    """The assembler source that takes the block from its file."""
    return f"""/* {symbol}: the constants of the model, from {file}. */
#if defined(__APPLE__) || (defined(_WIN32) && !defined(_WIN64))
#define SYMBOL _{symbol}
#else
#define SYMBOL {symbol}
#endif
#if defined(__APPLE__)
    .section __TEXT,__const
#elif defined(_WIN32)
    .section .rdata,"dr"
#else
    .section .rodata.{symbol},"a",%progbits
    .type SYMBOL, %object
#endif
    .globl SYMBOL
    .balign {ALIGN}
SYMBOL:
    .incbin "{file}"
#if defined(__ELF__)
    .size SYMBOL, . - SYMBOL
    .section .note.GNU-stack,"",%progbits
#endif
"""


def as_c(symbol: str, data: bytes) -> str:
    """The block as an array of C: what a compiler takes where there is no assembler."""
    words = np.frombuffer(data + bytes(-len(data) % 8), "<u8")
    lines = [
        ", ".join(f"0x{word:x}" for word in words[at : at + A_LINE].tolist()) for at in range(0, len(words), A_LINE)
    ]
    return (
        f"/* {symbol}: the constants of the model, little endian, {len(data)} bytes. */\n"
        f"#include <stdint.h>\n\nextern const uint64_t {symbol}[{len(words)}];\n"
        f"_Alignas({ALIGN}) const uint64_t {symbol}[{len(words)}] = {{\n    " + ",\n    ".join(lines) + "\n};\n"
    )
