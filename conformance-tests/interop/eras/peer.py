#!/usr/bin/env python3
"""A client of the era matrix by the Python SDK: `mcp` 1.30 for the handshake era, 2.3 for the stateless one.

It does what eras.py says on its standard input, one JSON object to a line, and answers on its standard output:

    {"n": 1, "do": "open", "revision": R, "transport": T, "url": U | "command": [...], "name": N, "able": [...]}
    {"n": 2, "do": "call", "method": M, "params": {...}, "progress": true, "level": "info"}
    {"n": 3, "do": "abort", "call": 2} | {"do": "watch", "uris": [...]} | {"do": "unwatch"} | {"do": "level", "level": L}
    {"n": 4, "do": "task", "name": TOOL, "arguments": {...}} | {"do": "raw", "method": M, "params": {...}} | {"do": "close"}

    {"n": 1, "ok": RESULT} | {"n": 1, "error": {"code": C, "message": M, "data": D}}
    {"event": "told" | "asked" | "progress", ...}

What it answers when it is asked something is told by the name it was opened with, so that it can be recognised.
peer.mjs is the same by the TypeScript SDKs.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import sys
from typing import Any

import anyio

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent / "matrix")]
from py_sdk import METHODS, MODERN, MCPError, VERSION, plain, types

from mcp import ClientSession, StdioServerParameters, stdio_client

OUT = sys.stdout
TASKS = "io.modelcontextprotocol/tasks"
LEVEL = "io.modelcontextprotocol/logLevel"


def put(message: dict) -> None:
    OUT.write(json.dumps(message) + "\n")
    OUT.flush()


def fault(error: BaseException) -> dict:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, MCPError):
        return plain(error.error)
    return {"code": None, "message": f"{type(error).__name__}: {error}"}


class Peer:
    """One connection, with its answers."""

    def __init__(self, order: dict) -> None:
        self.order, self.name = order, order["name"]
        self.level: str | None = None
        self.calls: dict[int, anyio.CancelScope] = {}
        self.subscribed: list[str] = []

    async def on_model(self, _: Any, params: Any) -> Any:
        params = plain(params)
        put({"event": "asked", "method": "sampling/createMessage", "params": params})
        content = {"type": "text", "text": f"model of {self.name}: {params['messages'][0]['content']['text']}"}
        return types.CreateMessageResult.model_validate(
            {"role": "assistant", "content": content, "model": "eras", "stopReason": "endTurn"})

    async def on_user(self, _: Any, params: Any) -> Any:
        params = plain(params)
        put({"event": "asked", "method": "elicitation/create", "params": params})
        if params.get("mode") == "url":
            return types.ElicitResult(action="accept")
        return types.ElicitResult(action="accept", content={"answer": f"user of {self.name}: {params['message']}", "age": 42, "sure": True})

    async def on_roots(self, _: Any) -> Any:
        put({"event": "asked", "method": "roots/list", "params": {}})
        return types.ListRootsResult.model_validate({"roots": [{"uri": f"file:///eras/{self.name}", "name": self.name}]})

    async def on_message(self, message: Any) -> None:
        message = getattr(message, "root", message)
        method = getattr(message, "method", None)
        # 2.3 gives what comes with a subscription to its reader, too.
        twice = MODERN and method.endswith(("list_changed", "resources/updated")) if isinstance(method, str) else False
        if isinstance(method, str) and method.startswith("notifications/") and method != "notifications/progress" and not twice:
            put({"event": "told", "method": method, "params": plain(message).get("params") or {}})

    def able(self) -> dict:
        able = self.order["able"]
        return {key: run for key, run, name in (
            ("sampling_callback", self.on_model, "sampling"), ("list_roots_callback", self.on_roots, "roots"),
            ("elicitation_callback", self.on_user, "elicitation")) if name in able}

    def progress(self, n: int) -> Any:
        async def report(progress: float, total: float | None = None, message: str | None = None) -> None:
            put({"event": "progress", "call": n, "params": {"progress": progress, "total": total, "message": message}})

        return report


class Handshake(Peer):
    @contextlib.asynccontextmanager
    async def opened(self):
        import mcp.shared.version

        types.LATEST_PROTOCOL_VERSION = self.order["revision"]
        mcp.shared.version.SUPPORTED_PROTOCOL_VERSIONS[:] = [self.order["revision"]]
        async with contextlib.AsyncExitStack() as stack:
            read, write = await stack.enter_async_context(self.wire())
            self.session = await stack.enter_async_context(ClientSession(
                read, write, message_handler=self.on_message, **self.able(),
                client_info=types.Implementation(name=self.name, version=VERSION)))
            init = plain(await self.session.initialize())
            yield {"revision": init["protocolVersion"], "capabilities": init["capabilities"]}

    @contextlib.asynccontextmanager
    async def wire(self):
        order = self.order
        if order["transport"] == "stdio":
            async with stdio_client(StdioServerParameters(command=order["command"][0], args=order["command"][1:])) as streams:
                yield streams
        elif order["transport"] == "sse":
            from mcp.client.sse import sse_client

            async with sse_client(order["url"]) as streams:
                yield streams
        else:
            from mcp.client.streamable_http import streamablehttp_client

            async with streamablehttp_client(order["url"]) as (read, write, _):
                yield read, write

    async def request(self, method: str, params: dict, progress: Any = None) -> dict:
        request_type, params_type, result_type = METHODS[method]
        typed = params_type.model_validate(params)
        request = types.ClientRequest(request_type(method=method, params=typed))
        return plain(await self.session.send_request(request, result_type, progress_callback=progress))

    async def call(self, n: int, order: dict) -> dict:
        self.number = {**getattr(self, "number", {}), n: self.session._request_id}
        return await self.request(order["method"], order.get("params") or {}, self.progress(n) if order.get("progress") else None)

    async def abort(self, n: int) -> None:
        # 1.30 does not tell the server when a call is abandoned.
        params = types.CancelledNotificationParams(requestId=self.number[n], reason="the matrix cancels it")
        await self.session.send_notification(types.ClientNotification(types.CancelledNotification(params=params)))
        self.calls[n].cancel()

    async def watch(self, order: dict) -> dict:
        for uri in order["uris"]:
            await self.request("resources/subscribe", {"uri": uri})
            self.subscribed.append(uri)
        return {}

    async def unwatch(self, _: dict) -> dict:
        for uri in self.subscribed:
            await self.request("resources/unsubscribe", {"uri": uri})
        self.subscribed.clear()
        return {}

    async def set_level(self, order: dict) -> dict:
        return await self.request("logging/setLevel", {"level": order["level"]})

    async def raw(self, order: dict) -> dict:
        return await self.request(order["method"], order.get("params") or {})

    async def task(self, order: dict) -> dict:
        tasks = self.session.experimental
        created = plain(await tasks.call_tool_as_task(order["name"], order["arguments"]))
        statuses = [plain(status) async for status in tasks.poll_task(created["task"]["taskId"])]
        result = plain(await tasks.get_task_result(created["task"]["taskId"], types.CallToolResult))
        return {"created": created["task"], "statuses": statuses, "result": result}


class Stateless(Peer):
    @contextlib.asynccontextmanager
    async def opened(self):
        from mcp import Client
        from mcp.client.extension import ClientExtension, ResultClaim

        peer = self
        self.polled: list[dict] = []

        class Created(types.Result):
            model_config = {"extra": "allow"}
            result_type: __import__("typing").Literal["task"]

        class Tasks(ClientExtension):
            """SEP-2663; the SDK has the way in, but no tasks of its own."""

            identifier = TASKS

            def claims(self) -> Any:
                return (ResultClaim(result_type="task", model=Created, resolve=peer.resolve),)

        url = self.order.get("url")
        command = self.order.get("command")
        async with Client(
            StdioServerParameters(command=command[0], args=command[1:]) if command else url, mode="auto",
            client_info=types.Implementation(name=self.name, version=VERSION), message_handler=self.on_message,
            **self.able(), extensions=[Tasks()] if "tasks" in self.order["able"] else None,
        ) as self.client:
            self.watching = None
            async with anyio.create_task_group() as self.group:
                yield {"revision": self.client.protocol_version, "capabilities": plain(self.client.server_capabilities)}
                self.group.cancel_scope.cancel()

    async def resolve(self, created: Any, ctx: Any) -> Any:
        task = plain(created)
        self.polled = [task]
        while self.polled[-1]["status"] in ("working", "input_required"):
            await anyio.sleep(task.get("pollIntervalMs", 100) / 1000)
            self.polled.append(await self.raw({"method": "tasks/get", "params": {"taskId": task["taskId"]}, "name": task["taskId"]}))
        last = self.polled[-1]
        return types.CallToolResult.model_validate(last.get("result") or {"isError": True, "content": [{"type": "text", "text": json.dumps(last)}]})

    async def call(self, n: int, order: dict) -> dict:
        params, client = order.get("params") or {}, self.client
        meta = {LEVEL: self.level} if self.level else None
        report = self.progress(n) if order.get("progress") else None
        fresh: Any = {"cache_mode": "bypass", "meta": meta}
        match order["method"]:
            case "tools/call":
                result = await client.call_tool(params["name"], params.get("arguments") or {}, progress_callback=report, meta=meta)
            case "prompts/get":
                result = await client.get_prompt(params["name"], params.get("arguments") or {}, meta=meta)
            case "resources/read":
                result = await client.read_resource(params["uri"], **fresh)
            case "tools/list":
                # Not past the cache: the SDK learns from here which arguments travel in headers.
                result = await client.list_tools(cursor=params.get("cursor"), cache_mode="refresh")
            case "prompts/list":
                result = await client.list_prompts(cursor=params.get("cursor"), **fresh)
            case "resources/list":
                result = await client.list_resources(cursor=params.get("cursor"), **fresh)
            case "resources/templates/list":
                result = await client.list_resource_templates(cursor=params.get("cursor"), **fresh)
            case "completion/complete":
                ref = {"ref/prompt": types.PromptReference, "ref/resource": types.ResourceTemplateReference}[params["ref"]["type"]]
                result = await client.complete(ref=ref.model_validate(params["ref"]), argument=params["argument"])
            case _:
                return await self.raw(order)
        return plain(result)

    async def abort(self, n: int) -> None:
        self.calls[n].cancel()

    async def watch(self, order: dict) -> dict:
        ready = anyio.Event()
        self.watching = anyio.CancelScope()

        async def run() -> None:
            from mcp.shared.subscriptions import event_to_notification

            with self.watching:
                async with self.client.listen(
                    tools_list_changed=True, prompts_list_changed=True, resources_list_changed=True,
                    resource_subscriptions=order["uris"],
                ) as subscription:
                    self.honored = plain(subscription.honored)
                    ready.set()
                    async for event in subscription:
                        note = event_to_notification(event, {})
                        put({"event": "told", "method": note.method, "params": plain(note).get("params") or {}})

        self.group.start_soon(run)
        with anyio.fail_after(8):
            await ready.wait()
        return self.honored

    async def unwatch(self, _: dict) -> dict:
        if self.watching:
            self.watching.cancel()
        return {}

    async def set_level(self, order: dict) -> dict:
        self.level = order["level"]
        return {}

    async def raw(self, order: dict) -> dict:
        """A request for which the SDK has no method, with the members and headers of this era."""
        data: dict = {"method": order["method"], "params": dict(order.get("params") or {})}
        opts: dict = {}
        self.client.session._stamp(data, opts)
        if "name" in order:
            opts["headers"]["mcp-name"] = order["name"]
        return await self.client.session._dispatcher.send_raw_request(data["method"], data["params"], opts)

    async def task(self, order: dict) -> dict:
        self.polled = []
        result = plain(await self.client.call_tool(order["name"], order["arguments"]))
        return {"created": self.polled[0] if self.polled else None, "statuses": self.polled[1:], "result": result}


async def serve(orders: Any) -> None:
    async for line in orders:
        order = json.loads(line)
        peer = (Stateless if MODERN else Handshake)(order)
        try:
            async with contextlib.AsyncExitStack() as stack:
                offered = await stack.enter_async_context(peer.opened())
                put({"n": order["n"], "ok": offered})
                async with anyio.create_task_group() as group:
                    closing = await answer(peer, orders, group)
                    group.cancel_scope.cancel()
            put({"n": closing, "ok": {}})
        except BaseException as error:
            put({"n": order["n"], "error": fault(error), "closed": True})
            if isinstance(error, KeyboardInterrupt):
                raise


async def answer(peer: Any, orders: Any, group: Any) -> int:
    """Follows the orders until it is to close."""
    async def one(order: dict) -> None:
        n = order["n"]
        try:
            with anyio.CancelScope() as scope:
                peer.calls[n] = scope
                match order["do"]:
                    case "call":
                        done = await peer.call(n, order)
                    case "abort":
                        done = await peer.abort(order["call"]) or {}
                    case "level":
                        done = await peer.set_level(order)
                    case _:
                        done = await getattr(peer, order["do"])(order)
                put({"n": n, "ok": done})
            if scope.cancelled_caught:
                put({"n": n, "error": {"code": "aborted", "message": "abandoned"}})
        except Exception as error:
            put({"n": n, "error": fault(error)})

    async for line in orders:
        order = json.loads(line)
        if order["do"] == "close":
            return order["n"]
        group.start_soon(one, order)
    sys.exit(0)


async def main() -> None:
    await serve(anyio.wrap_file(sys.stdin))


if __name__ == "__main__":
    anyio.run(main)
