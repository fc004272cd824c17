"""What is checked of each feature of the era matrix, for one client against one endpoint.

A check raises `Failed` with what it saw. Where the specification makes a feature impossible (impossible.json), the same
check asks for what happens instead.
"""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import time
from typing import Any

HANDSHAKE = "2025-11-25"
STATELESS = "2026-07-28"


class Failed(Exception):
    """What was seen instead."""


class Refusal(Exception):
    """An error that the client got."""

    def __init__(self, error: dict) -> None:
        super().__init__(f"error {error.get('code')}: {error.get('message')}")
        self.code, self.message, self.data = error.get("code"), error.get("message") or "", error.get("data")


def that(condition: Any, what: str, seen: Any = None) -> None:
    if not condition:
        raise Failed(what if seen is None else f"{what}; seen: {short(seen)}")


def equal(seen: Any, wanted: Any, what: str) -> None:
    if seen != wanted:
        raise Failed(f"{what}: wanted {short(wanted)}, seen {short(seen)}")


def short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) < 1000 else text[:997] + "..."


def text_of(result: dict) -> str:
    return next((one["text"] for one in result.get("content", []) if one.get("type") == "text"), "")


class Cell:
    """One client against one endpoint: its peer, both kinds, and what has been told so far."""

    def __init__(self, peer: Any, client: dict, upstream: dict, scheme: str, things: dict, direct: bool) -> None:
        self.peer, self.client, self.upstream = peer, client, upstream
        self.crev, self.urev = client["revision"], upstream["revision"]
        self.scheme, self.direct = scheme, direct
        self.things = json.loads(json.dumps(things, ensure_ascii=False).replace("eras://", f"{scheme}://"))
        self.name = peer.name
        self.told: list[tuple[str, dict]] = peer.told
        self.asked: list[tuple[str, dict]] = peer.asked
        self.settled = False

    def at(self, path: str) -> str:
        return f"{self.scheme}://{path}"

    @staticmethod
    def word() -> str:
        return f"w{secrets.token_hex(4)}"

    async def rpc(self, method: str, params: dict | None = None, **more: Any) -> dict:
        return await self.peer.do("call", method=method, params=params or {}, **more)

    async def call(self, tool: str, **args: Any) -> dict:
        return await self.rpc("tools/call", {"name": tool, "arguments": args})

    async def said(self, tool: str, **args: Any) -> str:
        result = await self.call(tool, **args)
        that(not result.get("isError"), f"{tool} succeeds", result)
        return text_of(result)

    async def json(self, tool: str, **args: Any) -> Any:
        return json.loads(await self.said(tool, **args))

    async def refusal(self, method: str, params: dict) -> Refusal:
        try:
            result = await self.rpc(method, params)
        except Refusal as refusal:
            return refusal
        raise Failed(f"{method} is refused; seen: {short(result)}")

    async def refused(self, tool: str, **args: Any) -> str:
        """The call ends with an error of either kind, and the client was asked nothing."""
        before = len(self.asked)
        try:
            result = await self.call(tool, **args)
        except Refusal as refusal:
            that(refusal.code not in ("aborted", None), f"{tool} ends with an error", str(refusal))
            return str(refusal)
        finally:
            that(len(self.asked) == before, f"{tool}: the client is asked nothing", self.asked[before:])
        that(result.get("isError") is True, f"{tool} ends with an error", result)
        return text_of(result)

    async def all_of(self, method: str, key: str) -> tuple[list[dict], int]:
        found: list[dict] = []
        cursor, pages = None, 0
        while pages < 30:
            result = await self.rpc(method, {"cursor": cursor} if cursor else {})
            found += result[key]
            pages, cursor = pages + 1, result.get("nextCursor")
            if not cursor:
                return found, pages
        raise Failed(f"{method} comes to an end; seen: 30 pages")

    async def until(self, condition: Any, what: str, seconds: float = 5, seen: Any = lambda: None) -> None:
        if not await self.peer.until(condition, seconds):
            raise Failed(f"{what} within {seconds} s; seen: {short(seen())}")

    def since(self, mark: int, method: str) -> list[dict]:
        return [params for told, params in self.told[mark:] if told == method]

    async def settle(self) -> None:
        """A client of the handshake era opens the stream for what comes by itself after its handshake, at some time."""
        if self.settled or self.crev == STATELESS:
            return
        uri = self.at(f"item/{self.word()}")
        await self.peer.do("watch", uris=[uri])
        for _ in range(12):
            mark = len(self.told)
            await self.call("touch", uri=uri)
            if await self.peer.until(lambda: self.since(mark, "notifications/resources/updated"), 0.4):
                break
        await self.peer.do("unwatch")
        self.settled = True


async def list_call(t: Cell) -> None:
    equal(t.peer.opened["revision"], t.crev, "the revision that was agreed upon")
    found = {tool["name"]: tool for tool in (await t.all_of("tools/list", "tools"))[0]}
    for tool in t.things["tools"]:
        if tool.get("from", "") <= t.urev <= tool.get("to", "9"):
            seen = found.get(tool["name"])
            that(seen, f"the tool {tool['name']} is listed", list(found))
            equal((seen["description"], seen["inputSchema"]), (tool["description"], tool["inputSchema"]), f"the tool {tool['name']}")
            if t.crev == STATELESS:
                that("execution" not in seen, f"{tool['name']} has no `execution`", seen)
    word = t.word()
    equal(await t.said("echo", value=word), word, "what echo answers")
    if t.urev == STATELESS:
        region = f" Zürich 漢 {word}"
        mirror = region if t.upstream["transport"] == "http" else "nobody"
        equal(await t.said("routed", region=region), f"routed to {region}, by header to {mirror}", "an argument that travels in a header")
        who = await t.json("whoami")
        equal(who["client"].get("name"), t.name, "the upstream knows the client by its own name")
        equal("elicitation" in who["capabilities"], "elicitation" in t.peer.able, "the upstream knows the client's own capabilities")


async def structured(t: Cell) -> None:
    word = t.word()
    wanted = {"value": word, "list": [1, 2.5, None, {"deep": [True]}]}
    result = await t.call("weigh", value=word)
    equal(json.loads(text_of(result)), wanted, "the text says the same")
    tools = {tool["name"]: tool for tool in (await t.all_of("tools/list", "tools"))[0]}
    if t.urev < "2025-06-18":
        that("structuredContent" not in result and "outputSchema" not in tools["weigh"], "nothing is made up", result)
    elif t.crev >= "2025-06-18":
        equal(result.get("structuredContent"), wanted, "structuredContent")
        equal(tools["weigh"].get("outputSchema", {}).get("properties"), {"value": {"type": "string"}, "list": {"type": "array"}}, "outputSchema")
    if t.urev == STATELESS:
        result = await t.call("weigh_list", value=word)
        equal(json.loads(text_of(result)), [word, 7], "the text of a list")
        if t.crev == STATELESS:
            equal(result.get("structuredContent"), [word, 7], "structuredContent that is no object")
            equal(tools["weigh_list"].get("outputSchema", {}).get("type"), "array", "outputSchema of a list")
        else:
            that("structuredContent" not in result and "outputSchema" not in tools["weigh_list"], "what is no object is left out", (result, tools["weigh_list"]))


async def unstructured(t: Cell) -> None:
    word = t.word()
    content = (await t.call("echo", value=word))["content"]
    equal([one["type"] for one in content], ["text", "image", "resource"], "the kinds of content")
    equal((content[0]["text"], content[1]["data"], content[1]["mimeType"], content[2]["resource"]["text"], content[2]["resource"]["uri"]),
          (word, base64.b64encode(word.encode()).decode(), "image/png", word, t.at("text")), "the content")


async def tool_error(t: Cell) -> None:
    word = t.word()
    result = await t.call("fail", value=word)
    equal((result.get("isError"), text_of(result)), (True, f"failed on purpose: {word}"), "a tool's own error")
    refusal = await t.refusal("tools/call", {"name": f"no_{word}", "arguments": {}})
    equal(refusal.code, -32602, "the code for an unknown tool")


async def progress(t: Cell) -> None:
    word = t.word()
    n = t.peer.next()
    result = await t.peer.do("call", n=n, method="tools/call", params={"name": "steps", "arguments": {"word": word}}, progress=True)
    equal(text_of(result), f"steps {word}", "the result")
    seen = [(one["progress"], one.get("total")) for one in t.peer.progress(n)]
    equal(seen, [(1, 3), (2, 3), (3, 3)], "the reports, in order")
    if min(t.crev, t.urev) >= "2025-03-26":
        equal([one.get("message") for one in t.peer.progress(n)], [f"{word} {done}" for done in (1, 2, 3)], "their messages")


async def cancellation(t: Cell) -> None:
    label = t.word()
    n = t.peer.next()
    waiting = asyncio.ensure_future(t.peer.do("call", n=n, method="tools/call", params={"name": "wait", "arguments": {"label": label}}, progress=True))
    try:
        await t.until(lambda: t.peer.progress(n) or waiting.done(), "the call begins")
        if waiting.done():
            raise Failed(f"the call runs; seen: {short(str(waiting.exception() or waiting.result()))}")
        await t.peer.do("abort", call=n)
        for _ in range(50):
            seen = await t.json("seen", label=label)
            if seen.get("cancelled"):
                break
            await asyncio.sleep(0.1)
        equal(seen, {"started": 1, "cancelled": 1}, "what the server saw")
    finally:
        waiting.cancel()
    word = t.word()
    equal(await t.said("echo", value=word), word, "the next call")


async def logging(t: Cell) -> None:
    async def levels(wanted: list[str], what: str) -> None:
        word, mark = t.word(), len(t.told)
        equal(await t.said("log", word=word), f"logged {word}", "the result")
        mine = lambda: [(one["level"], one["data"]) for one in t.since(mark, "notifications/message") if one["data"].get("word") == word]
        await t.peer.until(lambda: len(mine()) >= len(wanted), 3)
        await asyncio.sleep(0.15)
        equal(mine(), [(level, {"word": word, "level": level}) for level in wanted], what)

    if t.crev == STATELESS:
        await t.peer.do("level", level=None)
        await levels([], "the messages for a request without a level")
    await t.peer.do("level", level="warning")
    await levels(["warning", "error"], "the messages at level warning")
    await t.peer.do("level", level="debug")
    await levels(["debug", "info", "warning", "error"], "the messages at level debug")
    await t.peer.do("level", level=None if t.crev == STATELESS else "error")


async def list_changed(t: Cell) -> None:
    await t.settle()
    await t.peer.do("watch", uris=[])
    try:
        for kind, method, key in (("tool", "tools/list", "tools"), ("prompt", "prompts/list", "prompts"), ("resource", "resources/list", "resources")):
            note, name = f"notifications/{kind}s/list_changed", f"{kind}_{t.word()}"
            try:
                await change(t, "add", kind, name, note, method, key)
                if kind == "tool":
                    equal(await t.said(name), f"{name} was called", "the new tool")
            finally:
                await change(t, "remove", kind, name, note, method, key)
    finally:
        await t.peer.do("unwatch")


async def change(t: Cell, verb: str, kind: str, name: str, note: str, method: str, key: str) -> None:
    """A client that reads the list again whenever it is told ends with the right one; more may be told than changed."""
    mark = start = len(t.told)
    equal(await t.said("change", verb=verb, kind=kind, name=name), f"{verb} {kind} {name}", "the change")
    while True:
        what = f"{verb}: {note} arrives" if mark == start else f"{verb}: {method} says so, or {note} arrives once more"
        await t.until(lambda: t.since(mark, note), what, seen=lambda: t.told[start:])
        mark = len(t.told)
        if (name in [one["name"] for one in (await t.all_of(method, key))[0]]) == (verb == "add"):
            return


async def resource_read(t: Cell) -> None:
    contents = (await t.rpc("resources/read", {"uri": t.at("text")}))["contents"]
    equal((contents[0]["uri"], contents[0]["text"]), (t.at("text"), t.things["text"]), "a text")
    contents = (await t.rpc("resources/read", {"uri": t.at("blob")}))["contents"]
    equal(base64.b64decode(contents[0]["blob"]), bytes(range(256)), "bytes")
    uri = t.at(f"item/{t.word()}")
    equal((await t.rpc("resources/read", {"uri": uri}))["contents"][0]["text"], f"content of {uri}", "what a template names")
    templates = [one["uriTemplate"] for one in (await t.all_of("resources/templates/list", "resourceTemplates"))[0]]
    equal(templates, [one["uriTemplate"] for one in t.things["templates"]], "the templates")
    refusal = await t.refusal("resources/read", {"uri": t.at(f"nothing/{t.word()}")})
    equal(refusal.code, -32602 if t.crev == STATELESS else -32002, "the code for what is not found")


async def subscribe(t: Cell) -> None:
    await t.settle()
    watched, other = t.at("watched"), t.at(f"item/{t.word()}")
    began = len(t.told)
    await t.peer.do("watch", uris=[watched])
    updates = lambda mark: [one["uri"] for one in t.since(mark, "notifications/resources/updated")]
    mark = len(t.told)
    await t.call("touch", uri=other)
    await asyncio.sleep(0.3)
    equal(updates(mark), [], "the updates for another resource")
    await t.call("touch", uri=watched)
    await t.until(lambda: watched in updates(mark), "the update arrives", seen=lambda: t.told[mark:])
    text = (await t.rpc("resources/read", {"uri": watched}))["contents"][0]["text"]
    that(text.startswith(f"{watched} touched "), "the resource is read anew", text)
    await t.call("touch", uri=watched)
    again = (await t.rpc("resources/read", {"uri": watched}))["contents"][0]["text"]
    equal(int(again.split()[-2]), int(text.split()[-2]) + 1, "and again, without a cache in between")
    await t.until(lambda: updates(mark).count(watched) >= 2, "the second update arrives", seen=lambda: t.told[mark:])
    await t.peer.do("unwatch")
    ended = time.monotonic()
    await asyncio.sleep(0.2)
    mark = len(t.told)
    await t.call("touch", uri=watched)
    await asyncio.sleep(0.4)
    times = [(round(at - ended, 3), told, params.get("uri", "")) for at, (told, params) in zip(t.peer.told_at[began:], t.told[began:])]
    that(not updates(mark), "no update arrives after the end of the subscription (when they came, in seconds from its end)", times)


async def prompts(t: Cell) -> None:
    found = {one["name"]: one for one in (await t.all_of("prompts/list", "prompts"))[0]}
    for one in t.things["prompts"]:
        that(one["name"] in found, f"the prompt {one['name']} is listed", list(found))
    equal([one["name"] for one in found["greet"]["arguments"]], ["name"], "the arguments of greet")
    word = t.word()
    result = await t.rpc("prompts/get", {"name": "greet", "arguments": {"name": word}})
    equal(result["messages"], [{"role": "user", "content": {"type": "text", "text": f"Greet {word}!"}}], "the messages")
    equal((await t.refusal("prompts/get", {"name": f"no_{word}"})).code, -32602, "the code for an unknown prompt")


async def completion(t: Cell) -> None:
    async def values(ref: dict, name: str, value: str) -> list[str]:
        return (await t.rpc("completion/complete", {"ref": ref, "argument": {"name": name, "value": value}}))["completion"]["values"]

    equal(await values({"type": "ref/prompt", "name": "greet"}, "name", "A"), ["Ada", "Alan"], "of a prompt")
    equal(await values({"type": "ref/resource", "uri": t.at("item/{id}")}, "id", "o"), ["one", "other"], "of a template")


async def pagination(t: Cell) -> None:
    for kind, method, key, name in (
        ("tools", "tools/list", "tools", "name"), ("prompts", "prompts/list", "prompts", "name"),
        ("resources", "resources/list", "resources", "uri"), ("templates", "resources/templates/list", "resourceTemplates", "uriTemplate"),
    ):
        found, pages = await t.all_of(method, key)
        wanted = [one[name] for one in t.things[kind] if one.get("from", "") <= t.urev <= one.get("to", "9")]
        equal([one[name] for one in found], wanted, f"{method} over its pages: all, none twice, in order")
        that(pages > 1 or not t.direct, f"{method} has pages", pages)
    equal((await t.refusal("tools/list", {"cursor": f"no {t.word()}"})).code, -32602, "the code for an unknown cursor")


async def form(t: Cell) -> None:
    word = t.word()
    if min(t.crev, t.urev) < "2025-06-18":
        await t.refused("ask_form", word=word)
        return
    mark = len(t.asked)
    equal(await t.json("ask_form", word=word),
          {"action": "accept", "content": {"answer": f"user of {t.name}: Who? {word}", "age": 42, "sure": True}}, "the answer")
    equal([method for method, _ in t.asked[mark:]], ["elicitation/create"], "what the client was asked")
    equal(t.asked[mark][1]["requestedSchema"], t.things["form"], "the form")


async def url(t: Cell) -> None:
    word = t.word()
    if min(t.crev, t.urev) < HANDSHAKE:
        await t.refused("ask_url", word=word)
        return
    mark, heard = len(t.asked), len(t.told)
    equal((await t.json("ask_url", word=word))["action"], "accept", "the answer")
    equal([(method, params.get("mode"), params.get("url")) for method, params in t.asked[mark:]],
          [("elicitation/create", "url", f"https://eras.example/{word}")], "what the client was asked")
    if t.crev < STATELESS:
        number = t.asked[mark][1].get("elicitationId")
        that(isinstance(number, str) and number, "the ask has an id", t.asked[mark])
        await t.until(lambda: {"elicitationId": number} in t.since(heard, "notifications/elicitation/complete"),
                      "the client is told that it is complete", seen=lambda: t.told[heard:])
    if t.urev == HANDSHAKE:
        word, mark = t.word(), len(t.asked)
        try:
            # The stateless era has no such error: the client is asked. So is who comes by way of another gateway.
            result = text_of(await t.call("need_url", word=word))
            that(t.crev == STATELESS or t.client["transport"] == "stdio", "a call that needs an address first is refused", result)
            addresses = [params.get("url") for _, params in t.asked[mark:]]
        except Refusal as refusal:
            that(refusal.code == -32042 and t.crev < STATELESS, "the code", str(refusal))
            addresses = [one["url"] for one in refusal.data["elicitations"]]
            result = await t.said("need_url", word=word)
        equal((result, addresses), (f"visited {word}", [f"https://eras.example/{word}"]), "a call that needs an address first")


async def sampling(t: Cell) -> None:
    word, mark = t.word(), len(t.asked)
    equal(await t.said("ask_model", word=word), f"model of {t.name}: {word}", "the answer")
    equal([method for method, _ in t.asked[mark:]], ["sampling/createMessage"], "what the client was asked")
    params = t.asked[mark][1]
    equal([params.get(key) for key in ("maxTokens", "systemPrompt", "temperature", "stopSequences")],
          [77, "Be the matrix.", 0.25, ["END"]], "its parameters")


async def roots(t: Cell) -> None:
    equal(await t.json("ask_roots"), [{"uri": f"file:///eras/{t.name}", "name": t.name}], "the roots")


async def two_asks(t: Cell) -> None:
    word, mark = t.word(), len(t.asked)
    equal(await t.json("ask_two", word=word),
          {"roots": [{"uri": f"file:///eras/{t.name}", "name": t.name}], "model": f"model of {t.name}: {word}"}, "both answers")
    equal(sorted(method for method, _ in t.asked[mark:]), ["roots/list", "sampling/createMessage"], "what the client was asked")
    word, mark = t.word(), len(t.asked)
    equal(await t.said("ask_row", word=word), f"model of {t.name}: again model of {t.name}: {word}", "two asks in a row")
    equal(len(t.asked) - mark, 2, "how often the client was asked")


async def ask_prompt(t: Cell) -> None:
    word = t.word()
    result = await t.rpc("prompts/get", {"name": "consult", "arguments": {"word": word}})
    equal(result["messages"][0]["content"]["text"], f"the model says model of {t.name}: {word}", "the answer")


async def ask_read(t: Cell) -> None:
    word = t.word()
    result = await t.rpc("resources/read", {"uri": t.at(f"consult/{word}")})
    equal(result["contents"][0]["text"], f"the model says model of {t.name}: {word}", "the answer")


async def task(t: Cell) -> None:
    word = t.word()
    if t.urev < HANDSHAKE:
        await t.refused("job", word=word)
    elif t.crev < HANDSHAKE or t.crev != t.urev:
        equal(await t.said("job", word=word), f"job {word} done", "the result of the call")
    else:
        done = await t.peer.do("task", name="job", arguments={"word": word})
        equal(text_of(done["result"]), f"job {word} done", "the result of the task")
        that(done["created"] and done["created"].get("taskId"), "it was a task", done)
        states = [one["status"] for one in done["statuses"]]
        that(states[-1:] == ["completed"] and set(states[:-1]) <= {"working"}, "its states", states)
        that(all(one["taskId"] == done["created"]["taskId"] for one in done["statuses"]), "it is the same task", done["statuses"])


async def ping(t: Cell) -> None:
    if t.crev == STATELESS:
        try:
            result = await t.peer.do("raw", method="ping")
        except Refusal as refusal:
            equal(refusal.code, -32601, "the code for a method that is not there")
        else:
            raise Failed(f"ping is unknown; seen: {short(result)}")
    else:
        equal(await t.peer.do("raw", method="ping"), {}, "the answer")
    if t.urev < STATELESS:
        equal(await t.said("ping_me"), "pong", "the upstream's own ping")


FEATURES = [
    ("call", "list and call", list_call), ("structured", "structured result", structured), ("unstruct", "unstructured result", unstructured),
    ("error", "tool error", tool_error), ("progress", "progress", progress), ("cancel", "cancellation", cancellation),
    ("log", "logging", logging), ("changed", "list changed", list_changed), ("read", "resource read", resource_read),
    ("subscr", "resource subscribe (updated)", subscribe), ("prompts", "prompts", prompts), ("complete", "completion", completion),
    ("pages", "pagination", pagination), ("form", "elicitation with a form", form), ("url", "elicitation by URL", url),
    ("sampling", "sampling", sampling), ("roots", "roots", roots), ("two", "two asks in one call", two_asks),
    ("inprompt", "ask during prompts/get", ask_prompt), ("inread", "ask during resources/read", ask_read), ("task", "task", task),
    ("ping", "ping", ping),
]
