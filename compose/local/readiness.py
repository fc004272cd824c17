"""Prints the gateway's view of its upstreams: one line each, alias|state|tools|reason.

usage: readiness.py URL      (with keys, the master key in TRUNKLINE_MASTER_KEY, LITELLM_MASTER_KEY or TRUNKLINE_KEY)
An unready gateway answers 503 with the same body, so the status code does not matter here.
"""

import json
import os
import sys
import urllib.error
import urllib.request

try:
    # No proxy of the environment: this is loopback.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(sys.argv[1])
        for name in ("TRUNKLINE_MASTER_KEY", "LITELLM_MASTER_KEY", "TRUNKLINE_KEY"):
            if os.environ.get(name):
                # Only the master key sees the upstreams.
                request.add_header("Authorization", "Bearer " + os.environ[name])
                break
        body = opener.open(request, timeout=5).read()
    except urllib.error.HTTPError as error:
        body = error.read()
    upstreams = json.loads(body).get("upstreams", {})
except (OSError, ValueError, AttributeError):
    sys.exit(1)

for alias, upstream in sorted(upstreams.items()):
    reason = " ".join(str(upstream.get("reason") or "").split()).replace("|", "/")
    print(alias, upstream.get("state", "unknown"), upstream.get("tools") or 0, reason, sep="|")
