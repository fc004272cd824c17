#!/usr/bin/env python3
"""Two clients on the Playwright upstream at the same time see two browsers.

usage: two_browsers.py URL --transport http|sse [--key KEY] [--prefix browser-]
"""

from __future__ import annotations

import argparse

import pages
from common import VERSION, Checks, Client, main, text_of


async def see(client: Client, prefix: str) -> str:
    return text_of(await client.call(prefix + "browser_snapshot", {}))


async def run(checks: Checks) -> None:
    prefix = ARGS.prefix
    with pages.served() as web:
        (url_a, title_a), (url_b, title_b) = web.add(), web.add()
        async with checks.step("two clients", 180):
            async with Client.connect(ARGS.url, ARGS.transport, ARGS.key) as a:
                async with Client.connect(ARGS.url, ARGS.transport, ARGS.key) as b:
                    await a.call(prefix + "browser_navigate", {"url": url_a})
                    await b.call(prefix + "browser_navigate", {"url": url_b})
                    seen_a, seen_b = await see(a, prefix), await see(b, prefix)
                    checks.that(title_a in seen_a and title_b not in seen_a,
                                "client A sees its own page after client B navigated", seen_a)
                    checks.that(title_b in seen_b and title_a not in seen_b, "client B sees its own page", seen_b)
                    await b.call(prefix + "browser_close", {})
                seen_a = await see(a, prefix)
                checks.that(title_a in seen_a, "client A still sees its page after client B has gone", seen_a)
                await a.call(prefix + "browser_close", {})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("url")
    parser.add_argument("--transport", choices=["http", "sse"], default="http")
    parser.add_argument("--key", default="")
    parser.add_argument("--prefix", default="browser-")
    ARGS = parser.parse_args()
    main(f"python {VERSION} {ARGS.transport} two browsers", run)
