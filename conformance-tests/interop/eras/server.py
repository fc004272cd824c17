#!/usr/bin/env python3
"""An upstream of the era matrix by the Python SDK: `mcp` 1.30 for the handshake era, 2.3 for the stateless one.

usage: server.py --kind KIND [--port N] [--scheme S]      (KIND is a key of kinds.json)

1.30 is held to the one revision of its kind; 2.3 refuses `initialize`, so that each is a server of one era.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import pathlib
import sys
from typing import Any

import anyio

sys.dont_write_bytecode = True
HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent / "matrix")]
from app import LEVELS, TASKS, App, Call, Fault, Jobs, Needed, Refused, Rounds, able, needs, said
from py_sdk import METHODS, MODERN, MCPError, VERSION, mcp_error, plain, types

from mcp.server.lowlevel import NotificationOptions, Server

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--kind", required=True)
PARSER.add_argument("--port", type=int, default=0)
PARSER.add_argument("--scheme", default="eras")
ARGS = PARSER.parse_args()
KIND = json.loads((HERE / "kinds.json").read_text())[ARGS.kind]
REVISION, TRANSPORT = KIND["revision"], KIND["transport"]
APP = App(REVISION, ARGS.scheme)
RESULTS = {"sampling/createMessage": types.CreateMessageResult, "elicitation/create": types.ElicitResult,
           "roots/list": types.ListRootsResult}
SERVED = [method for method in METHODS if method != "ping"]


class Handshake(Call):
    """A call of the handshake era: its asks are requests on the stream of the call."""

    def __init__(self, session: Any, request: Any, token: Any, known: dict) -> None:
        self.session, self.id, self.token, self.known = session, request, token, known
        params = plain(session.client_params)
        self.client, self.capabilities = params["clientInfo"], params["capabilities"]

    async def progress(self, done: int, total: int, message: str) -> None:
        if self.token is not None:
            text = None if REVISION < "2025-03-26" else message
            await self.session.send_progress_notification(self.token, done, total, text, related_request_id=self.id)

    async def log(self, level: str, data: Any) -> None:
        if LEVELS.index(level) >= LEVELS.index(self.known["level"]):
            await self.session.send_log_message(level, data, "eras", related_request_id=self.id)

    async def ping(self) -> None:
        await self.session.send_ping()

    async def completed(self, elicitation: str) -> None:
        await self.session.send_elicit_complete(elicitation, related_request_id=self.id)

    async def ask(self, wanted: dict[str, tuple[str, dict]]) -> dict[str, dict]:
        from mcp.shared.message import ServerMessageMetadata

        answers: dict[str, dict] = {}
        refused: list[str] = []

        async def one(key: str, method: str, params: dict) -> None:
            if not able(self.capabilities, needs(method, params)):
                refused.append(f"the client has no {json.dumps(needs(method, params))}")
                return
            request = types.ServerRequest.model_validate({"method": method, "params": params} if params else {"method": method})
            try:
                answers[key] = plain(await self.session.send_request(
                    request, RESULTS[method], metadata=ServerMessageMetadata(related_request_id=self.id)))
            except MCPError as error:
                refused.append(f"{error.error.code} {error.error.message}")

        async with anyio.create_task_group() as group:
            for key, (method, params) in wanted.items():
                group.start_soon(one, key, method, params)
        if refused:
            raise Refused("; ".join(refused))
        return answers


class Stateless(Call):
    """A call of the stateless era: what is not answered yet ends it, for this time."""

    def __init__(self, ctx: Any, params: dict, rounds: Rounds) -> None:
        self.session, self.id, self.rounds = ctx.session, ctx.request_id, rounds
        meta = (ctx.params or {}).get("_meta") or {}
        self.token = meta.get("progressToken")
        self.headers = getattr(ctx.request, "headers", {})
        self.client = meta.get("io.modelcontextprotocol/clientInfo") or {}
        self.capabilities = meta.get("io.modelcontextprotocol/clientCapabilities") or {}
        self.answers = rounds.answers(params.get("requestState"), params.get("inputResponses"))

    async def progress(self, done: int, total: int, message: str) -> None:
        if self.token is not None:
            await self.session.send_progress_notification(self.token, done, total, message, related_request_id=self.id)

    async def log(self, level: str, data: Any) -> None:
        await self.session.send_log_message(level, data, "eras", related_request_id=self.id)

    async def ask(self, wanted: dict[str, tuple[str, dict]]) -> dict[str, dict]:
        missing = {}
        for key, (method, params) in wanted.items():
            if not able(self.capabilities, needs(method, params)):
                raise Fault(-32021, "The client lacks a capability", {"requiredCapabilities": needs(method, params)})
            if key not in self.answers:
                missing[key] = {"method": method, "params": params} if params else {"method": method}
        if missing:
            raise self.rounds.need(missing, self.answers)
        return {key: self.answers[key] for key in wanted}


def handshake() -> Server:
    """1.30, held to one revision."""
    import mcp.shared.version

    types.LATEST_PROTOCOL_VERSION = REVISION
    mcp.shared.version.SUPPORTED_PROTOCOL_VERSIONS[:] = [REVISION]
    server = Server("eras-python", version=VERSION)
    sessions: dict[int, dict] = {}

    options = server.create_initialization_options

    def corrected(*_: Any, **__: Any) -> Any:
        """1.30 says `subscribe: false` whatever there is, and `listChanged: false` over HTTP."""
        made = options(NotificationOptions(True, True, True))
        made.capabilities.resources.subscribe = True
        if REVISION < "2025-03-26":
            made.capabilities.completions = None
        return made

    server.create_initialization_options = corrected

    async def tell(whom: Any, what: Any) -> None:
        for key, known in list(sessions.items()):
            if whom(known):
                try:
                    with anyio.fail_after(2):
                        await what(known["session"])
                except Exception:
                    sessions.pop(key, None)

    async def changed(kind: str) -> None:
        await tell(lambda _: True, lambda session: getattr(session, f"send_{kind}_list_changed")())

    async def updated(uri: str) -> None:
        await tell(lambda known: uri in known["uris"], lambda session: session.send_resource_updated(uri))

    APP.changed, APP.updated = changed, updated
    if REVISION == "2025-11-25":
        server.experimental.enable_tasks()

    async def job(args: dict) -> Any:
        ctx = server.request_context
        ctx.experimental.validate_task_mode("required")

        async def work(task: Any) -> Any:
            await anyio.sleep(0.2)
            await task.update_status("half done")
            await anyio.sleep(0.3)
            return types.CallToolResult.model_validate(said(f"job {args['word']} done"))

        return await ctx.experimental.run_task(work)

    def register(method: str) -> None:
        request_type, _, result_type = METHODS[method]

        async def handler(request: Any) -> Any:
            ctx = server.request_context
            params = plain(request.params) if request.params else {}
            known = sessions.setdefault(id(ctx.session), {"session": ctx.session, "level": "debug", "uris": set()})
            match method:
                case "resources/subscribe":
                    known["uris"].add(params["uri"])
                case "resources/unsubscribe":
                    known["uris"].discard(params["uri"])
                case "logging/setLevel":
                    known["level"] = params["level"]
                case _:
                    if method == "tools/call" and params["name"] == "job" and REVISION == "2025-11-25":
                        return types.ServerResult(await job(params["arguments"]))
                    call = Handshake(ctx.session, ctx.request_id, ctx.meta.progressToken if ctx.meta else None, known)
                    try:
                        result = await APP.answer(method, call, params)
                    except Fault as fault:
                        raise mcp_error(fault.code, fault.message, fault.data) from None
                    return types.ServerResult(result_type.model_validate(result))
            return types.ServerResult(types.EmptyResult())

        server.request_handlers[request_type] = handler

    for method in SERVED:
        register(method)
    return server


def stateless() -> Server:
    """2.3, without its handshake half."""
    from mcp.server.subscriptions import (
        InMemorySubscriptionBus, ListenHandler, PromptsListChanged, ResourcesListChanged, ResourceUpdated, ToolsListChanged)

    bus = InMemorySubscriptionBus()
    rounds, jobs = Rounds(), Jobs()
    server = Server("eras-python", version=VERSION, on_subscriptions_listen=ListenHandler(bus))
    server.extensions[TASKS] = {}

    async def changed(kind: str) -> None:
        await bus.publish({"tool": ToolsListChanged, "prompt": PromptsListChanged, "resource": ResourcesListChanged}[kind]())

    async def updated(uri: str) -> None:
        await bus.publish(ResourceUpdated(uri=uri))

    APP.changed, APP.updated = changed, updated

    def register(method: str) -> None:
        async def handler(ctx: Any, typed: Any) -> Any:
            params = plain(typed)
            try:
                call = Stateless(ctx, params, rounds)
                if method == "tools/call" and params["name"] == "job":
                    if TASKS not in (call.capabilities.get("extensions") or {}):
                        raise Fault(-32021, "This tool runs as a task only", {"requiredCapabilities": {"extensions": {TASKS: {}}}})
                    return jobs.start(params["arguments"]["word"])
                result = await APP.answer(method, call, params)
                # Lists may be kept until they are said to have changed.
                hints = {"ttlMs": 60000, "cacheScope": "public"} if method.endswith("/list") else {"ttlMs": 0, "cacheScope": "private"}
                if method.endswith("/list") or method == "resources/read":
                    result |= hints
                return {"resultType": "complete", **result}
            except Needed as needed:
                return {"resultType": "input_required", "inputRequests": needed.requests, "requestState": needed.state}
            except Refused as refused:
                return said(f"refused: {refused}", isError=True)
            except Fault as fault:
                raise mcp_error(fault.code, fault.message, fault.data) from None

        server.add_request_handler(method, METHODS[method][1], handler)

    for method in SERVED:
        if method not in ("resources/subscribe", "resources/unsubscribe"):
            register(method)

    def task(method: str) -> None:
        async def handler(_: Any, typed: Any) -> Any:
            try:
                if method == "tasks/cancel":
                    jobs.state(typed.task_id)
                    jobs.known[typed.task_id]["cancelled"] = True
                    return {}
                return jobs.state(typed.task_id)
            except Fault as fault:
                raise mcp_error(fault.code, fault.message, fault.data) from None

        server.add_request_handler(method, TaskParams, handler)

    class TaskParams(types.RequestParams):
        task_id: str

    for method in ("tasks/get", "tasks/cancel"):
        task(method)
    return server


def application(server: Server) -> Any:
    from starlette.applications import Starlette
    from starlette.responses import JSONResponse, Response
    from starlette.routing import Mount, Route

    if TRANSPORT == "sse":
        from mcp.server.sse import SseServerTransport

        wire = SseServerTransport("/messages/")

        async def stream(request: Any) -> Response:
            async with wire.connect_sse(request.scope, request.receive, request._send) as (read, write):
                await server.run(read, write, server.create_initialization_options())
            return Response()

        return Starlette(routes=[Route("/sse", stream), Mount("/messages/", wire.handle_post_message)])

    from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

    manager = StreamableHTTPSessionManager(server)

    class Endpoint:
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            version = dict(scope["headers"]).get(b"mcp-protocol-version", b"").decode()
            if MODERN and version != REVISION:
                error = {"code": -32022, "message": "Unsupported protocol version", "data": {"supported": [REVISION], "requested": version}}
                await JSONResponse({"jsonrpc": "2.0", "id": None, "error": error}, 400)(scope, receive, send)
            else:
                await manager.handle_request(scope, receive, send)

    @contextlib.asynccontextmanager
    async def lifespan(_: Any):
        async with manager.run():
            yield

    return Starlette(routes=[Route("/mcp", Endpoint())], lifespan=lifespan)


async def over_stdio(server: Server) -> None:
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write):
        if MODERN:
            from mcp.server.runner import _serve_modern_stream

            async with server.lifespan(server) as state:
                await _serve_modern_stream(server, read, write, lifespan_state=state, raise_exceptions=False)
        else:
            await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    if MODERN != APP.stateless:
        sys.exit(f"mcp {VERSION} is not of the era of {ARGS.kind}")
    made = stateless() if MODERN else handshake()
    if TRANSPORT == "stdio":
        anyio.run(over_stdio, made)
    else:
        import uvicorn

        uvicorn.run(application(made), host="127.0.0.1", port=ARGS.port, log_level="warning")
