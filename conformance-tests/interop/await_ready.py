#!/usr/bin/env python3
"""Waits until a gateway has all the given upstreams ready, and says what is awaited meanwhile.

usage: await_ready.py BASE-URL SECONDS [--key KEY] [--state DIR] ALIAS...

--state names the folder in which ./run keeps the state of its roles: an upstream that ./run has
given up is not waited for.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import sys
import time
import urllib.error
import urllib.request

OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def upstreams(base: str, key: str) -> dict | None:
    """The gateway's own view; None while it does not answer."""
    request = urllib.request.Request(base + "/health/readiness")
    if key:
        request.add_header("Authorization", f"Bearer {key}")
    try:
        try:
            body = OPENER.open(request, timeout=5).read()
        except urllib.error.HTTPError as error:  # 503 has the same body
            body = error.read()
        return json.loads(body).get("upstreams", {})
    except (OSError, ValueError, AttributeError):
        return None


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("seconds", type=float)
    parser.add_argument("--key", default="")
    parser.add_argument("--state", type=pathlib.Path)
    parser.add_argument("alias", nargs="+")
    args = parser.parse_args()
    began, told = time.monotonic(), ""
    while True:
        found = upstreams(args.base, args.key)
        view = {a: (found or {}).get(a, {}) for a in args.alias}
        waiting = [a for a in args.alias if view[a].get("state") != "ready"]
        says = "the gateway does not answer yet" if found is None else "; ".join(
            f"{a} {v.get('state', 'not listed')}"
            + (f", {v['tools']} tools" if v.get("state") == "ready" and "tools" in v else "")
            + (f": {v['reason']}" if v.get("state") != "ready" and v.get("reason") else "")
            for a, v in view.items())
        if says != told:
            print(f"[{time.monotonic() - began:5.0f}s] {says}", flush=True)
            told = says
        if not waiting:
            return 0
        for alias in waiting:
            role = args.state / alias if args.state else None
            if role and role.is_file() and role.read_text().strip() == "skipped":
                reason = role.with_name(alias + ".reason")
                print(f"FAILED {alias}: ./run has given it up: {reason.read_text().strip() if reason.is_file() else ''}")
                return 1
        if time.monotonic() - began > args.seconds:
            print(f"FAILED after {args.seconds:.0f} s: not ready: {', '.join(waiting)}")
            return 1
        time.sleep(0.5)


if __name__ == "__main__":
    sys.exit(main())
