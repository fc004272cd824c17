"""What the Python interop scripts share: one client over two generations of the `mcp` SDK, and the checks.

`mcp` 1.30 and 2.3 differ in names, in how headers are given and in how a call is cancelled.
`Client` hides that, and nothing else: what goes over the wire is what the installed SDK sends.
With 2.x it is the SDK's own high-level client, which asks `server/discover` before `initialize`.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib.metadata
import sys
import time
import traceback
from typing import Any

import anyio

VERSION = importlib.metadata.version("mcp")
MODERN = int(VERSION.split(".")[0]) >= 2

if MODERN:
    from mcp import Client as SdkClient
    from mcp.client.sse import sse_client
    from mcp.client.streamable_http import streamable_http_client
    from mcp.shared._httpx_utils import create_mcp_http_client
    from mcp.shared.exceptions import MCPError
else:
    import mcp.types as types
    from mcp import ClientSession, McpError as MCPError
    from mcp.client.sse import sse_client
    from mcp.client.streamable_http import streamablehttp_client

CALL_TIMEOUT = 120.0


class Checks:
    """Prints one line per check and remembers how many failed."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.passed = 0
        self.failed = 0

    def ok(self, text: str) -> None:
        self.passed += 1
        print(f"ok {self.label}: {text}", flush=True)

    def fail(self, text: str, detail: str) -> None:
        self.failed += 1
        print(f"FAILED {self.label}: {text}: {detail}", flush=True)

    def that(self, condition: Any, text: str, detail: Any = "") -> bool:
        if condition:
            self.ok(text)
        else:
            self.fail(text, shorten(detail))
        return bool(condition)

    def equal(self, found: Any, expected: Any, text: str) -> bool:
        return self.that(found == expected, text, f"expected {shorten(expected)}, came {shorten(found)}")

    @contextlib.asynccontextmanager
    async def step(self, text: str, seconds: float = CALL_TIMEOUT):
        """A part that may raise: whatever it raises is one failed check, and the parts after it still run."""
        began = time.monotonic()
        try:
            with anyio.fail_after(seconds):
                yield
        except Exception as error:
            took = time.monotonic() - began
            self.fail(text, f"expected no exception, after {took:.1f} s came {explain(error)}")

    def finish(self) -> int:
        print(f"{self.label}: {self.passed} passed, {self.failed} failed", flush=True)
        return 1 if self.failed or not self.passed else 0


def shorten(value: Any, limit: int = 600) -> str:
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[:limit] + f"… ({len(text)} characters)"


def explain(error: BaseException) -> str:
    """The innermost exceptions of a group, since a group's own text says nothing."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(explain(inner) for inner in error.exceptions)
    return shorten("".join(traceback.format_exception_only(error)).strip())


class Client:
    """A connected session."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    @staticmethod
    @contextlib.asynccontextmanager
    async def connect(url: str, transport: str, key: str = ""):
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        async with contextlib.AsyncExitStack() as stack:
            if MODERN:
                if transport == "sse":
                    wire = sse_client(url, headers=headers)
                else:
                    http = await stack.enter_async_context(create_mcp_http_client(headers=headers))
                    wire = streamable_http_client(url, http_client=http)
                yield Client(await stack.enter_async_context(SdkClient(wire)))
            else:
                if transport == "sse":
                    read, write = await stack.enter_async_context(sse_client(url, headers=headers))
                else:
                    read, write, _ = await stack.enter_async_context(streamablehttp_client(url, headers=headers))
                session = await stack.enter_async_context(ClientSession(read, write))
                await session.initialize()
                yield Client(session)

    @property
    def session(self) -> Any:
        return self.inner.session if MODERN else self.inner

    @property
    def is_stateless(self) -> bool:
        """Whether it speaks the era without sessions (2026-07-28)."""
        return MODERN and self.inner.protocol_version >= "2026"

    async def tools(self) -> list[dict[str, Any]]:
        """Every page of `tools/list`."""
        found: list[dict[str, Any]] = []
        cursor = None
        while True:
            page = await (self.inner.list_tools(cursor=cursor) if cursor else self.inner.list_tools())
            found += [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in page.tools]
            cursor = page.next_cursor if MODERN else page.nextCursor
            if not cursor:
                return found

    async def call(self, name: str, arguments: dict[str, Any], progress: Any = None) -> dict[str, Any]:
        timeout: Any = CALL_TIMEOUT if MODERN else datetime.timedelta(seconds=CALL_TIMEOUT)
        result = await self.inner.call_tool(
            name, arguments, read_timeout_seconds=timeout, progress_callback=progress
        )
        return result.model_dump(mode="json", by_alias=True, exclude_none=True)

    async def ping(self) -> None:
        """Something small that shows that the session lives (2026-07-28 has no `ping`)."""
        if self.is_stateless:
            await self.inner.list_tools()
        else:
            await self.session.send_ping()

    async def call_and_cancel(self, name: str, arguments: dict[str, Any]) -> int:
        """Starts a call, waits for its first progress, cancels it; returns how many progress reports came."""
        started = anyio.Event()
        reports = 0

        async def progress(*_: Any) -> None:
            nonlocal reports
            reports += 1
            started.set()

        request_id = None if MODERN else self.session._request_id
        async with anyio.create_task_group() as group:

            async def run() -> None:
                await self.call(name, arguments, progress)

            group.start_soon(run)
            await started.wait()
            if not MODERN:  # 1.x does not tell the server when a call is abandoned
                params = types.CancelledNotificationParams(requestId=request_id, reason="the test cancels it")
                note = types.CancelledNotification(method="notifications/cancelled", params=params)
                await self.session.send_notification(types.ClientNotification(note))
            group.cancel_scope.cancel()
        return reports


def text_of(result: dict[str, Any]) -> str:
    return "\n".join(part.get("text", "") for part in result.get("content", []) if part.get("type") == "text")


def main(label: str, run: Any) -> None:
    """Runs `run(checks)` and ends the process with the verdict."""
    checks = Checks(label)

    async def guarded() -> None:
        try:
            await run(checks)
        except Exception as error:
            checks.fail("the script runs to its end", explain(error))

    anyio.run(guarded)
    sys.exit(checks.finish())
