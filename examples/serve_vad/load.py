"""Load the server: callers who join, speak as fast as sound plays, leave, and break off; every answer is compared bit for bit.

    python examples/serve_vad/load.py --callers 500 --seconds 20 --model silero_vad.onnx --cores 0,1
    python examples/serve_vad/load.py --callers 200 --stay 3 --broken 0.2

Starts a server of its own, on the first of the cores, and runs on the second. Prints latency (from when a window is sent until
its answer is here), CPU and memory of the server; ends with status 1 where an answer is wrong or missing, or a signal is left.
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
import heapq
import json
import os
import random
import subprocess
import urllib.request
from collections import deque
from itertools import count
from time import perf_counter
from typing import Any

import numpy as np
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect
from vad import HOP_BYTES, HOP_S, alone, chatter, load

VARIANTS = 8
"""Different sounds that callers send."""
WARM_S = 1.0
"""Answers of the first second are compared, but not timed."""


class Tally:
    """What all callers found."""

    def __init__(self) -> None:
        self.latencies, self.late = list[float](), list[float]()
        self.joined = self.left = self.broke_off = self.answers = self.wrong = self.missing = self.cut_off = 0
        self.timed_from = float("inf")


class Caller(WSListener):  # type: ignore[misc]
    """One of the callers."""

    def __init__(self, tally: Tally, sound: tuple[list[bytes], list[bytes]], ends: float) -> None:
        self.tally, self.ends = tally, ends
        self.hops, self.expected = sound
        self.sent, self.answered = 0, 0
        self.when: deque[float] = deque()
        self.here, self.quiet = False, asyncio.Event()

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport, self.here = transport, True
        self.tally.joined += 1

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type != WSMsgType.BINARY:
            self.tally.cut_off += frame.msg_type == WSMsgType.CLOSE
            return
        now, sent = perf_counter(), self.when.popleft()
        if sent >= self.tally.timed_from:
            self.tally.latencies.append(now - sent)
        self.tally.answers += 1
        self.tally.wrong += frame.get_payload_as_bytes() != self.expected[self.answered]
        self.answered += 1
        if self.answered == self.sent:
            self.quiet.set()

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        self.here = False
        self.quiet.set()

    def speak(self) -> None:
        """The next 32 ms."""
        self.when.append(perf_counter())
        self.transport.send(WSMsgType.BINARY, self.hops[self.sent % len(self.hops)])
        self.sent += 1

    async def leave(self) -> None:
        """With all answers, and a goodbye."""
        while self.here and self.answered < self.sent:
            self.quiet.clear()
            try:
                await asyncio.wait_for(self.quiet.wait(), 20)
            except TimeoutError:
                break
        self.tally.left += 1
        self.tally.missing += self.sent - self.answered
        if self.here:
            self.transport.send_close()
            self.transport.disconnect()
            await self.transport.wait_disconnected()

    def break_off(self) -> None:
        """Without a word, with answers on their way."""
        self.tally.broke_off += 1
        self.transport.underlying_transport.abort()


class Load:
    """The callers of a run."""

    def __init__(self, options: argparse.Namespace, url: str) -> None:
        self.options, self.url, self.tally = options, url, Tally()
        self.rng = random.Random(options.seed)
        model = load(options.model)
        pcm = [chatter(seed, options.seconds + 2) for seed in range(VARIANTS)]
        self.sounds = [
            ([sound[at : at + HOP_BYTES] for at in range(0, len(sound), HOP_BYTES)], alone(model, sound))
            for sound in pcm
        ]
        self.going: set[asyncio.Task[None]] = set()
        self.turn = count()

    async def join(self, ends: float) -> Caller:
        stay = self.options.stay
        if stay:
            ends = min(ends, perf_counter() + self.rng.uniform(0.2, 2 * stay))
        caller = Caller(self.tally, self.rng.choice(self.sounds), ends)
        await ws_connect(lambda: caller, self.url)
        return caller

    def go(self, ends: float, due: list[Any]) -> None:
        """One more caller joins, beside the others."""

        async def joined() -> None:
            caller = await self.join(ends)
            heapq.heappush(due, (perf_counter() + self.rng.uniform(0, HOP_S), next(self.turn), caller))

        self.do(joined())

    def do(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.going.add(task)
        task.add_done_callback(self.going.discard)

    async def run(self, callers: list[Caller], seconds: float) -> None:
        """Everybody speaks, each at a phase of his own; who leaves is followed by another."""
        began = perf_counter()
        ends, self.tally.timed_from = began + seconds, began + WARM_S
        for caller in callers:
            caller.ends = min(caller.ends, ends) if self.options.stay else ends
        due = [(began + self.rng.uniform(0, HOP_S), next(self.turn), caller) for caller in callers]
        heapq.heapify(due)
        while due or self.going:
            now = perf_counter()
            while due and due[0][0] <= now:
                at, k, caller = heapq.heappop(due)
                if not caller.here:
                    continue  # the server cut him off: it is in the tally
                if now < caller.ends:
                    caller.speak()
                    self.tally.late.append(now - at)
                    heapq.heappush(
                        due, (max(at, now - HOP_S) + HOP_S, k, caller)
                    )  # a late one does not hurry afterwards
                    continue
                if self.rng.random() < self.options.broken:
                    caller.break_off()
                else:
                    self.do(caller.leave())
                if now < ends - 1:
                    self.go(ends, due)
            await asyncio.sleep(max(0.0005, min(due[0][0] - perf_counter(), 0.01)) if due else 0.01)


def stats(url: str) -> dict[str, Any]:
    """What the server says of itself."""
    with urllib.request.urlopen(url.replace("ws://", "http://") + "/stats", timeout=20) as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def cpu_seconds(pid: int) -> float:
    """Of a process so far; NaN where there is no /proc."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return float("nan")
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mb(pid: int) -> float:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    except OSError:
        return float("nan")


def start(options: argparse.Namespace) -> tuple[subprocess.Popen[str], str]:
    """A server that listens, and where."""
    command = [sys.executable, str(Path(__file__).with_name("server.py")), "--port", "0"]
    command += ["--max-wait", str(options.max_wait), "--max-batch", str(options.max_batch)]
    command += ["--model", options.model] if options.model else []
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    if options.cores:
        os.sched_setaffinity(server.pid, {options.cores[0]})
        os.sched_setaffinity(0, {options.cores[1]})
    assert server.stdout is not None
    url = server.stdout.readline().strip()
    if not url:
        sys.exit("the server did not start")
    return server, url


async def measured(options: argparse.Namespace, pid: int, url: str) -> dict[str, Any]:
    """All of a run."""
    load = Load(options, url)
    gc.freeze()
    empty = resident_mb(pid)
    forever = float("inf")
    callers = [await load.join(forever) for _ in range(options.callers)]
    cpu, began = cpu_seconds(pid), perf_counter()
    await asyncio.sleep(options.idle)
    idle = (cpu_seconds(pid) - cpu) / (perf_counter() - began) if options.idle else float("nan")
    cpu, began = cpu_seconds(pid), perf_counter()
    meter = asyncio.get_running_loop().call_later(
        options.seconds - 0.5, lambda: busy.append((cpu_seconds(pid) - cpu) / (perf_counter() - began))
    )
    busy = list[float]()
    await load.run(callers, options.seconds)
    meter.cancel()
    memory = resident_mb(pid)
    after = stats(url)
    for _ in range(100):  # what broke off is noticed by the server, not by us
        if after["signals"] == 0:
            break
        await asyncio.sleep(0.1)
        after = stats(url)
    tally = load.tally
    times = np.array(tally.latencies or [float("nan")]) * 1e3
    return {
        **{
            name: getattr(tally, name)
            for name in ("joined", "left", "broke_off", "answers", "wrong", "missing", "cut_off")
        },
        "signals_left": after["signals"],
        "pending_left": after["pending"],
        "latency_ms": {f"p{q}": round(float(np.percentile(times, q)), 3) for q in (50, 99, 99.9, 100)},
        "late_p99_ms": round(float(np.percentile(np.array(tally.late) * 1e3, 99)), 3),
        "cpu_percent": round(100 * busy[0], 1) if busy else None,
        "idle_cpu_percent": round(100 * idle, 2),
        "memory_mb": {"empty": round(empty, 1), "full": round(memory, 1)},
        "pool": after,
    }


def told(found: dict[str, Any], options: argparse.Namespace) -> str:
    """The same for people."""
    ms, pool, mb = found["latency_ms"], found["pool"], found["memory_mb"]
    return (
        f"{options.callers} callers for {options.seconds:g} s: {found['joined']} joined, {found['left']} left, "
        f"{found['broke_off']} broke off, {found['cut_off']} were cut off\n"
        f"answers: {found['answers']}, {found['wrong']} wrong, {found['missing']} missing\n"
        f"latency: p50 {ms['p50']} ms, p99 {ms['p99']} ms, p99.9 {ms['p99.9']} ms, largest {ms['p100']} ms "
        f"(max_wait {options.max_wait:g} ms; windows left p99 {found['late_p99_ms']} ms after their time)\n"
        f"in the pool: {pool['mean_batch']:.1f} windows a step; waited p50 {pool['wait_p50'] * 1e3:.2f} ms, "
        f"p99 {pool['wait_p99'] * 1e3:.2f} ms\n"
        f"server: CPU {found['cpu_percent']} % of a core, {found['idle_cpu_percent']} % while nobody speaks; "
        f"memory {mb['empty']} MB empty, {mb['full']} MB full\n"
        f"left behind: {found['signals_left']} signals, {found['pending_left']} windows"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--callers", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument(
        "--stay", type=float, default=0.0, metavar="S", help="how long a caller stays, on the average; 0: to the end"
    )
    parser.add_argument("--broken", type=float, default=0.0, help="share of callers who go without a goodbye")
    parser.add_argument(
        "--idle", type=float, default=2.0, metavar="S", help="how long all are connected before anybody speaks"
    )
    parser.add_argument("--model", help="as of server.py")
    parser.add_argument("--max-wait", type=float, default=2.0, metavar="MS")
    parser.add_argument("--max-batch", type=int, default=64)
    parser.add_argument(
        "--cores", type=lambda text: [int(core) for core in text.split(",")], help="of the server, of this"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    server, url = start(options)
    try:
        found = asyncio.run(measured(options, server.pid, url))  # uvloop sleeps in whole milliseconds
    finally:
        server.terminate()
        server.wait(20)
    print(json.dumps(found) if options.json else told(found, options))
    return int(bool(found["wrong"] or found["missing"] or found["cut_off"] or found["signals_left"]))


if __name__ == "__main__":
    sys.exit(main())
