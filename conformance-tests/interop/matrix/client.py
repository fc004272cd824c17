#!/usr/bin/env python3
"""The client of the matrix, by the Python SDK (`mcp` 1.30 or 2.3): every check against one endpoint.

usage: client.py --transport streamable|sse --url URL [--key KEY] [--prefix x-] [--scheme matrix] [--direct] [--label L]
       client.py --transport stdio --command PROGRAM [ARGUMENT]...   (all after --command belongs to it)

Two sessions (A and B) with answers of their own work at the same time; a third one (C) can nothing.
--direct: the endpoint is the server itself, so that it knows the clients by their names.
"""

from __future__ import annotations

import argparse
import base64
import pathlib
import secrets
import sys
from typing import Any

import anyio

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from common import Checks, explain, main, shorten, text_of
from py_sdk import VERSION, things
from py_side import Side, until

PARSER = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
PARSER.add_argument("--transport", choices=["streamable", "sse", "stdio"], required=True)
PARSER.add_argument("--url", default="")
PARSER.add_argument("--key", default="")
PARSER.add_argument("--prefix", default="", help="what stands before the names of tools and prompts")
PARSER.add_argument("--scheme", default="matrix", help="of the addresses of the server's resources")
PARSER.add_argument("--label", default="")
PARSER.add_argument("--direct", action="store_true", help="the endpoint is the server itself")
PARSER.add_argument("--command", nargs=argparse.REMAINDER)
ARGS = PARSER.parse_args()
PREFIX, SCHEME, DIRECT = ARGS.prefix, ARGS.scheme, ARGS.direct
THINGS = things(SCHEME)
NONCE = secrets.token_hex(4)
ROUNDS = 4


async def both(a: Side, b: Side, run: Any) -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(run, a)
        group.start_soon(run, b)


async def handshake(checks: Checks, a: Side) -> None:
    checks.that(THINGS["instructions"] in a.init.get("instructions", ""), "initialize: the server's instructions", a.init)
    has = a.init["capabilities"]
    found = {"tools": has.get("tools", {}).get("listChanged"), "prompts": has.get("prompts", {}).get("listChanged"),
             "resources": has.get("resources", {}).get("listChanged"), "subscribe": has.get("resources", {}).get("subscribe"),
             "logging": "logging" in has, "completions": "completions" in has}
    checks.equal(found, dict.fromkeys(found, True), "initialize: all capabilities are there")
    async with checks.step("ping"):
        await a.rpc("ping")
        checks.ok("ping")


async def settled(checks: Checks, a: Side, b: Side) -> None:
    """Waits until what the server says on its own arrives: the stream for that opens after the handshake."""
    async with checks.step("subscribe and touch until the first update arrives"):
        async def one(side: Side) -> None:
            uri = f"{SCHEME}://item/settle-{side.name}-{NONCE}"
            await side.rpc("resources/subscribe", {"uri": uri})
            for _ in range(20):
                await side.call("touch", uri=uri)
                if await until(lambda: uri in side.updates(), 0.3):
                    break
            await side.rpc("resources/unsubscribe", {"uri": uri})
            checks.that(uri in side.updates(), f"{side.name}: what the server says on its own arrives", "nothing came in 6 s")

        await both(a, b, one)


async def lists(checks: Checks, a: Side) -> None:
    for method, key, kind, name in (
        ("tools/list", "tools", "tools", "name"), ("prompts/list", "prompts", "prompts", "name"),
        ("resources/list", "resources", "resources", "uri"),
        ("resources/templates/list", "resourceTemplates", "templates", "uriTemplate"),
    ):
        async with checks.step(method):
            found, pages = await a.listed(method, key)
            start = PREFIX if name == "name" else ""
            names = [one[name] for one in found if one[name].startswith(start)]
            missing = [one[name] for one in THINGS[kind] if start + one[name] not in names]
            checks.equal((missing, len(names) - len(set(names))), ([], 0), f"{method}: all over its pages, none twice")
            if DIRECT:
                checks.that(pages > 1, f"{method}: has pages", pages)
            wanted = {start + one[name]: {**one, name: start + one[name]} for one in THINGS[kind]}
            differing = [one for one in found if one[name] in wanted and one != wanted[one[name]]]
            checks.equal(differing, [], f"{method}: every member as the server has it")


async def rounds(checks: Checks, a: Side, b: Side) -> None:
    wrong: list[str] = []
    done = 0

    def same(what: str, found: Any, expected: Any) -> None:
        nonlocal done
        done += 1
        if found != expected:
            wrong.append(f"{what}: expected {shorten(expected, 200)}, came {shorten(found, 300)}")

    async def guarded(what: str, part: Any) -> None:
        try:
            await part()
        except Exception as error:
            wrong.append(f"{what}: {explain(error)}")

    async def one(side: Side) -> None:
        for number in range(ROUNDS):
            word = f"{side.name}-{number}-{NONCE} “漢字” 🚂"

            async def echo() -> None:
                result = await side.call("echo", value=word)
                same("echo", (text_of(result), result.get("structuredContent")), (word, {"value": word}))

            async def model() -> None:
                result = await side.call("ask_model", prompt=word)
                same("model", text_of(result), f"model-of-{side.name}: {word}")
                same("model's name", result.get("structuredContent"),
                     {"model": f"model-of-{side.name}", "role": "assistant", "stopReason": "endTurn"})

            async def model_apart() -> None:
                same("model apart", await side.text("ask_model", prompt=word, apart=True), f"model-of-{side.name}: {word}")

            async def user() -> None:
                content = {"name": f"user-of-{side.name}: {word}", "age": ord(side.name), "color": "green", "sure": True}
                found = (await side.call("ask_user", message=word)).get("structuredContent")
                same("user", found, {"action": "accept", "content": content})

            async def roots() -> None:
                found = (await side.call("whose_roots")).get("structuredContent")
                same("roots", found, {"roots": [{"uri": uri, "name": side.name} for uri in side.roots]})

            async def slow() -> None:
                seen: list[tuple] = []

                async def progress(value: float, total: Any, message: Any = None) -> None:
                    seen.append((value, total, message))

                same("slow", text_of(await side.call("slow", progress, word=word)), f"slow {word}")
                same("progress", seen, [(float(n), 3.0, f"{word} {n}") for n in (1, 2, 3)])

            async def log() -> None:
                same("log", await side.text("log", word=word), f"logged {word}")

            parts = {"echo": echo, "model": model, "model apart": model_apart, "user": user, "roots": roots,
                     "slow": slow, "log": log}
            async with anyio.create_task_group() as group:
                for what, part in parts.items():
                    group.start_soon(guarded, f"{side.name} {what}", part)

    await both(a, b, one)
    for what in ("echo", "model", "model's name", "model apart", "user", "roots", "slow", "progress", "log"):
        mine = [text for text in wrong if text.split(":")[0] in (what, f"A {what}", f"B {what}")]
        checks.equal(mine, [], f"{ROUNDS} rounds of two clients at once: {what}: each has its own")
    for side in (a, b):
        expected = sorted(f"{side.name}-{n}-{NONCE} “漢字” 🚂" for n in range(ROUNDS))
        await until(lambda: len(side.words()) >= ROUNDS)
        checks.equal(sorted(side.words()), expected, f"{side.name}: log messages arrive once, and only its own")
        logs = side.got("notifications/message")
        # On the aggregate the gateway may say of which upstream the logger is.
        checks.that(logs and all(m["level"] == "info" and ("/" + m.get("logger", "")).endswith("/matrix")
                                 and (PREFIX or m["logger"] == "matrix") for m in logs),
                    f"{side.name}: level and logger of log messages", logs)
    asked = [one for one in a.asked if "maxTokens" in one]
    kept = {"maxTokens": 77, "systemPrompt": "Be the matrix.", "temperature": 0.25, "stopSequences": ["END"]}
    checks.that(asked and all(kept.items() <= one.items() for one in asked), "sampling: every parameter arrives", asked[:1])
    forms = [one for one in a.asked if "requestedSchema" in one]
    checks.equal(forms[0]["requestedSchema"] if forms else None, THINGS["form"], "elicitation: the form arrives as it is")


async def talk(checks: Checks, a: Side, b: Side) -> None:
    async with checks.step("decline"):
        found = (await a.call("ask_user", message="decline this")).get("structuredContent")
        checks.equal(found, {"action": "decline"}, "elicitation: a refusal of the user arrives")
    for side in (a, b):
        async with checks.step("url"):
            number = f"url-{side.name}-{NONCE}"
            found = (await side.call("ask_url", id=number)).get("structuredContent")
            checks.equal(found, {"action": "accept"}, f"{side.name}: URL elicitation")
            await until(lambda: side.got("notifications/elicitation/complete"))
            checks.equal(side.got("notifications/elicitation/complete"), [{"elicitationId": number}],
                         f"{side.name}: its completion is told, once and only here")
    async with checks.step("error -32042"):
        error = await a.refusal("tools/call", {"name": PREFIX + "need_url", "arguments": {"id": NONCE}})
        there = {"mode": "url", "message": "Go there first", "url": f"https://matrix.example/{NONCE}", "elicitationId": NONCE}
        checks.equal((error["code"], error.get("data")), (-32042, {"elicitations": [there]}),
                     "a call that needs an address first: error -32042 with the address")
    async with checks.step("ping_me"):
        checks.equal(await a.text("ping_me"), "pong", "the server pings the client")
    async with checks.step("log apart"):
        words = {side.name: f"apart-{side.name}-{NONCE}" for side in (a, b)}
        await both(a, b, lambda side: side.call("log", word=words[side.name], apart=True))
        for side in (a, b):
            await until(lambda: words[side.name] in side.words(), 2)
        found = [[word for word in side.words() if word.startswith("apart-")] for side in (a, b)]
        checks.equal(found, [[words["A"]], [words["B"]]], "a log message apart from its call: only at the caller")
    async with checks.step("setLevel"):
        await a.rpc("logging/setLevel", {"level": "error"})
        await both(a, b, lambda side: side.call("log", word=f"level-{side.name}"))
        await until(lambda: "level-B" in b.words())
        await a.rpc("ping")
        checks.equal([[w for w in side.words() if w.startswith("level-")] for side in (a, b)], [[], ["level-B"]],
                     "logging/setLevel: holds for the session that said it, and for no other")
        await a.rpc("logging/setLevel", {"level": "debug"})
        await a.call("log", word="again-A")
        checks.that(await until(lambda: "again-A" in a.words()), "logging/setLevel: back again", a.words()[-3:])
    async with checks.step("roots/list_changed"):
        a.roots = [f"file:///matrix/A/new-{NONCE}", f"file:///matrix/A/more-{NONCE}"]
        await a.notify_roots()
        count = "0"
        for _ in range(20):
            count = await a.text("roots_changes")
            if count != "0":
                break
            await anyio.sleep(0.1)
        checks.equal((count, await b.text("roots_changes")), ("1", "0"), "roots/list_changed reaches the server, for its session")
        found = (await a.call("whose_roots")).get("structuredContent", {}).get("roots", [])
        checks.equal([root["uri"] for root in found], a.roots, "the new roots are seen")


async def subscriptions(checks: Checks, a: Side, b: Side, same_process: bool) -> None:
    async with checks.step("subscriptions"):
        uris = {side.name: f"{SCHEME}://item/{side.name}-{NONCE}" for side in (a, b)}
        shared = f"{SCHEME}://item/both-{NONCE}"
        for side in (a, b):
            await side.rpc("resources/subscribe", {"uri": uris[side.name]})
            await side.rpc("resources/subscribe", {"uri": shared})
        for side in (a, b):
            await side.call("touch", uri=uris[side.name])
            checks.that(await until(lambda: uris[side.name] in side.updates()), f"{side.name}: is told of its resource")
        await a.call("touch", uri=shared)
        reached = [a, b] if same_process else [a]
        await until(lambda: all(shared in side.updates() for side in reached))
        checks.equal([side.updates().count(shared) for side in reached], [1] * len(reached),
                     "every subscriber of a resource is told, once")
        if same_process:
            await b.call("touch", uri=uris["A"])
            checks.that(await until(lambda: a.updates().count(uris["A"]) == 2), "A: is told of what B touches", a.updates())
        await a.rpc("resources/unsubscribe", {"uri": shared})
        before = a.updates().count(shared)
        await a.call("touch", uri=shared)
        if same_process:
            checks.that(await until(lambda: b.updates().count(shared) == 2), "B: is still told after A left", b.updates())
        await anyio.sleep(0.2)
        checks.equal(a.updates().count(shared), before, "A: is not told after unsubscribe")
        strangers = [[uri for uri in side.updates() if f"-{other}-" in uri or f"/{other}-" in uri]
                     for side, other in ((a, "B"), (b, "A"))]
        checks.equal(strangers, [[], []], "nobody is told of a resource that only the other subscribed to")
        for side in (a, b):
            await side.rpc("resources/unsubscribe", {"uri": uris[side.name]})
        await b.rpc("resources/unsubscribe", {"uri": shared})
        checks.equal(await a.text("subscriptions", uri=shared), "0", "the server has no subscription left")


async def changes(checks: Checks, a: Side, b: Side, same_process: bool) -> None:
    async def one(kind: str, name: str) -> None:
        async with checks.step(f"{kind}s/list_changed"):
            method, key = f"notifications/{kind}s/list_changed", "uri" if kind == "resource" else "name"
            public = f"{SCHEME}://added/{name}" if kind == "resource" else PREFIX + name
            sides = [a, b] if same_process else [a]

            async def listed(side: Side) -> bool:
                return public in [one[key] for one in (await side.listed(f"{kind}s/list", f"{kind}s"))[0]]

            for verb, there in (("add", True), ("remove", False)):
                before = {side.name: len(side.got(method)) for side in sides}
                await a.call(f"{verb}_{kind}", name=name)
                for side in sides:
                    came = await until(lambda: len(side.got(method)) > before[side.name], 8)
                    checks.that(came, f"{side.name}: {kind}s/list_changed after {verb}", "did not come")
                    found = not there
                    for _ in range(80):
                        found = await listed(side)
                        if found == there:
                            break
                        await anyio.sleep(0.1)
                    checks.equal(found, there, f"{side.name}: the list has it after {verb}: {there}")
                if there and kind == "tool":
                    checks.equal(await a.text(name), f"{name} was called", "the added tool can be called")

    # All three at once: a gateway may read lists again only now and then.
    async with anyio.create_task_group() as group:
        for kind, name in (("tool", f"new_{NONCE}"), ("prompt", f"new_{NONCE}"), ("resource", NONCE)):
            group.start_soon(one, kind, name)


async def cancels(checks: Checks, a: Side, b: Side) -> None:
    async with checks.step("cancel", 30):
        labels = {side.name: f"{side.name}-{NONCE}" for side in (a, b)}
        may = {side.name: anyio.Event() for side in (a, b)}
        started = {side.name: anyio.Event() for side in (a, b)}

        async def counts() -> list[str]:
            return [await side.text("cancelled_count", label=labels[side.name]) for side in (a, b)]

        async with anyio.create_task_group() as group:
            for side in (a, b):
                group.start_soon(side.wait_and_cancel, labels[side.name], may[side.name], started[side.name])
            for side in (a, b):
                await started[side.name].wait()
            may["A"].set()
            found: list[str] = []
            for _ in range(50):
                found = await counts()
                if found[0] == "1":
                    break
                await anyio.sleep(0.1)
            checks.equal(found, ["1", "0"], "a cancelled call is cancelled at the server, the other client's goes on")
            may["B"].set()
            for _ in range(50):
                found = await counts()
                if found == ["1", "1"]:
                    break
                await anyio.sleep(0.1)
            checks.equal(found, ["1", "1"], "then the other one is, too")
        checks.equal(await a.text("echo", value="after"), "after", "the session goes on after a cancelled call")


async def content(checks: Checks, a: Side) -> None:
    async with checks.step("resources/read"):
        text = (await a.rpc("resources/read", {"uri": f"{SCHEME}://text"}))["contents"]
        checks.equal(text, [{"uri": f"{SCHEME}://text", "mimeType": "text/plain", "text": THINGS["text"]}], "a text resource")
        blob = (await a.rpc("resources/read", {"uri": f"{SCHEME}://blob"}))["contents"][0]
        checks.equal((base64.b64decode(blob["blob"]), blob["uri"]), (bytes(range(256)), f"{SCHEME}://blob"), "a binary resource")
        item = (await a.rpc("resources/read", {"uri": f"{SCHEME}://item/{NONCE}"}))["contents"][0]
        checks.equal(item["text"], f"content of {SCHEME}://item/{NONCE}", "a resource of a template")
        link = (await a.call("link"))["content"][0]
        checks.equal((link["type"], link["uri"], link["name"]), ("resource_link", f"{SCHEME}://text", "text"), "a resource_link")
        linked = (await a.rpc("resources/read", {"uri": link["uri"]}))["contents"][0]
        checks.equal(linked["text"], THINGS["text"], "what it links to can be read")
    async with checks.step("prompts/get"):
        got = await a.rpc("prompts/get", {"name": PREFIX + "greet", "arguments": {"name": "Ada"}})
        checks.equal(got["messages"], [{"role": "user", "content": {"type": "text", "text": "Greet Ada!"}}], "a prompt with its argument")
    async with checks.step("completion"):
        greet = {"type": "ref/prompt", "name": PREFIX + "greet"}
        item = {"type": "ref/resource", "uri": f"{SCHEME}://item/{{id}}"}
        for what, ref, argument, context, expected in (
            ("of a prompt's argument", greet, {"name": "name", "value": "A"}, None, ["Ada", "Alan"]),
            ("with what was chosen before", greet, {"name": "style", "value": "Ada-p"}, {"arguments": {"name": "Ada"}}, ["Ada-plain"]),
            ("of a template's variable", item, {"name": "id", "value": "o"}, None, ["one", "other"]),
        ):
            params = {"ref": ref, "argument": argument} | ({"context": context} if context else {})
            found = (await a.rpc("completion/complete", params))["completion"]
            checks.equal(found, {"values": expected, "total": len(expected), "hasMore": False}, f"completion {what}")
    async with checks.step("errors"):
        failed = await a.call("fail")
        checks.equal((failed.get("isError"), text_of(failed)), (True, "failed on purpose"), "a tool's own error")
        for what, method, params, code in (
            ("tool", "tools/call", {"name": PREFIX + "nothing"}, (-32602,)),
            ("prompt", "prompts/get", {"name": PREFIX + "nothing"}, (-32602,)),
            ("resource", "resources/read", {"uri": f"{SCHEME}://nothing"}, (-32002, -32602)),
        ):
            error = await a.refusal(method, params)
            checks.that(error["code"] in code, f"an unknown {what} is an error ({', '.join(map(str, code))})", error)


async def identities(checks: Checks, a: Side, b: Side, c: Side) -> None:
    for side, able in ((a, True), (b, True), (c, False)):
        async with checks.step("whoami"):
            found = (await side.call("whoami"))["structuredContent"]
            has = {name: name in found["capabilities"] for name in ("sampling", "elicitation", "roots")}
            checks.equal(has, dict.fromkeys(has, able), f"{side.name}: the server knows what the client can")
            if DIRECT:
                checks.equal(found["client"]["name"], f"matrix-{side.name}", f"{side.name}: the server knows its name")
            elif side is a:
                print(f"note {checks.label}: the server knows the client as {found['client']}")
    async with checks.step("a client that can nothing"):
        results: dict[str, dict] = {}

        async def one(side: Side) -> None:
            for tool, args in (("ask_model", {"prompt": "x"}), ("ask_user", {"message": "x"}), ("whose_roots", {})):
                results[f"{side.name} {tool}"] = await side.call(tool, **args)

        await both(a, c, one)
        for tool in ("ask_model", "ask_user", "whose_roots"):
            found = results[f"C {tool}"]
            checks.that(found.get("isError") and ("support" in text_of(found).lower() or "-3260" in text_of(found)),
                        f"C: {tool} is refused, as the tool's error", found)
            checks.that(not results[f"A {tool}"].get("isError"), f"A: {tool} works meanwhile", results[f"A {tool}"])
        checks.equal(c.asked, [], "C: was asked nothing")
        checks.equal(await c.text("echo", value="C lives"), "C lives", "C: goes on")


async def run(checks: Checks) -> None:
    a, b, c = Side("A", PREFIX, NONCE), Side("B", PREFIX, NONCE), Side("C", PREFIX, NONCE, able=False)
    async with a.connected(ARGS), b.connected(ARGS), c.connected(ARGS):
        await handshake(checks, a)
        await settled(checks, a, b)
        await lists(checks, a)
        async with checks.step("rounds", 60):
            await rounds(checks, a, b)
        await talk(checks, a, b)
        same = False
        async with checks.step("whether both are served by one process"):
            same = len({(await side.call("whoami"))["structuredContent"]["pid"] for side in (a, b)}) == 1
        await subscriptions(checks, a, b, same)
        await changes(checks, a, b, same)
        await cancels(checks, a, b)
        await content(checks, a)
        await identities(checks, a, b, c)
    checks.ok("all clients close cleanly")


if __name__ == "__main__":
    main(ARGS.label or f"python {VERSION} {ARGS.transport}", run)
