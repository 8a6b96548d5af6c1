"""Voice activity of many callers: a WebSocket server on a pool.

    pip install 'lstm_infer[serve]'
    python examples/serve_vad/server.py [--model silero_vad.onnx] [--port 8765]

A caller sends 16 kHz audio as 16-bit samples in binary messages of any length, and is answered with a float32 for each 32 ms, in
order: how likely somebody speaks. GET /stats says how the server fares. What is done against callers who misbehave: one who
vanishes is found by a ping, one who sends far faster than the sound plays, or does not read the answers, is cut off.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent))
with contextlib.suppress(ImportError):  # of the folder above: says what to install
    import needs  # noqa: F401

import argparse
import asyncio
import gc
import json
from asyncio import Future
from dataclasses import asdict
from typing import Any

from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)
from vad import HOP_BYTES, Windows, load, run

import lstm_infer

BINARY = WSMsgType.BINARY
MOST_AHEAD = 64
"""Windows of one caller that may wait: two seconds of sound."""
MOST_UNREAD = 1 << 16
"""Bytes of answers that a caller has not read."""


class Caller(WSListener):  # type: ignore[misc]
    """One connection is one signal of the pool."""

    def __init__(self, pool: lstm_infer.StreamPool) -> None:
        self.pool, self.windows, self.rest, self.waiting, self.gone = pool, Windows(), b"", 0, False

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport, self.id = transport, self.pool.open()
        transport.underlying_transport.set_write_buffer_limits(MOST_UNREAD)
        self.is_closing = transport.underlying_transport.is_closing

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """However the caller went."""
        self.gone = True
        self.pool.close(self.id)  # what still waits is not stepped

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        kind = frame.msg_type
        if kind is BINARY or kind is WSMsgType.CONTINUATION:
            audio = self.rest + frame.get_payload_as_bytes() if self.rest else frame.get_payload_as_bytes()
            at = 0
            while len(audio) - at >= HOP_BYTES and not self.gone:
                self.step(audio[at : at + HOP_BYTES])
                at += HOP_BYTES
            self.rest = audio[at:]
        elif kind is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif kind is WSMsgType.TEXT:
            self.refuse(WSCloseCode.UNSUPPORTED_DATA, b"send audio as binary messages")

    def pause_writing(self) -> None:
        """So many answers are not read."""
        self.gone = True
        self.transport.disconnect(False)

    def step(self, hop: bytes) -> None:
        if self.waiting >= MOST_AHEAD:
            return self.refuse(WSCloseCode.POLICY_VIOLATION, b"faster than sound")
        try:
            answer = self.pool.astep(self.id, self.windows.feed(hop))
        except lstm_infer.QueueFullError:
            return self.refuse(WSCloseCode.TRY_AGAIN_LATER, b"too many callers")
        self.waiting += 1
        answer.add_done_callback(self.answer)
        return None

    def answer(self, future: Future[Any]) -> None:
        """A step was done: in the event loop, in the order of the windows."""
        self.waiting -= 1
        error = future.exception()
        if self.gone or self.is_closing():
            return  # and the signal perhaps closed
        if error is None:
            self.transport.send(BINARY, future.result().tobytes())
        else:
            self.refuse(WSCloseCode.INTERNAL_ERROR, str(error).encode()[:120])

    def refuse(self, code: WSCloseCode, why: bytes) -> None:
        self.gone = True
        self.transport.send_close(code, why)
        self.transport.disconnect()


def stats(pool: lstm_infer.StreamPool) -> WSUpgradeResponse:
    """How it goes, as JSON."""
    now = pool.stats()
    body = {"signals": len(pool), **asdict(now), "mean_batch": now.mean_batch}
    return WSUpgradeResponse.create_ok_response(json.dumps(body).encode(), {"Content-Type": "application/json"})


async def serve(pool: lstm_infer.StreamPool, host: str, port: int, patience: float) -> asyncio.Server:
    """Listen; who says nothing for `patience` seconds, and as long after a ping, is gone."""

    def meet(request: WSUpgradeRequest) -> Any:
        if request.path == b"/stats":
            return WSUpgradeResponseWithListener(stats(pool), None)
        return Caller(pool)

    return await ws_create_server(
        meet,
        host,
        port,
        enable_auto_ping=True,
        auto_ping_idle_timeout=patience,
        auto_ping_reply_timeout=patience,
        max_frame_size=1 << 20,
        backlog=1024,
    )


async def main(options: argparse.Namespace) -> None:
    model = load(options.model)
    with model.pool(reserve=64, max_wait=options.max_wait / 1000, max_batch=options.max_batch) as pool:
        server = await serve(pool, options.host, options.port, options.patience)
        host, port = server.sockets[0].getsockname()[:2]
        print(f"ws://{host}:{port}", flush=True)
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="silero_vad.onnx; a loudness detector where it is not given")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument(
        "--port", type=int, default=8765, help="0: any that is free; the first line that is printed says which"
    )
    parser.add_argument("--max-wait", type=float, default=2.0, metavar="MS", help="how long a window waits for others")
    parser.add_argument("--max-batch", type=int, default=64)
    parser.add_argument("--patience", type=float, default=10.0, metavar="S", help="for callers who are silent")
    # the thread that steps gets the GIL at once, and the event loop gets it back at once
    sys.setswitchinterval(0.0005)
    gc.freeze()  # what is here now stays
    gc.set_threshold(20_000, 20, 100)  # answers on their way are no cycles
    try:
        run(main(parser.parse_args()))
    except KeyboardInterrupt:
        print("stopped")
