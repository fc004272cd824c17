#!/usr/bin/env python3
"""The Python SDK (`mcp` 1.30 or 2.3, whichever is installed) as a client of the gateway.

usage: sdk_python.py URL --transport http|sse [--key KEY] --scenario five|everything|fixture
                     [--prefix everything-] [--direct alias=URL[,BEARER]]...

URL is the endpoint itself (`http://host:port/mcp`, `http://host:port/sse`).
`--direct` names an upstream, so that its tools are compared with what the gateway shows of it
(an address that ends in `/sse` is legacy SSE).
"""

from __future__ import annotations

import argparse
import json
import secrets

import anyio

import pages
from common import MCPError, VERSION, Checks, Client, main, shorten, text_of

# How many tools each of the five upstreams has at the versions that ./run installs.
FIVE = {"db": 9, "timescale": 6, "automation": 35, "browser": 25, "storage": 16}

# Those tools of server-everything that do not depend on what the client says it can do.
EVERYTHING = {
    "echo", "get-annotated-message", "get-env", "get-resource-links", "get-resource-reference",
    "get-structured-content", "get-sum", "get-tiny-image", "gzip-file-as-resource",
    "toggle-simulated-logging", "toggle-subscriber-updates", "trigger-long-running-operation",
}


def under(tools: list[dict], prefix: str) -> dict[str, dict]:
    """The tools whose names begin with the prefix, by their native names."""
    return {tool["name"][len(prefix):]: tool for tool in tools if tool["name"].startswith(prefix)}


def compare(checks: Checks, alias: str, shown: dict[str, dict], native: dict[str, dict], gone: tuple[str, ...] = ()) -> None:
    """Every definition is the upstream's own, member for member, but for the name.

    `gone`: members that the client's era has not, where the upstream speaks another one.
    """
    checks.equal(sorted(shown), sorted(native), f"{alias}: the same {len(native)} tools as the upstream lists itself")
    differing = []
    for name in sorted(shown.keys() & native.keys()):
        ours, theirs = dict(shown[name]), dict(native[name])
        ours.pop("name"), theirs.pop("name")
        for member in gone:
            theirs.pop(member, None)
        if ours != theirs:
            members = sorted(m for m in ours.keys() | theirs.keys() if ours.get(m) != theirs.get(m))
            differing.append(f"{name}: {members}: {shorten([[theirs.get(m), ours.get(m)] for m in members], 300)}")
    checks.equal(differing, [], f"{alias}: definitions are equal member for member but for the name")


def lost(client: Client, upstream: Client) -> tuple[str, ...]:
    """What tools of the handshake era have, and those of the stateless era have not."""
    return ("execution",) if client.is_stateless and not upstream.is_stateless else ()


async def unknown_tool(checks: Checks, client: Client, name: str) -> None:
    async with checks.step("calling an unknown tool"):
        try:
            result = await client.call(name, {})
        except MCPError as error:
            code = getattr(error, "code", None) or error.error.code
            checks.that(code in (-32602, -32601), f"an unknown tool is a JSON-RPC error ({code})",
                        f"expected -32602 or -32601, came {code}: {error}")
            checks.that(name in str(error) or "unknown" in str(error).lower(),
                        "the error says which tool or what was wrong", str(error))
        else:
            checks.fail("an unknown tool is a JSON-RPC error", f"a result came: {shorten(result)}")
    async with checks.step("ping after the error"):
        await client.ping()
        checks.ok("the session goes on after the error")


async def five(checks: Checks, client: Client, args: argparse.Namespace) -> None:
    tools = await client.tools()
    names = [tool["name"] for tool in tools]
    checks.equal(len(names), len(set(names)), "no name is listed twice")
    checks.equal(len(names), sum(FIVE.values()), "the aggregate lists all tools")
    strays = [name for name in names if name.split("-")[0] not in FIVE]
    checks.equal(strays, [], "every name begins with one of the five aliases")
    for alias, count in FIVE.items():
        checks.equal(len(under(tools, alias + "-")), count, f"{alias}: number of tools")
    for alias, (url, bearer) in args.direct.items():
        async with checks.step(f"{alias}: listing the upstream itself"):
            transport = "sse" if url.rstrip("/").endswith("/sse") else "http"
            async with Client.connect(url, transport, bearer) as upstream:
                native = {tool["name"]: tool for tool in await upstream.tools()}
                gone = lost(client, upstream)
            compare(checks, alias, under(tools, alias + "-"), native, gone)

    async with checks.step("db: a query"):
        rows = 20 + secrets.randbelow(60)
        result = await client.call("db-execute_sql", {"sql": f"SELECT n AS row_number FROM generate_series(1, {rows}) AS n"})
        text = text_of(result)
        checks.that(not result.get("isError"), "db-execute_sql is not an error", text)
        checks.equal(text.count("'row_number'") or text.count('"row_number"'), rows,
                     f"db-execute_sql gives back the {rows} rows that were asked for")

    async with checks.step("timescale: hypertables"):
        result = await client.call("timescale-list_hypertables", {})
        text = text_of(result)
        checks.that(not result.get("isError"), "timescale-list_hypertables is not an error", result)
        checks.that("conditions" in text, "timescale-list_hypertables lists the sample's hypertable", text)

    async with checks.step("automation: workflows"):
        result = await client.call("automation-search_workflows", {"limit": 5})
        checks.that(not result.get("isError"), "automation-search_workflows is not an error", result)
        data = result.get("structuredContent") or json.loads(text_of(result))
        checks.that(isinstance(data.get("data"), list) and isinstance(data.get("count"), int),
                    "automation-search_workflows answers with a list and its count", data)

    async with checks.step("browser: a page"):
        with pages.served() as web:
            url, title = web.add()
            result = await client.call("browser-browser_navigate", {"url": url})
            checks.that(not result.get("isError"), "browser-browser_navigate is not an error", result)
            result = await client.call("browser-browser_snapshot", {})
            checks.that(title in text_of(result), f"browser-browser_snapshot shows the page's random title ({title})",
                        result)
            await client.call("browser-browser_close", {})

    async with checks.step("storage: a bucket"):
        bucket = "trunkline-" + secrets.token_hex(5)
        result = await client.call("storage-minio_create_bucket", {"bucket": bucket})
        checks.that(not result.get("isError"), f"storage-minio_create_bucket makes {bucket}", result)
        result = await client.call("storage-minio_list_buckets", {})
        checks.that(bucket in text_of(result), f"storage-minio_list_buckets lists {bucket}", result)
        await client.call("storage-minio_delete_bucket", {"bucket": bucket})

    await unknown_tool(checks, client, "db-no_such_tool")


async def everything(checks: Checks, client: Client, args: argparse.Namespace) -> None:
    prefix = args.prefix
    shown = under(await client.tools(), prefix)
    checks.equal(sorted(EVERYTHING - shown.keys()), [], "all tools that do not depend on the client are listed")
    for alias, (url, bearer) in args.direct.items():
        async with checks.step(f"{alias}: listing the upstream itself"):
            transport = "sse" if url.rstrip("/").endswith("/sse") else "http"
            async with Client.connect(url, transport, bearer) as upstream:
                native = {tool["name"]: tool for tool in await upstream.tools()}
                gone = lost(client, upstream)
            # Some of its tools are there only for a client that says it can sample, elicit or give roots.
            both = shown.keys() & native.keys()
            compare(checks, alias, {n: shown[n] for n in both}, {n: native[n] for n in both | EVERYTHING}, gone)

    async with checks.step("echo"):
        word = secrets.token_hex(8) + " – “Grüße” 漢字 \u2028 🚂"
        result = await client.call(prefix + "echo", {"message": word})
        checks.equal(text_of(result), f"Echo: {word}", "echo gives back the message, whatever characters it has")

    async with checks.step("a structured result"):
        result = await client.call(prefix + "get-structured-content", {"location": "New York"})
        checks.equal(result.get("structuredContent"), {"temperature": 33, "conditions": "Cloudy", "humidity": 82},
                     "a structured result passes")

    async with checks.step("sixteen calls at once"):
        answers: dict[int, str] = {}

        async def one(number: int) -> None:
            answers[number] = text_of(await client.call(prefix + "get-sum", {"a": number, "b": 1000}))

        async with anyio.create_task_group() as group:
            for number in range(16):
                group.start_soon(one, number)
        wrong = {n: a for n, a in answers.items() if str(n + 1000) not in a}
        checks.equal(wrong, {}, "sixteen calls at once each get their own answer")

    async with checks.step("progress"):
        seen: list[tuple[float, float | None]] = []

        async def progress(done: float, total: float | None, message: str | None = None) -> None:
            seen.append((done, total))

        result = await client.call(prefix + "trigger-long-running-operation", {"duration": 1.5, "steps": 6}, progress)
        checks.that("completed" in text_of(result), "a long call with progress ends with its result", result)
        checks.equal(seen, [(float(n), 6.0) for n in range(1, 7)], "its six progress reports came, in order")

    async with checks.step("cancellation", 30):
        with anyio.move_on_after(20) as late:
            reports = await client.call_and_cancel(
                prefix + "trigger-long-running-operation", {"duration": 600, "steps": 1200})
        checks.that(not late.cancelled_caught and reports > 0,
                    "a call of ten minutes ends when it is cancelled", "it was still running after 20 s")
        result = await client.call(prefix + "echo", {"message": "after"})
        checks.equal(text_of(result), "Echo: after", "the session goes on after a cancelled call")

    await unknown_tool(checks, client, prefix + "no-such-tool")


async def fixture(checks: Checks, client: Client, args: argparse.Namespace) -> None:
    prefix = args.prefix
    shown = under(await client.tools(), prefix)
    checks.that({"test_simple_text", "test_error_handling", "test_tool_with_progress"} <= shown.keys(),
                "the fixture's tools are listed", sorted(shown))
    async with checks.step("text"):
        result = await client.call(prefix + "test_simple_text", {})
        checks.that(text_of(result), "test_simple_text gives a text", result)
    async with checks.step("image"):
        result = await client.call(prefix + "test_image_content", {})
        checks.equal([part["type"] for part in result["content"]], ["image"], "test_image_content gives an image")
    async with checks.step("a tool's own error"):
        result = await client.call(prefix + "test_error_handling", {})
        checks.that(result.get("isError") is True, "test_error_handling gives a result with isError", result)
    async with checks.step("progress"):
        seen: list[float] = []

        async def progress(done: float, *_: object) -> None:
            seen.append(done)

        await client.call(prefix + "test_tool_with_progress", {}, progress)
        checks.equal(seen, [0.0, 50.0, 100.0], "test_tool_with_progress reports 0, 50 and 100 in order")
    await unknown_tool(checks, client, prefix + "no_such_tool")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--transport", choices=["http", "sse"], default="http")
    parser.add_argument("--key", default="")
    parser.add_argument("--scenario", choices=["five", "everything", "fixture"], default="five")
    parser.add_argument("--prefix", help="what stands before a native name (default: the scenario's name and a hyphen)")
    parser.add_argument("--direct", action="append", default=[], metavar="ALIAS=URL[,BEARER]")
    args = parser.parse_args()
    if args.prefix is None:
        args.prefix = f"{args.scenario}-"
    direct = {}
    for entry in args.direct:
        alias, _, rest = entry.partition("=")
        url, _, bearer = rest.partition(",")
        direct[alias] = (url, bearer)
    args.direct = direct
    return args


if __name__ == "__main__":
    ARGS = arguments()

    async def run(checks: Checks) -> None:
        async with Client.connect(ARGS.url, ARGS.transport, ARGS.key) as client:
            await {"five": five, "everything": everything, "fixture": fixture}[ARGS.scenario](checks, client, ARGS)
        checks.ok("the client closes cleanly")

    main(f"python {VERSION} {ARGS.transport} {ARGS.scenario}", run)
