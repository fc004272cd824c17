"""One session of client.py: what it answers, what it was told, and how it asks."""

from __future__ import annotations

import contextlib
from typing import Any

import anyio

from common import text_of
from py_sdk import METHODS, MODERN, MCPError, VERSION, plain, types

from mcp import ClientSession, StdioServerParameters, stdio_client
from mcp.client.sse import sse_client

PATIENCE = 6.0
CALL_SECONDS = 10.0


async def until(condition: Any, seconds: float = PATIENCE) -> bool:
    """Whether it comes true within that time."""
    with anyio.move_on_after(seconds):
        while not condition():
            await anyio.sleep(0.02)
    return bool(condition())


class Side:
    """One session, with its own answers, and all that it was told."""

    def __init__(self, name: str, prefix: str, nonce: str, able: bool = True) -> None:
        self.name = name
        self.prefix = prefix
        self.able = able
        self.roots = [f"file:///matrix/{name}/{nonce}"]
        self.told: list[tuple[str, dict]] = []
        self.asked: list[dict] = []
        self.session: Any = None
        self.init: dict = {}

    def got(self, method: str) -> list[dict]:
        return [params for told, params in self.told if told == method]

    def words(self) -> list[str]:
        return [params["data"]["word"] for params in self.got("notifications/message")]

    def updates(self) -> list[str]:
        return [params["uri"] for params in self.got("notifications/resources/updated")]

    async def on_model(self, _: Any, params: Any) -> Any:
        params = plain(params)
        self.asked.append(params)
        text = f"model-of-{self.name}: {params['messages'][0]['content']['text']}"
        content = types.TextContent(type="text", text=text)
        return types.CreateMessageResult.model_validate(
            {"role": "assistant", "content": content, "model": f"model-of-{self.name}", "stopReason": "endTurn"})

    async def on_user(self, _: Any, params: Any) -> Any:
        params = plain(params)
        self.asked.append(params)
        if params.get("mode") == "url" or params["message"].startswith("decline"):
            return types.ElicitResult(action="decline" if params["message"].startswith("decline") else "accept")
        content = {"name": f"user-of-{self.name}: {params['message']}", "age": ord(self.name), "color": "green", "sure": True}
        return types.ElicitResult(action="accept", content=content)

    async def on_roots(self, _: Any) -> Any:
        return types.ListRootsResult.model_validate({"roots": [{"uri": uri, "name": self.name} for uri in self.roots]})

    async def on_message(self, message: Any) -> None:
        message = getattr(message, "root", message)
        method = getattr(message, "method", None)
        if isinstance(method, str) and method.startswith("notifications/"):
            self.told.append((method, plain(message).get("params") or {}))

    @contextlib.asynccontextmanager
    async def connected(self, args: Any):
        async with contextlib.AsyncExitStack() as stack:
            read, write = await stack.enter_async_context(wire(args, stack))
            able = {"sampling_callback": self.on_model, "elicitation_callback": self.on_user,
                    "list_roots_callback": self.on_roots} if self.able else {}
            self.session = await stack.enter_async_context(ClientSession(
                read, write, message_handler=self.on_message, **able,
                client_info=types.Implementation(name=f"matrix-{self.name}", version=VERSION)))
            with anyio.fail_after(CALL_SECONDS):
                self.init = plain(await self.session.initialize())
            yield self

    async def rpc(self, method: str, params: dict | None = None) -> dict:
        request_type, params_type, result_type = METHODS[method]
        typed = params_type.model_validate(params or {})
        request = request_type(params=typed) if MODERN else request_type(method=method, params=typed)
        if not MODERN:
            request = types.ClientRequest(request)
        with anyio.fail_after(CALL_SECONDS):
            return plain(await self.session.send_request(request, result_type))

    async def call(self, tool: str, progress: Any = None, **args: Any) -> dict:
        with anyio.fail_after(CALL_SECONDS):
            return plain(await self.session.call_tool(self.prefix + tool, args, progress_callback=progress))

    async def text(self, tool: str, **args: Any) -> str:
        return text_of(await self.call(tool, **args))

    async def listed(self, method: str, key: str) -> tuple[list[dict], int]:
        found: list[dict] = []
        pages, cursor = 0, None
        while pages < 50:
            result = await self.rpc(method, {"cursor": cursor} if cursor else None)
            found += result[key]
            pages, cursor = pages + 1, result.get("nextCursor")
            if not cursor:
                break
        return found, pages

    async def refusal(self, method: str, params: dict) -> dict:
        """The error that must come."""
        try:
            result = await self.rpc(method, params)
        except MCPError as error:
            return plain(error.error)
        return {"code": None, "result": result}

    async def notify_roots(self) -> None:
        await self.session.send_roots_list_changed()

    async def wait_and_cancel(self, label: str, may_cancel: anyio.Event, started: anyio.Event) -> None:
        async def progress(*_: Any) -> None:
            started.set()

        number = None if MODERN else self.session._request_id
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: self.session.call_tool(self.prefix + "wait", {"label": label}, progress_callback=progress))
            await started.wait()
            await may_cancel.wait()
            if not MODERN:  # 1.x does not tell the server when a call is abandoned
                params = types.CancelledNotificationParams(requestId=number, reason="the matrix cancels it")
                await self.session.send_notification(
                    types.ClientNotification(types.CancelledNotification(params=params)))
            group.cancel_scope.cancel()


@contextlib.asynccontextmanager
async def wire(args: Any, stack: contextlib.AsyncExitStack):
    headers = {"Authorization": f"Bearer {args.key}"} if args.key else {}
    if args.transport == "stdio":
        program = StdioServerParameters(command=args.command[0], args=args.command[1:])
        async with stdio_client(program) as (read, write):
            yield read, write
    elif args.transport == "sse":
        async with sse_client(args.url, headers=headers) as (read, write):
            yield read, write
    elif MODERN:
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        http = await stack.enter_async_context(create_mcp_http_client(headers=headers))
        async with streamable_http_client(args.url, http_client=http) as streams:
            yield streams[0], streams[1]
    else:
        from mcp.client.streamable_http import streamablehttp_client

        async with streamablehttp_client(args.url, headers=headers) as (read, write, _):
            yield read, write
