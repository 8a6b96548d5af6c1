"""Stream a WAV to the server as fast as it plays, and say where somebody speaks.

    python examples/serve_vad/client.py [speech_16k.wav] [--url ws://127.0.0.1:8765]

Without a file: a few seconds of bursts that sound a little like speech.
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
import struct
import time

import numpy as np
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from vad import HOP_BYTES, HOP_S, RATE, SILENCE, SPEECH, chatter

from lstm_infer.cli.wav import read_wav


class Listener(WSListener):  # type: ignore[misc]
    """Prints speech as the answers come."""

    def __init__(self) -> None:
        self.n, self.began = 0, -1.0

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type == WSMsgType.CLOSE:
            print("the server closed the connection:", frame.get_close_reason())
            transport.disconnect()
        if frame.msg_type != WSMsgType.BINARY:
            return
        (probability,) = struct.unpack("<f", frame.get_payload_as_bytes())
        at = self.n * HOP_S
        self.n += 1
        if self.began < 0 and probability >= SPEECH:
            self.began = at
        elif self.began >= 0 and probability < SILENCE:
            self.say(at)

    def say(self, end: float) -> None:
        if self.began >= 0:
            print(f"speech from {self.began:.2f} s to {end:.2f} s", flush=True)
        self.began = -1.0


def audio(path: str | None) -> bytes:
    """16-bit samples at 16 kHz, in whole hops."""
    if path is None:
        return chatter(1, 5.0)
    sound, rate = read_wav(path)
    if rate != RATE:
        sys.exit(f"{path}: expected {RATE} samples/s, got {rate}; resample it first")
    pcm = (np.clip(sound.mean(axis=1), -1, 1) * 32767).astype("<i2").tobytes()
    return pcm + bytes(-len(pcm) % HOP_BYTES)


async def main(options: argparse.Namespace) -> None:
    pcm, listener = audio(options.wav), Listener()
    transport, _ = await ws_connect(lambda: listener, options.url)
    began = time.monotonic()
    for k in range(len(pcm) // HOP_BYTES):
        await asyncio.sleep(began + (k + 1) * HOP_S - time.monotonic())  # as a microphone would
        if transport.is_disconnected:
            return
        transport.send(WSMsgType.BINARY, pcm[k * HOP_BYTES : (k + 1) * HOP_BYTES])
    while listener.n < len(pcm) // HOP_BYTES and not transport.is_disconnected:
        await asyncio.sleep(0.01)
    listener.say(listener.n * HOP_S)
    transport.send_close()
    transport.disconnect()
    await transport.wait_disconnected()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wav", nargs="?")
    parser.add_argument("--url", default="ws://127.0.0.1:8765")
    asyncio.run(main(parser.parse_args()))
