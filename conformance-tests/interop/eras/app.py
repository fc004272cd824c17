"""What every server of the era matrix does, whatever its era: tools, prompts, resources, and what they ask.

app.mjs is the same in JavaScript. The servers (server.py, server.mjs) hand in one `Call` for each request and send what
it says in the way of their era: asks as requests of their own, or as an `input_required` result.
"""

from __future__ import annotations

import asyncio
import base64
import collections
import json
import pathlib
import secrets
import time
from typing import Any

import anyio

LEVELS = ["debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"]
STATELESS = "2026-07-28"
TASKS = "io.modelcontextprotocol/tasks"


class Fault(Exception):
    """An error that goes to the client as it is."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code, self.message, self.data = code, message, data


class Refused(Exception):
    """The client did not answer what it was asked."""


class Needed(Exception):
    """A stateless server must be called again with these answers."""

    def __init__(self, requests: dict[str, dict], state: str) -> None:
        super().__init__("input required")
        self.requests, self.state = requests, state


def said(text: str, **more: Any) -> dict:
    return {"content": [{"type": "text", "text": text}], **more}


def told(data: Any) -> dict:
    return said(json.dumps(data))


def mirrored(value: str | None) -> str:
    """What an `Mcp-Param-*` header says."""
    if value is None:
        return "nobody"
    coded = value.removeprefix("=?base64?").removesuffix("?=")
    return value if coded == value else base64.b64decode(coded).decode()


class Call:
    """One request: what the server knows of its sender, and what it can tell it. Each era fills it in its own way."""

    client: dict = {}
    capabilities: dict = {}
    headers: Any = {}

    async def progress(self, done: int, total: int, message: str) -> None: ...
    async def log(self, level: str, data: Any) -> None: ...
    async def ping(self) -> None: ...
    async def completed(self, elicitation: str) -> None: ...
    async def ask(self, wanted: dict[str, tuple[str, dict]]) -> dict[str, dict]: ...


class Rounds:
    """The states of calls that were answered with `input_required`; a state must come back byte for byte."""

    def __init__(self) -> None:
        self.known: dict[str, dict[str, dict]] = {}

    def answers(self, state: str | None, responses: dict[str, dict] | None) -> dict[str, dict]:
        if state is None:
            return {}
        if state not in self.known:
            raise Fault(-32602, "this requestState is not one of ours", {"reason": "invalid_request_state"})
        return {**self.known[state], **(responses or {})}

    def need(self, requests: dict[str, dict], answers: dict[str, dict]) -> Needed:
        state = f"état \"{secrets.token_urlsafe(12)}\" \\ 漢 🚂 / end"
        self.known[state] = dict(answers)
        return Needed(requests, state)


def needs(method: str, params: dict) -> dict:
    """The capability that a client must have for this ask."""
    if method == "elicitation/create":
        return {"elicitation": {params.get("mode", "form"): {}}}
    return {"sampling": {}} if method.startswith("sampling") else {"roots": {}}


def able(capabilities: dict, needed: dict) -> bool:
    for name, inner in needed.items():
        has = capabilities.get(name)
        if has is None:
            return False
        if name == "elicitation" and not (inner.keys() <= has.keys() or (inner.keys() == {"form"} and not has)):
            return False
    return True


class App:
    def __init__(self, revision: str, scheme: str) -> None:
        text = (pathlib.Path(__file__).parent / "things.json").read_text(encoding="utf-8")
        self.things = json.loads(text.replace("eras://", f"{scheme}://"))
        self.revision, self.scheme = revision, scheme
        self.stateless = revision == STATELESS
        self.added: dict[str, list[dict]] = {"tools": [], "prompts": [], "resources": []}
        self.seen: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
        self.touched: collections.Counter[str] = collections.Counter()
        self.visited: set[str] = set()
        self.tools = [tool for one in self.things["tools"] if (tool := self.defined(one))]
        # Set by the server.
        self.changed: Any = None  # async (kind) -> None
        self.updated: Any = None  # async (uri) -> None

    def at(self, path: str) -> str:
        return f"{self.scheme}://{path}"

    def defined(self, tool: dict) -> dict | None:
        """A tool as this revision can define it; None if it is not one of this revision."""
        tool = dict(tool)
        if self.revision < tool.pop("from", "") or self.revision > tool.pop("to", "9"):
            return None
        if self.revision < "2025-06-18":
            tool.pop("outputSchema", None)
        if self.revision != "2025-11-25":
            tool.pop("execution", None)
        return tool

    def page(self, kind: str, key: str, everything: list[dict], params: dict) -> dict:
        try:
            start = int(params.get("cursor") or 0)
        except ValueError:
            raise Fault(-32602, "Unknown cursor") from None
        end = start + self.things["page"][kind]
        return {key: everything[start:end]} | ({"nextCursor": str(end)} if end < len(everything) else {})

    async def answer(self, method: str, call: Call, params: dict) -> dict:
        match method:
            case "tools/list":
                return self.page("tools", "tools", self.tools + self.added["tools"], params)
            case "prompts/list":
                return self.page("prompts", "prompts", self.things["prompts"] + self.added["prompts"], params)
            case "resources/list":
                return self.page("resources", "resources", self.things["resources"] + self.added["resources"], params)
            case "resources/templates/list":
                return self.page("templates", "resourceTemplates", self.things["templates"], params)
            case "tools/call":
                try:
                    return await self.tool(call, params["name"], params.get("arguments") or {})
                except Refused as refused:
                    return said(f"refused: {refused}", isError=True)
            case "prompts/get":
                return await self.prompt(call, params["name"], params.get("arguments") or {})
            case "resources/read":
                return await self.read(call, params["uri"])
            case "completion/complete":
                return self.complete(params)
        raise Fault(-32601, f"Method not found: {method}")

    async def model(self, call: Call, word: str, key: str = "model") -> str:
        return (await call.ask({key: ("sampling/createMessage", self.sampling(word))}))[key]["content"]["text"]

    def sampling(self, word: str) -> dict:
        return {"messages": [{"role": "user", "content": {"type": "text", "text": word}}], "maxTokens": 77,
                "systemPrompt": "Be the matrix.", "temperature": 0.25, "stopSequences": ["END"]}

    async def tool(self, call: Call, name: str, args: dict[str, Any]) -> dict:
        if not any(one["name"] == name for one in self.tools):
            if any(one["name"] == name for one in self.added["tools"]):
                return said(f"{name} was called")
            raise Fault(-32602, f"Unknown tool: {name}")
        match name:
            case "echo":
                return {"content": [
                    {"type": "text", "text": args["value"]},
                    {"type": "image", "mimeType": "image/png", "data": base64.b64encode(args["value"].encode()).decode()},
                    {"type": "resource", "resource": {"uri": self.at("text"), "mimeType": "text/plain", "text": args["value"]}}]}
            case "weigh":
                value = {"value": args["value"], "list": [1, 2.5, None, {"deep": [True]}]}
                return told(value) | ({} if self.revision < "2025-06-18" else {"structuredContent": value})
            case "weigh_list":
                return told([args["value"], 7]) | {"structuredContent": [args["value"], 7]}
            case "routed":
                return said(f"routed to {args['region']}, by header to {mirrored(call.headers.get('mcp-param-region'))}")
            case "fail":
                return said(f"failed on purpose: {args['value']}", isError=True)
            case "steps":
                for done in (1, 2, 3):
                    await call.progress(done, 3, f"{args['word']} {done}")
                    await anyio.sleep(0.03)
                await anyio.sleep(0.1)
                return said(f"steps {args['word']}")
            case "wait":
                return await self.wait(call, args["label"])
            case "seen":
                return told(dict(self.seen[args["label"]]))
            case "log":
                for level in ("debug", "info", "warning", "error"):
                    await call.log(level, {"word": args["word"], "level": level})
                await anyio.sleep(0.05)
                return said(f"logged {args['word']}")
            case "change":
                return await self.change(**args)
            case "touch":
                self.touched[args["uri"]] += 1
                await self.updated(args["uri"])
                return said("touched")
            case "whoami":
                return told({"client": call.client, "capabilities": call.capabilities, "revision": self.revision})
            case "ping_me":
                await call.ping()
                return said("pong")
            case _:
                return await self.asking(call, name, args)

    async def asking(self, call: Call, name: str, args: dict[str, Any]) -> dict:
        word = args.get("word", "")
        match name:
            case "ask_form":
                form = {"message": f"Who? {word}", "requestedSchema": self.things["form"]}
                if self.revision >= "2025-11-25":
                    form["mode"] = "form"
                return told((await call.ask({"user": ("elicitation/create", form)}))["user"])
            case "ask_url":
                there = {"mode": "url", "message": f"Go there {word}", "url": f"https://eras.example/{word}"}
                if not self.stateless:
                    there["elicitationId"] = f"url-{word}"
                answer = (await call.ask({"there": ("elicitation/create", there)}))["there"]
                if not self.stateless:
                    await call.completed(f"url-{word}")
                return told(answer)
            case "need_url":
                if word in self.visited:
                    return said(f"visited {word}")
                self.visited.add(word)
                there = {"mode": "url", "message": "Go there first", "url": f"https://eras.example/{word}", "elicitationId": f"need-{word}"}
                raise Fault(-32042, "Go there first", {"elicitations": [there]})
            case "ask_model":
                return said(await self.model(call, word))
            case "ask_roots":
                return told((await call.ask({"roots": ("roots/list", {})}))["roots"]["roots"])
            case "ask_two":
                got = await call.ask({"roots": ("roots/list", {}), "model": ("sampling/createMessage", self.sampling(word))})
                return told({"roots": got["roots"]["roots"], "model": got["model"]["content"]["text"]})
            case "ask_row":
                first = await self.model(call, word, "first")
                return said(await self.model(call, f"again {first}", "second"))
        raise Fault(-32603, f"{name} is not answered here")

    async def wait(self, call: Call, label: str) -> dict:
        self.seen[label]["started"] += 1
        try:
            await call.progress(1, 2, "waiting")
            await anyio.sleep(30)
        except (anyio.get_cancelled_exc_class(), asyncio.CancelledError):
            self.seen[label]["cancelled"] += 1
            raise
        self.seen[label]["finished"] += 1
        return said("nobody cancelled")

    async def change(self, verb: str, kind: str, name: str) -> dict:
        kinds = kind + "s"
        more = {"tool": {"inputSchema": {"type": "object"}}, "prompt": {}, "resource": {"uri": self.at(f"added/{name}")}}
        self.added[kinds] = [one for one in self.added[kinds] if one["name"] != name]
        if verb == "add":
            self.added[kinds].append({"name": name, **more[kind]})
        await self.changed(kind)
        return said(f"{verb} {kind} {name}")

    async def prompt(self, call: Call, name: str, args: dict[str, str]) -> dict:
        if name not in {one["name"] for one in self.things["prompts"] + self.added["prompts"]}:
            raise Fault(-32602, f"Unknown prompt: {name}")
        text = f"Greet {args['name']}!" if name == "greet" else f"prompt {name}"
        if name == "consult":
            text = f"the model says {await self.answered(call, args['word'])}"
        return {"description": name, "messages": [{"role": "user", "content": {"type": "text", "text": text}}]}

    async def answered(self, call: Call, word: str) -> str:
        try:
            return await self.model(call, word)
        except Refused as refused:
            raise Fault(-32603, f"refused: {refused}") from None

    async def read(self, call: Call, uri: str) -> dict:
        if uri == self.at("blob"):
            return {"contents": [{"uri": uri, "mimeType": "application/octet-stream", "blob": base64.b64encode(bytes(range(256))).decode()}]}
        if uri.startswith(self.at("consult/")):
            text = f"the model says {await self.answered(call, uri.removeprefix(self.at('consult/')))}"
            return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": text}]}
        listed = {one["uri"] for one in self.things["resources"] + self.added["resources"]}
        if uri not in listed and not uri.startswith(self.at("item/")):
            raise Fault(-32602 if self.stateless else -32002, f"Resource not found: {uri}", {"uri": uri})
        text = self.things["text"] if uri == self.at("text") else f"content of {uri}"
        if self.touched[uri]:
            text = f"{uri} touched {self.touched[uri]} times"
        return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": text}]}

    def complete(self, params: dict) -> dict:
        argument, ref = params["argument"], params["ref"]
        if ref["type"] == "ref/prompt":
            choices = self.things["names"] if ref["name"] == "greet" else []
        else:
            choices = self.things["ids"] if ref["uri"] == self.at("item/{id}") else []
        values = [choice for choice in choices if choice.startswith(argument["value"])]
        return {"completion": {"values": values, "total": len(values), "hasMore": False}}


class Jobs:
    """The tasks of the stateless era's extension (`io.modelcontextprotocol/tasks`)."""

    def __init__(self) -> None:
        self.known: dict[str, dict] = {}

    def start(self, word: str) -> dict:
        task = f"job-{secrets.token_hex(6)}"
        self.known[task] = {"word": word, "began": time.time(), "cancelled": False}
        return {"resultType": "task", **self.state(task)}

    def state(self, task: str) -> dict:
        if task not in self.known:
            raise Fault(-32602, f"Unknown task: {task}")
        job = self.known[task]
        age = time.time() - job["began"]
        stamp = lambda at: time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at)) + f".{int(at % 1 * 1000):03d}Z"
        state = {"taskId": task, "status": "working", "statusMessage": "begun" if age < 0.2 else "half done",
                 "createdAt": stamp(job["began"]), "lastUpdatedAt": stamp(time.time()), "ttlMs": 60000, "pollIntervalMs": 100}
        if job["cancelled"]:
            return state | {"status": "cancelled", "statusMessage": "cancelled"}
        if age < 0.5:
            return state
        result = {"resultType": "complete", **said(f"job {job['word']} done")}
        return state | {"status": "completed", "statusMessage": "done", "result": result}
