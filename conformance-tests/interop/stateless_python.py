#!/usr/bin/env python3
"""Real clients of the stateless era in their automatic mode: `mcp.Client` 2.3, or `fastmcp.Client` 4.

They are the installed libraries' own clients: they find the era out, and answer what they are asked.
The server is the fixture, or a gateway in front of it, of either era: the names are the same.

usage: stateless_python.py URL --client mcp|fastmcp [--key KEY] [--prefix PREFIX] [--no-logs] [--label TEXT]

--prefix: what the gateway puts before the names of the fixture; then resources and changes, which
have addresses and no names, are left out. --no-logs: log messages cannot come, and do not.
"""

from __future__ import annotations

import argparse
import contextlib
from typing import Any

import anyio
import mcp_types as types
from common import Checks, main, shorten
from mcp.shared.exceptions import MCPError

VERSION = "2026-07-28"
WATCHED = "test://watched-resource"
ROOT = "file:///home/user/project"
SOON = 5.0


def text_of(result: Any) -> str:
    return "".join(part.text for part in result.content if part.type == "text")


def entered(params: Any) -> dict[str, Any]:
    """What a user enters in a form of the fixture."""
    known = {"username": params.message, "email": "a@example.com", "name": "Alice", "color": "blue",
             "ok": True, "context": "a test", "confirm": True}
    return {name: known[name] for name in params.requested_schema["properties"]}


class Told:
    """What the client was told, in the order in which it came."""

    def __init__(self) -> None:
        self.heard: list[Any] = []

    async def arrives(self, wanted: Any, times: int = 1) -> bool:
        with anyio.move_on_after(SOON):
            while self.heard.count(wanted) < times:
                await anyio.sleep(0.02)
        return self.heard.count(wanted) >= times


@contextlib.asynccontextmanager
async def connect(args: argparse.Namespace, logs: Told):
    headers = {"Authorization": f"Bearer {args.key}"} if args.key else {}
    roots = [types.Root(uri=ROOT, name="Project")]

    async def log(params: Any) -> None:
        logs.heard.append(params.data)

    if args.client == "fastmcp":
        from fastmcp import Client
        from fastmcp.client.transports import StreamableHttpTransport

        async def elicited(message: str, kind: Any, params: Any, context: Any) -> Any:
            return entered(params)

        async def sampled(messages: Any, params: Any, context: Any) -> str:
            return f"You said: {messages[0].content.text}"

        client = Client(StreamableHttpTransport(args.url, headers=headers), elicitation_handler=elicited,
                        sampling_handler=sampled, roots=[ROOT], log_handler=log)
    else:
        from mcp import Client
        from mcp.client.streamable_http import streamable_http_client
        from mcp.shared._httpx_utils import create_mcp_http_client

        async def elicited(context: Any, params: Any) -> Any:
            return types.ElicitResult(action="accept", content=entered(params))

        async def sampled(context: Any, params: Any) -> Any:
            words = types.TextContent(type="text", text=f"You said: {params.messages[0].content.text}")
            return types.CreateMessageResult(role="assistant", model="none", content=words)

        async def rooted(context: Any) -> Any:
            return types.ListRootsResult(roots=roots)

        async with create_mcp_http_client(headers=headers) as http:
            wire = streamable_http_client(args.url, http_client=http)
            client = Client(wire, elicitation_callback=elicited, sampling_callback=sampled,
                            list_roots_callback=rooted, logging_callback=log, log_level="info")
            async with client:
                yield client
        return
    async with client:
        yield client


async def run(checks: Checks, args: argparse.Namespace) -> None:
    logs = Told()
    prefix = args.prefix
    is_fastmcp = args.client == "fastmcp"
    async with connect(args, logs) as client:
        checks.equal(client.protocol_version, VERSION, "the client finds the stateless era by itself")

        async def call(name: str, arguments: dict[str, Any] | None = None, progress: Any = None) -> Any:
            more = {} if progress is None else {"progress_handler" if is_fastmcp else "progress_callback": progress}
            if is_fastmcp:
                more["raise_on_error"] = False
            return await client.call_tool(prefix + name, arguments or {}, **more)

        async def says(name: str, arguments: dict[str, Any], words: str, text: str) -> None:
            async with checks.step(text, 20):
                result = await call(name, arguments)
                checks.that(words in text_of(result), text, f"expected {words!r}, came {shorten(text_of(result))}")

        async with checks.step("the tools are listed"):
            tools = await client.list_tools()
            names = {tool.name for tool in (tools if is_fastmcp else tools.tools)}
            checks.that({prefix + "test_simple_text", prefix + "test_elicitation"} <= names, "the tools are listed", names)
        await says("test_simple_text", {}, "simple text response", "a tool answers")
        await says("test_elicitation", {"message": "who?"}, '"username":"who?"', "a tool asks the user, who answers")
        await says("test_elicitation", {"message": "who?"}, "action=accept", "the tool gets what the user did")
        await says("test_input_required_result_elicitation", {}, "Hello, Alice!", "a tool of the other era asks the user")
        await says("test_input_required_result_multi_round", {}, "the color is blue", "a tool asks twice in a row")
        await says("test_sampling", {"prompt": "hello"}, "LLM response: You said: hello", "a tool asks the model")
        await says("test_input_required_result_list_roots", {}, ROOT, "a tool asks for the roots")
        await says("test_input_required_result_multiple_inputs", {}, f"You said: Generate a greeting Alice, with {ROOT}",
                   "a tool asks three things at once")
        async with checks.step("two calls at once keep their answers", 20):
            answers: dict[str, str] = {}

            async def one(word: str) -> None:
                answers[word] = text_of(await call("test_elicitation", {"message": word}))

            async with anyio.create_task_group() as group:
                for word in ("one", "two"):
                    group.start_soon(one, word)
            wrong = {word: answer for word, answer in answers.items() if f'"username":"{word}"' not in answer}
            checks.equal(wrong, {}, "two calls at once keep their answers")
        async with checks.step("a prompt asks the user", 20):
            prompt = await client.get_prompt(prefix + "test_input_required_result_prompt")
            checks.equal(prompt.messages[0].content.text, "Use this context: a test", "a prompt asks the user")
        async with checks.step("progress", 20):
            seen: list[float] = []

            async def progress(done: float, total: float | None, message: str | None) -> None:
                seen.append(done)

            await call("test_tool_with_progress", {}, progress)
            checks.equal(seen, [0.0, 50.0, 100.0], "progress comes in order")
        async with checks.step("a tool's own error", 20):
            result = await call("test_error_handling")
            checks.that("intentionally returns an error" in text_of(result), "a tool's own error is a result", result)
        async with checks.step("an unknown tool", 20):
            try:
                result = await call("no_such_tool")
                checks.fail("an unknown tool is an error", shorten(result))
            except MCPError as error:
                checks.equal(error.error.code, -32602, "an unknown tool is an error")
        if not is_fastmcp:  # it does not say a level
            async with checks.step("log messages", 20):
                await call("test_tool_with_logging")
                if args.no_logs:
                    checks.equal(logs.heard, [], "log messages that belong to no call do not come")
                else:
                    checks.that(await logs.arrives("Tool processing data"), "log messages come", logs.heard)
        if not prefix:
            await addressed(checks, client, call, is_fastmcp)
    checks.ok("the client closes cleanly")


async def addressed(checks: Checks, client: Any, call: Any, is_fastmcp: bool) -> None:
    """What has an address and no name."""
    async with checks.step("a resource is read", 20):
        found = await client.read_resource("test://static-text")
        contents = found if is_fastmcp else found.contents
        checks.equal(contents[0].text, "This is the content of the static text resource.", "a resource is read")
    async with checks.step("an unknown resource", 20):
        try:
            found = await client.read_resource("test://none")
            checks.fail("an unknown resource is an error of its era", shorten(found))
        except MCPError as error:
            checks.equal(error.error.code, -32602, "an unknown resource is an error of its era")
    if is_fastmcp:  # it listens to nothing
        return
    async with checks.step("changes", 30):
        told = Told()

        async def hear(stream: Any) -> None:
            async for event in stream:
                told.heard.append((type(event).__name__, getattr(event, "uri", None)))

        wanted = {"tools_list_changed": True, "resource_subscriptions": [WATCHED]}
        async with client.listen(**wanted) as stream, anyio.create_task_group() as group:
            group.start_soon(hear, stream)
            await call("test_trigger_tool_change")
            checks.that(await told.arrives(("ToolsListChanged", None)), "the list of tools changes", told.heard)
            await call("test_trigger_resource_change")
            checks.that(await told.arrives(("ResourceUpdated", WATCHED)), "a subscribed resource changes", told.heard)
            # What comes after it on the same way is here, and it is not.
            await call("test_trigger_prompt_change")
            await call("test_trigger_resource_change")
            await told.arrives(("ResourceUpdated", WATCHED), times=2)
            kinds = {kind for kind, _ in told.heard}
            checks.equal(kinds, {"ToolsListChanged", "ResourceUpdated"}, "nothing is told that was not asked for")
            group.cancel_scope.cancel()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--client", choices=["mcp", "fastmcp"], required=True)
    parser.add_argument("--key", default="")
    parser.add_argument("--prefix", default="")
    parser.add_argument("--no-logs", action="store_true")
    parser.add_argument("--label")
    args = parser.parse_args()
    args.label = args.label or f"{args.client} {args.url}"
    return args


if __name__ == "__main__":
    ARGS = arguments()
    main(ARGS.label, lambda checks: run(checks, ARGS))
