"""examples/serve_vad is started for real: callers who join, leave and break off, one who vanishes, one who is too fast."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import pytest

import shared_files

FOLDER = shared_files.ROOT / "examples" / "serve_vad"
MASK = b"abcd"

pytestmark = pytest.mark.skipif(
    find_spec("picows") is None, reason="picows does the WebSockets: pip install '.[serve]'"
)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server that is impatient; where it listens."""
    command = [sys.executable, str(FOLDER / "server.py"), "--port", "0", "--patience", "0.5"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def stats(url: str) -> dict[str, Any]:
    with urllib.request.urlopen(url.replace("ws:", "http:") + "/stats", timeout=20) as answer:
        return json.load(answer)  # type: ignore[no-any-return]


def signals_go_to(url: str, n: int) -> bool:
    limit = time.monotonic() + 20
    while stats(url)["signals"] != n and time.monotonic() < limit:
        time.sleep(0.02)
    return bool(stats(url)["signals"] == n)


class Caller:
    """A WebSocket by hand, which answers nothing that it is not told to."""

    def __init__(self, url: str, buffer: int = 0) -> None:
        host, _, port = url.removeprefix("ws://").partition(":")
        self.socket = socket.socket()
        self.socket.settimeout(20)
        if buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        self.socket.connect((host, int(port)))
        key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
        self.socket.sendall(
            f"GET / HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n{key}\r\n\r\n".encode()
        )
        self.got = b""
        while b"\r\n\r\n" not in self.got:
            self.got += self.socket.recv(4096)
        head, _, self.got = self.got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")

    def send(self, payload: bytes, kind: int = 2) -> None:
        masked = bytes(b ^ MASK[k % 4] for k, b in enumerate(payload))
        n = len(payload)
        size = (
            bytes([0x80 | n])
            if n < 126
            else struct.pack("!BH", 0xFE, n)
            if n < 1 << 16
            else struct.pack("!BQ", 0xFF, n)
        )
        self.socket.sendall(bytes([0x80 | kind]) + size + MASK + masked)

    def answer(self) -> bytes:
        """The next one; pings between are not answered."""
        while True:
            kind, payload = self.frame()
            if kind != 9:
                return payload

    def frame(self) -> tuple[int, bytes]:
        """The next one: its kind, and what is in it."""
        while len(self.got) < 2 or len(self.got) < 2 + self.got[1]:
            more = self.socket.recv(4096)
            if not more:
                raise ConnectionError
            self.got += more
        kind, size = self.got[0] & 15, self.got[1]
        payload, self.got = self.got[2 : 2 + size], self.got[2 + size :]
        return kind, payload

    def told(self) -> tuple[int, bytes]:
        """Code and reason with which the server closes."""
        while True:
            kind, payload = self.frame()
            if kind == 8:
                return struct.unpack("!H", payload[:2])[0], payload[2:]


@pytest.mark.parametrize("name", ["loudness", "silero_vad"])
def test_two_hundred_callers_a_fifth_of_whom_breaks_off(name: str) -> None:
    """None leaves a signal behind, and every answer is that of a stream alone."""
    model = ["--model", str(shared_files.model("silero_vad"))] if name == "silero_vad" else []
    command = [sys.executable, str(FOLDER / "load.py"), "--callers", "200", "--seconds", "4", "--stay", "1.5"]
    command += ["--broken", "0.2", "--idle", "2" if name == "loudness" else "0", "--json", *model]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    found = json.loads(ran.stdout)
    assert (found["wrong"], found["missing"], found["signals_left"], found["pending_left"]) == (0, 0, 0, 0)
    assert found["joined"] == found["left"] + found["broke_off"] > 250
    assert 0.1 < found["broke_off"] / found["joined"] < 0.3
    assert found["answers"] > 2000
    assert found["pool"]["mean_batch"] > 2, "callers are stepped together"
    assert not found["idle_cpu_percent"] > 1, "200 are connected, and nobody speaks"  # NaN where it cannot be told


def test_a_client_says_who_speaks(server: str) -> None:
    ran = subprocess.run(
        [sys.executable, str(FOLDER / "client.py"), "--url", server],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert len(re.findall(r"^speech from \d+\.\d\d s to \d+\.\d\d s$", ran.stdout, re.MULTILINE)) >= 2, ran.stdout
    assert signals_go_to(server, 0)


def test_answers_do_not_depend_on_how_the_sound_is_cut(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    import vad

    sound = vad.chatter(5, 0.6)
    want = vad.alone(vad.load(None), sound)
    for pieces in ([1024] * len(want), [1, 1023, 4096, 5, len(sound) - 5125]):
        caller, at = Caller(server), 0
        for size in pieces:
            caller.send(sound[at : at + size])
            at += size
        assert [caller.answer() for _ in want] == want
        caller.socket.close()
    assert signals_go_to(server, 0)


def test_who_vanishes_is_noticed(server: str) -> None:
    """He does not answer a ping, and his connection stays open."""
    caller = Caller(server)
    assert signals_go_to(server, 1) and caller.frame()[0] == 9
    assert signals_go_to(server, 0)


def test_who_is_faster_than_sound_is_cut_off(server: str) -> None:
    caller = Caller(server)
    caller.send(bytes(1024 * 100))
    assert caller.told() == (1008, b"faster than sound")
    assert signals_go_to(server, 0)


def test_what_is_no_sound_is_refused(server: str) -> None:
    caller = Caller(server)
    caller.send(b"hello", 1)
    assert caller.told() == (1003, b"send audio as binary messages")
    caller = Caller(server)
    caller.send(struct.pack("!H", 1000), 8)
    assert caller.told() == (1000, b"")
    assert signals_go_to(server, 0)


def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """With small buffers, so that it does not take long."""
    monkeypatch.syspath_prepend(str(FOLDER))
    import server as served
    import vad

    small, there, end = 2048, list[tuple[str, int]](), threading.Event()
    meet = served.Caller.on_ws_connected

    def connected(self: Any, transport: Any) -> None:
        meet(self, transport)
        transport.underlying_transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, small)

    monkeypatch.setattr(served.Caller, "on_ws_connected", connected)
    monkeypatch.setattr(served, "MOST_UNREAD", 200)

    async def listen(pool: Any) -> None:
        there.append((await served.serve(pool, "127.0.0.1", 0, 60)).sockets[0].getsockname()[:2])
        while not end.is_set():
            await asyncio.sleep(0.02)

    with vad.load(None).pool(max_wait=0) as pool:
        thread = threading.Thread(target=asyncio.run, args=(listen(pool),))
        thread.start()
        while not there:
            time.sleep(0.01)
        caller, fed = Caller("ws://{}:{}".format(*there[0]), small), 0
        limit = time.monotonic() + 60
        while not len(pool) and time.monotonic() < limit:
            time.sleep(0.001)
        with contextlib.suppress(OSError):
            while len(pool) and time.monotonic() < limit:
                caller.send(bytes(1024 * 32))
                fed += 32
                while pool.stats().frames < fed and len(pool):
                    time.sleep(0.002)
        left = len(pool)
        end.set()
        thread.join()
    assert (left, fed > 32) == (0, True)  # the answers to the first 32 windows are 192 bytes: they may wait
