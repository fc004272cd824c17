#!/usr/bin/env python3
"""Runs the era matrix; run.sh calls it, README.md says what it does.

usage: eras.py direct|gateway [--clients K,..] [--upstreams K,..] [--features F,..] [--swap] [--write FILE]
               --test DIR [--gateway BIN] --logs DIR
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import os
import pathlib
import re
import signal
import socket
import sys
import tempfile
import time
from typing import Any

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
import report
from checks import FEATURES, Cell, Failed, Refusal, short

HERE = pathlib.Path(__file__).resolve().parent
KINDS: dict[str, dict] = json.loads((HERE / "kinds.json").read_text())
THINGS = json.loads((HERE / "things.json").read_text(encoding="utf-8"))
IMPOSSIBLE = json.loads((HERE / "impossible.json").read_text())
SWAPPED = {"py1": "ts1", "ts1": "py1", "py2": "ts2", "ts2": "py2"}

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("mode", choices=["direct", "gateway"])
PARSER.add_argument("--clients", default=",".join(KINDS))
PARSER.add_argument("--upstreams", default=",".join(KINDS))
PARSER.add_argument("--features", default=",".join(key for key, _, _ in FEATURES))
PARSER.add_argument("--swap", action="store_true", help="each peer by the SDK of the other language")
PARSER.add_argument("--write", help="the file for the table (docs/bridge.md)")
PARSER.add_argument("--test", required=True, help="where ./test installed the SDKs")
PARSER.add_argument("--gateway", help="the gateway's binary")
PARSER.add_argument("--logs", required=True)
ARGS = PARSER.parse_args()
TEST, LOGS = pathlib.Path(ARGS.test).resolve(), pathlib.Path(ARGS.logs).resolve()
CLIENTS, UPSTREAMS = ARGS.clients.split(","), ARGS.upstreams.split(",")
WANTED = ARGS.features.split(",")
FEATURE_SECONDS, OPEN_SECONDS = 25, 30


def sdk_of(kind: str, side: str) -> str:
    """Which SDK plays that kind: py1, py2, ts1, ts2."""
    sdk = KINDS[kind][side]
    return SWAPPED[sdk] if ARGS.swap else sdk


def program(kind: str, side: str) -> list[str]:
    sdk = sdk_of(kind, side)
    if sdk.startswith("py"):
        python = TEST / "venv" / {"py1": "mcp-1.30.0", "py2": "mcp-2.3.0"}[sdk] / "bin/python"
        return [str(python), str(HERE / ("server.py" if side == "server" else "peer.py"))]
    node = TEST / "npm/node/node_modules/node/bin/node"
    modules = ["--modules", str(TEST / "npm" / {"ts1": "clients", "ts2": "eras"}[sdk])]
    if side == "server":
        return [str(node), str(HERE / "server.mjs"), *modules]
    return [str(node), str(HERE / "peer.mjs"), *modules, "--era", {"ts1": "handshake", "ts2": "stateless"}[sdk]]


def server_command(kind: str) -> list[str]:
    return [*program(kind, "server"), "--kind", kind, "--scheme", kind]


def impossible(feature: str, client: str, upstream: str) -> dict | None:
    return next((rule for rule in IMPOSSIBLE if feature in rule["features"] and client in rule.get("clients", KINDS)
                 and upstream in rule.get("upstreams", KINDS)), None)


def able(kind: str) -> list[str]:
    revision = KINDS[kind]["revision"]
    return ["sampling", "roots", *(["elicitation"] if revision >= "2025-06-18" else []), *(["tasks"] if revision == "2026-07-28" else [])]


class Processes:
    """All that is started, each in a group of its own by which it is ended."""

    def __init__(self) -> None:
        self.all: list[Any] = []

    async def start(self, command: list[str], log: pathlib.Path, **more: Any) -> Any:
        with open(log, "ab") as out:
            made = await asyncio.create_subprocess_exec(
                *command, stderr=out, **{"stdin": asyncio.subprocess.DEVNULL, "stdout": out, **more}, start_new_session=True, limit=1 << 24)
        self.all.append(made)
        return made

    async def end(self, one: Any) -> None:
        for sign, seconds in ((signal.SIGTERM, 5), (signal.SIGKILL, 5)):
            try:
                os.killpg(one.pid, sign)
            except ProcessLookupError:
                break
            try:
                await asyncio.wait_for(one.wait(), seconds)
            except asyncio.TimeoutError:
                continue
        if one in self.all:
            self.all.remove(one)

    async def end_all(self) -> None:
        await asyncio.gather(*(self.end(one) for one in list(self.all)))


PROCESSES = Processes()


class Peer:
    """The process of one client kind (peer.py, peer.mjs)."""

    def __init__(self, kind: str) -> None:
        self.kind, self.able = kind, able(kind)
        self.name, self.opened = "", {}
        self.process: Any = None
        self.number = 0
        self.pending: dict[int, asyncio.Future] = {}
        self.changed = asyncio.Event()
        self.told: list[tuple[str, dict]] = []
        self.told_at: list[float] = []
        self.asked: list[tuple[str, dict]] = []
        self.reports: dict[int, list[dict]] = {}

    async def start(self) -> None:
        pipe = asyncio.subprocess.PIPE
        self.process = await PROCESSES.start(program(self.kind, "client"), LOGS / f"client-{self.kind}.log", stdin=pipe, stdout=pipe)
        self.reading = asyncio.ensure_future(self.read(self.process))

    async def read(self, process: Any) -> None:
        async for line in process.stdout:
            message = json.loads(line)
            match message.get("event"):
                case "told":
                    self.told.append((message["method"], message["params"]))
                    self.told_at.append(time.monotonic())
                case "asked":
                    self.asked.append((message["method"], message["params"]))
                case "progress":
                    self.reports.setdefault(message["call"], []).append(message["params"])
                case _:
                    future = self.pending.pop(message["n"], None)
                    if future and not future.done():
                        if "error" in message:
                            future.set_exception(Refusal(message["error"]))
                        else:
                            future.set_result(message["ok"])
            self.changed.set()
        for future in self.pending.values():
            if not future.done():
                future.set_exception(Failed("the client's process ended"))
        self.pending.clear()

    def next(self) -> int:
        self.number += 1
        return self.number

    def progress(self, n: int) -> list[dict]:
        return self.reports.get(n, [])

    async def do(self, what: str, n: int | None = None, **more: Any) -> dict:
        n = n or self.next()
        future = self.pending[n] = asyncio.get_running_loop().create_future()
        self.process.stdin.write((json.dumps({"n": n, "do": what, **more}) + "\n").encode())
        await self.process.stdin.drain()
        return await future

    async def until(self, condition: Any, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while not condition():
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self.changed.clear()
            try:
                await asyncio.wait_for(self.changed.wait(), left)
            except asyncio.TimeoutError:
                pass
        return True

    async def open(self, upstream: str, where: dict) -> None:
        if self.process is None or self.process.returncode is not None:
            await self.start()
        self.name = f"{self.kind}-{upstream}-{os.urandom(2).hex()}"
        for heard in (self.told, self.told_at, self.asked):
            heard.clear()
        kind = KINDS[self.kind]
        self.opened = await asyncio.wait_for(self.do(
            "open", revision=kind["revision"], transport=kind["transport"], name=self.name, able=self.able, **where), OPEN_SECONDS)

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self.do("close"), 10)
        except (Exception, asyncio.TimeoutError):
            # Whatever is left of the connection ends with the process.
            await PROCESSES.end(self.process)
            self.process = None


class Run:
    def __init__(self) -> None:
        self.results: dict[tuple[str, str, str], dict] = {}
        self.locks = {kind: asyncio.Lock() for kind in KINDS}
        self.lines = open(LOGS / "results.jsonl", "w", encoding="utf-8")

    def note(self, client: str, upstream: str, feature: str, mark: str, reason: str = "", seconds: float = 0, quiet: bool = False) -> None:
        self.results[client, upstream, feature] = {"mark": mark, "reason": reason}
        self.lines.write(json.dumps({"client": client, "upstream": upstream, "feature": feature, "mark": mark, "reason": reason,
                                     "seconds": round(seconds, 2)}, ensure_ascii=False) + "\n")
        self.lines.flush()
        if mark == "fail" and not quiet:
            print(f"FAILED eras: {client} -> {upstream}: {feature}: {reason}", flush=True)

    async def pair(self, peer: Peer, client: str, upstream: str, where: dict) -> None:
        async with self.locks[upstream]:
            began = time.monotonic()
            try:
                await peer.open(upstream, where)
            except (Exception, asyncio.TimeoutError) as error:
                reason = f"no connection: {short(str(error) or type(error).__name__)}"
                print(f"FAILED eras: {client} -> {upstream}: {reason}", flush=True)
                for feature, _, _ in FEATURES:
                    if feature in WANTED:
                        self.note(client, upstream, feature, "fail", reason, quiet=True)
                await peer.close()
                return
            cell = Cell(peer, KINDS[client], KINDS[upstream], upstream, THINGS, ARGS.mode == "direct")
            for feature, _, check in FEATURES:
                if feature in WANTED:
                    await self.check(peer, client, upstream, feature, check, cell)
            await peer.close()
            print(f"{client} -> {upstream}: {time.monotonic() - began:.1f} s", flush=True)

    async def check(self, peer: Peer, client: str, upstream: str, feature: str, check: Any, cell: Cell) -> None:
        began = time.monotonic()
        rule = impossible(feature, client, upstream)
        mark, reason = ("impossible", rule["why"]) if rule else ("pass", "")
        try:
            await asyncio.wait_for(check(cell), FEATURE_SECONDS)
        except (Failed, Refusal) as error:
            mark, reason = "fail", str(error)
        except asyncio.TimeoutError:
            mark, reason = "fail", f"not finished after {FEATURE_SECONDS} s"
        except Exception as error:
            mark, reason = "fail", short(f"{type(error).__name__}: {error}")
        self.note(client, upstream, feature, mark, reason, time.monotonic() - began)

    async def client(self, client: str, where: Any) -> None:
        """One client against all upstreams, each client in another order, so that they do not wait for one another."""
        peer = Peer(client)
        order = UPSTREAMS[CLIENTS.index(client) % len(UPSTREAMS):] + UPSTREAMS[: CLIENTS.index(client) % len(UPSTREAMS)]
        for upstream in [client] if ARGS.mode == "direct" else order:
            await self.pair(peer, client, upstream, where(client, upstream))


def free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return ports


async def listening(port: int, what: str, process: Any) -> None:
    for _ in range(300):
        if process.returncode is not None:
            sys.exit(f"FAILED eras: {what} ended at once; its log is in {LOGS}")
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            await asyncio.sleep(0.1)
    sys.exit(f"FAILED eras: {what} does not listen after 30 s; its log is in {LOGS}")


async def start_servers(kinds: list[str]) -> dict[str, str]:
    ports = dict(zip([kind for kind in kinds if KINDS[kind]["transport"] != "stdio"], free_ports(len(kinds))))
    started = {kind: await PROCESSES.start([*server_command(kind), "--port", str(port)], LOGS / f"server-{kind}.log")
               for kind, port in ports.items()}
    for kind, port in ports.items():
        await listening(port, f"the server {kind}", started[kind])
    return {kind: f"http://127.0.0.1:{port}/{'sse' if KINDS[kind]['transport'] == 'sse' else 'mcp'}" for kind, port in ports.items()}


async def start_gateway(work: pathlib.Path, urls: dict[str, str]) -> str:
    (work / "aliases").mkdir()
    for kind in UPSTREAMS:
        if kind in urls:
            lines = {"url": urls[kind], "transport": {"sse": "sse", "http": "http"}[KINDS[kind]["transport"]]}
        else:
            command = server_command(kind)
            lines = {"command": command[0], "args": command[1:], "cwd": str(HERE), "env": {"PYTHONDONTWRITEBYTECODE": "1"}}
        # YAML reads JSON.
        (work / "aliases" / f"{kind}.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in lines.items()))
    (port,) = free_ports(1)
    config = work / "trunkline.yaml"
    config.write_text(f"listen: 127.0.0.1:{port}\naliases: aliases\n")
    process = await PROCESSES.start([ARGS.gateway, "--config", str(config)], LOGS / "gateway.log")
    await listening(port, "the gateway", process)
    base = f"http://127.0.0.1:{port}"
    ready = await asyncio.create_subprocess_exec(sys.executable, str(HERE.parent / "await_ready.py"), base, "60", *UPSTREAMS)
    if await ready.wait():
        sys.exit(f"FAILED eras: not all upstreams are ready after 60 s; the gateway's log is in {LOGS}")
    return base


async def main() -> int:
    began = time.monotonic()
    run = Run()
    # Whoever ends this ends all that it has started, too.
    for sign in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(sign, asyncio.current_task().cancel)
    with tempfile.TemporaryDirectory() as folder:
        try:
            urls = await start_servers(UPSTREAMS if ARGS.mode == "gateway" else CLIENTS)
            base = await start_gateway(pathlib.Path(folder), urls) if ARGS.mode == "gateway" else ""

            def where(client: str, upstream: str) -> dict:
                transport = KINDS[client]["transport"]
                if not base:
                    return {"url": urls[upstream]} if upstream in urls else {"command": server_command(upstream)}
                if transport == "stdio":
                    return {"command": [ARGS.gateway, "stdio", "--connect", f"{base}/mcp/{upstream}"]}
                return {"url": f"{base}/{upstream}/sse" if transport == "sse" else f"{base}/mcp/{upstream}"}

            await asyncio.gather(*(run.client(client, where) for client in CLIENTS))
        finally:
            await PROCESSES.end_all()
    pairs = [(client, upstream) for client in CLIENTS for upstream in ([client] if ARGS.mode == "direct" else UPSTREAMS)]
    columns = [(key, title) for key, title, _ in FEATURES if key in WANTED]
    if failed := [one["reason"] for one in run.results.values() if one["mark"] == "fail"]:
        print("\nWhat failed, and in how many cells:")
        for reason, count in collections.Counter(re.sub(r"; seen: .*|: wanted .*|w[0-9a-f]{8}", "", reason)[:150] for reason in failed).most_common(40):
            print(f"{count:6} {reason}")
    print("\n" + report.text(run.results, pairs, columns, ARGS.mode))
    if ARGS.write:
        peers = {kind: {side: sdk_of(kind, side) for side in ("client", "server")} for kind in KINDS}
        pathlib.Path(ARGS.write).write_text(report.page(run.results, pairs, columns, KINDS, IMPOSSIBLE, peers), encoding="utf-8")
    marks = [one["mark"] for one in run.results.values()]
    print(f"{time.monotonic() - began:.0f} s; {marks.count('impossible')} of what passed is impossible, and what happens instead was seen")
    print(f"eras {ARGS.mode}: {len(marks) - len(failed)} passed, {len(failed)} failed")
    return int(bool(failed) or not marks)


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main()))
    except asyncio.CancelledError:
        sys.exit(130)
