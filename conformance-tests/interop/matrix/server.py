#!/usr/bin/env python3
"""The upstream of the matrix, by the Python SDK (low-level server of `mcp` 1.30 or 2.3).

usage: server.py --transport streamable|sse|stdio [--port N] [--scheme matrix]

What it offers stands in things.json; server.mjs offers the same. It listens on 127.0.0.1, at /mcp or /sse.
What the SDK cannot do (tried) stands in README.md.
"""

from __future__ import annotations

import argparse
import base64
import collections
import contextlib
import json
import os
import sys
from typing import Any

import anyio

sys.dont_write_bytecode = True
from py_sdk import METHODS, MODERN, MCPError, UrlElicitationRequiredError, VERSION, mcp_error, plain, things, types

from mcp.server.lowlevel import NotificationOptions, Server
from mcp.server.sse import SseServerTransport
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--transport", choices=["streamable", "sse", "stdio"], default="streamable")
PARSER.add_argument("--port", type=int, default=0)
PARSER.add_argument("--scheme", default="matrix", help="of the addresses of its resources")
ARGS = PARSER.parse_args()
SCHEME = ARGS.scheme
THINGS = things(SCHEME)
LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]


class Known:
    """What the server remembers of one client's session."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.level = "debug"
        self.subscribed: set[str] = set()
        self.roots_changes = 0


class State:
    """Of the whole process, whatever the session."""

    def __init__(self) -> None:
        self.known: dict[int, Known] = {}
        self.added: dict[str, list[dict]] = {"tools": [], "prompts": [], "resources": []}
        self.cancelled: collections.Counter[str] = collections.Counter()

    def of(self, session: Any) -> Known:
        # 2.x makes a new session object for every request; the params of initialize are the same object.
        return self.known.setdefault(id(session.client_params), Known(session))

    async def tell(self, whom: Any, what: Any) -> None:
        """Tells every session that is meant, and forgets those that are gone."""
        for key, known in list(self.known.items()):
            if whom(known):
                try:
                    with anyio.fail_after(2):
                        await what(known.session)
                except Exception:
                    self.known.pop(key, None)


STATE = State()


class Call:
    """One request: its session, its id, its progress token."""

    def __init__(self, session: Any, request_id: Any, token: Any) -> None:
        self.session = session
        self.id = request_id
        self.token = token
        self.known = STATE.of(session)

    async def progress(self, done: int, total: int, message: str) -> None:
        if self.token is not None:
            await self.session.send_progress_notification(self.token, done, total, message, related_request_id=self.id)


def said(text: str, **more: Any) -> dict:
    return {"content": [{"type": "text", "text": text}], **more}


def told(data: dict) -> dict:
    return said(json.dumps(data), structuredContent=data)


async def ask_model(call: Call, prompt: str, apart: bool = False) -> dict:
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=prompt))
    answer = plain(await call.session.create_message(
        [message], max_tokens=77, system_prompt="Be the matrix.", temperature=0.25, stop_sequences=["END"],
        related_request_id=None if apart else call.id))
    return said(answer["content"]["text"], structuredContent={k: answer.get(k) for k in ("model", "role", "stopReason")})


async def ask_url(call: Call, id: str) -> dict:
    answer = await call.session.elicit_url("Go there", f"https://matrix.example/{id}", id, related_request_id=call.id)
    if answer.action == "accept":
        await call.session.send_elicit_complete(id)
    return told({"action": answer.action})


async def need_url(call: Call, id: str) -> dict:
    there = {"mode": "url", "message": "Go there first", "url": f"https://matrix.example/{id}", "elicitationId": id}
    raise UrlElicitationRequiredError([types.ElicitRequestURLParams.model_validate(there)])


async def slow(call: Call, word: str = "") -> dict:
    for done in (1, 2, 3):
        await call.progress(done, 3, f"{word} {done}")
        await anyio.sleep(0.05)
    await anyio.sleep(0.1)
    return said(f"slow {word}")


async def log(call: Call, word: str, apart: bool = False) -> dict:
    if LEVELS.index("info") >= LEVELS.index(call.known.level):
        await call.session.send_log_message(
            "info", {"word": word}, "matrix", related_request_id=None if apart else call.id)
    return said(f"logged {word}")


async def touch(call: Call, uri: str) -> dict:
    await STATE.tell(lambda known: uri in known.subscribed, lambda session: session.send_resource_updated(uri))
    return said("touched")


async def wait(call: Call, label: str) -> dict:
    await call.progress(1, 2, "waiting")
    try:
        await anyio.sleep(600)
    except anyio.get_cancelled_exc_class():
        STATE.cancelled[label] += 1
        raise
    return said("nobody cancelled")


async def tool(call: Call, name: str, args: dict[str, Any]) -> dict:
    match name:
        case "echo":
            return said(args["value"], structuredContent={"value": args["value"]})
        case "slow":
            return await slow(call, **args)
        case "log":
            return await log(call, **args)
        case "ask_model":
            return await ask_model(call, **args)
        case "ask_user":
            answer = await call.session.elicit_form(args["message"], THINGS["form"], related_request_id=call.id)
            return told(plain(answer))
        case "ask_url":
            return await ask_url(call, **args)
        case "need_url":
            return await need_url(call, **args)
        case "whose_roots":
            return told({"roots": plain(await call.session.list_roots())["roots"]})
        case "roots_changes":
            return said(str(call.known.roots_changes))
        case "ping_me":
            await call.session.send_ping()
            return said("pong")
        case "touch":
            return await touch(call, **args)
        case "subscriptions":
            return said(str(sum(args["uri"] in known.subscribed for known in STATE.known.values())))
        case "link":
            return {"content": [{"type": "resource_link", "uri": f"{SCHEME}://text", "name": "text", "mimeType": "text/plain"}]}
        case "wait":
            return await wait(call, **args)
        case "cancelled_count":
            return said(str(STATE.cancelled[args["label"]]))
        case "whoami":
            params = plain(call.session.client_params)
            return told({"client": params["clientInfo"], "capabilities": params["capabilities"],
                         "protocolVersion": params["protocolVersion"], "pid": os.getpid(), "sdk": f"python {VERSION}"})
        case "fail":
            return said("failed on purpose", isError=True)
        case _ if name.startswith(("add_", "remove_")):
            return await change(*name.split("_"), args["name"])
        case _ if any(added["name"] == name for added in STATE.added["tools"]):
            return said(f"{name} was called")
    raise mcp_error(-32602, f"Unknown tool: {name}")


async def change(verb: str, kind: str, name: str) -> dict:
    kinds = kind + "s"
    STATE.added[kinds] = [one for one in STATE.added[kinds] if one["name"] != name]
    if verb == "add":
        more = {"tool": {"inputSchema": {"type": "object"}}, "prompt": {}, "resource": {"uri": f"{SCHEME}://added/{name}"}}
        STATE.added[kinds].append({"name": name, **more[kind]})
    await STATE.tell(lambda _: True, lambda session: getattr(session, f"send_{kind}_list_changed")())
    return said(f"{verb} {kind} {name}")


def page(kind: str, key: str, everything: list[dict], params: dict) -> dict:
    size = THINGS["page"][kind]
    try:
        start = int(params.get("cursor") or 0)
    except ValueError:
        raise mcp_error(-32602, "Unknown cursor") from None
    end = start + size
    return {key: everything[start:end]} | ({"nextCursor": str(end)} if end < len(everything) else {})


def read(uri: str) -> dict:
    if uri == f"{SCHEME}://blob":
        blob = base64.b64encode(bytes(range(256))).decode()
        return {"contents": [{"uri": uri, "mimeType": "application/octet-stream", "blob": blob}]}
    listed = {one["uri"] for one in THINGS["resources"] + STATE.added["resources"]}
    if uri not in listed and not uri.startswith((f"{SCHEME}://item/", f"{SCHEME}://other/")):
        raise mcp_error(-32002, f"Resource not found: {uri}", {"uri": uri})
    text = THINGS["text"] if uri == f"{SCHEME}://text" else f"content of {uri}"
    return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": text}]}


def prompt(name: str, args: dict[str, str]) -> dict:
    if name not in {one["name"] for one in THINGS["prompts"] + STATE.added["prompts"]}:
        raise mcp_error(-32602, f"Unknown prompt: {name}")
    text = f"Greet {args['name']}!" if name == "greet" else f"prompt {name}"
    return {"description": name, "messages": [{"role": "user", "content": {"type": "text", "text": text}}]}


def complete(params: dict) -> dict:
    argument, ref = params["argument"], params["ref"]
    if argument["name"] == "style":
        who = (params.get("context") or {}).get("arguments", {}).get("name", "nobody")
        choices = [f"{who}-formal", f"{who}-plain"]
    elif ref["type"] == "ref/prompt":
        choices = THINGS["names"] if ref["name"] == "greet" else []
    else:
        choices = THINGS["ids"] if ref["uri"] == f"{SCHEME}://item/{{id}}" else []
    values = [choice for choice in choices if choice.startswith(argument["value"])]
    return {"completion": {"values": values, "total": len(values), "hasMore": False}}


async def answer(method: str, call: Call, params: dict) -> dict:
    match method:
        case "tools/call":
            try:
                return await tool(call, params["name"], params.get("arguments") or {})
            except MCPError as error:
                if isinstance(error, UrlElicitationRequiredError) or hasattr(error, "own"):
                    raise
                return said(f"refused: {error.error.code} {error.error.message}", isError=True)
        case "tools/list":
            return page("tools", "tools", THINGS["tools"] + STATE.added["tools"], params)
        case "prompts/list":
            return page("prompts", "prompts", THINGS["prompts"] + STATE.added["prompts"], params)
        case "resources/list":
            return page("resources", "resources", THINGS["resources"] + STATE.added["resources"], params)
        case "resources/templates/list":
            return page("templates", "resourceTemplates", THINGS["templates"], params)
        case "resources/read":
            return read(params["uri"])
        case "resources/subscribe":
            call.known.subscribed.add(params["uri"])
        case "resources/unsubscribe":
            call.known.subscribed.discard(params["uri"])
        case "prompts/get":
            return prompt(params["name"], params.get("arguments") or {})
        case "completion/complete":
            return complete(params)
        case "logging/setLevel":
            call.known.level = params["level"]
    return {}


class Matrix(Server):
    """1.30 says `subscribe: false` whatever there is, and both say `listChanged: false` over HTTP unless told."""

    def create_initialization_options(self, *args: Any, **more: Any) -> Any:
        options = super().create_initialization_options(NotificationOptions(True, True, True))
        options.capabilities.resources.subscribe = True
        return options


def build() -> Matrix:
    server = Matrix("matrix-python", version=VERSION, instructions=THINGS["instructions"])
    for method, (request_type, params_type, result_type) in METHODS.items():
        if method != "ping":
            register(server, method, request_type, params_type, result_type)
    if MODERN:
        async def changed(ctx: Any, _: Any) -> None:
            STATE.of(ctx.session).roots_changes += 1

        server.add_notification_handler("notifications/roots/list_changed", types.NotificationParams, changed)
    else:
        # 1.30 hands a notification over without its session: the session hears it itself.
        from mcp.server.session import ServerSession

        hear = ServerSession._received_notification

        async def heard(self: ServerSession, notification: Any) -> None:
            await hear(self, notification)
            if isinstance(notification.root, types.RootsListChangedNotification):
                STATE.of(self).roots_changes += 1

        ServerSession._received_notification = heard
    return server


def register(server: Matrix, method: str, request_type: Any, params_type: Any, result_type: Any) -> None:
    if MODERN:
        async def modern(ctx: Any, params: Any) -> Any:
            token = (ctx.meta or {}).get("progress_token")
            return result_type.model_validate(
                await answer(method, Call(ctx.session, ctx.request_id, token), plain(params)), by_name=False)

        server.add_request_handler(method, params_type, modern)
    else:
        async def handler(request: Any) -> Any:
            ctx = server.request_context
            token = ctx.meta.progressToken if ctx.meta else None
            params = plain(request.params) if request.params else {}
            result = await answer(method, Call(ctx.session, ctx.request_id, token), params)
            return types.ServerResult(result_type.model_validate(result))

        server.request_handlers[request_type] = handler


def application(server: Matrix, transport: str) -> Any:
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Mount, Route

    if transport == "streamable":
        manager = StreamableHTTPSessionManager(server)

        class Endpoint:
            async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
                await manager.handle_request(scope, receive, send)

        @contextlib.asynccontextmanager
        async def lifespan(_: Any):
            async with manager.run():
                yield

        return Starlette(routes=[Route("/mcp", Endpoint())], lifespan=lifespan)

    wire = SseServerTransport("/messages/")

    async def stream(request: Any) -> Response:
        async with wire.connect_sse(request.scope, request.receive, request._send) as (read, write):
            await server.run(read, write, server.create_initialization_options())
        return Response()

    return Starlette(routes=[Route("/sse", stream), Mount("/messages/", wire.handle_post_message)])


async def over_stdio(server: Matrix) -> None:
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    if ARGS.transport == "stdio":
        anyio.run(over_stdio, build())
    else:
        import uvicorn

        uvicorn.run(application(build(), ARGS.transport), host="127.0.0.1", port=ARGS.port, log_level="warning")
