"""The two generations of the Python SDK (`mcp` 1.30 and 2.3) under one name each, for server.py and client.py.

What goes over the wire is what the installed SDK sends; only names and shapes of its calls differ.
"""

from __future__ import annotations

import importlib.metadata
import json
import logging
import pathlib
import warnings
from typing import Any

warnings.filterwarnings("ignore")  # 2.x calls logging, roots and sampling deprecated
logging.getLogger("client").setLevel(logging.ERROR)  # 1.x tells of every tool that is not on the first page

VERSION = importlib.metadata.version("mcp")
MODERN = int(VERSION.split(".")[0]) >= 2

if MODERN:
    import mcp_types as types
    from mcp.shared.exceptions import MCPError, UrlElicitationRequiredError
else:
    import mcp.types as types
    from mcp.shared.exceptions import McpError as MCPError, UrlElicitationRequiredError


def things(scheme: str) -> dict[str, Any]:
    """What the servers offer, with resources of that scheme (an aggregate of servers needs different ones)."""
    text = (pathlib.Path(__file__).parent / "things.json").read_text()
    return json.loads(text.replace("matrix://", f"{scheme}://"))


# method: (type of the request, type of its params, type of the result)
METHODS = {
    "ping": (types.PingRequest, types.RequestParams, types.EmptyResult),
    "tools/list": (types.ListToolsRequest, types.PaginatedRequestParams, types.ListToolsResult),
    "tools/call": (types.CallToolRequest, types.CallToolRequestParams, types.CallToolResult),
    "prompts/list": (types.ListPromptsRequest, types.PaginatedRequestParams, types.ListPromptsResult),
    "prompts/get": (types.GetPromptRequest, types.GetPromptRequestParams, types.GetPromptResult),
    "resources/list": (types.ListResourcesRequest, types.PaginatedRequestParams, types.ListResourcesResult),
    "resources/templates/list": (
        types.ListResourceTemplatesRequest, types.PaginatedRequestParams, types.ListResourceTemplatesResult),
    "resources/read": (types.ReadResourceRequest, types.ReadResourceRequestParams, types.ReadResourceResult),
    "resources/subscribe": (types.SubscribeRequest, types.SubscribeRequestParams, types.EmptyResult),
    "resources/unsubscribe": (types.UnsubscribeRequest, types.UnsubscribeRequestParams, types.EmptyResult),
    "logging/setLevel": (types.SetLevelRequest, types.SetLevelRequestParams, types.EmptyResult),
    "completion/complete": (types.CompleteRequest, types.CompleteRequestParams, types.CompleteResult),
}


def plain(model: Any) -> dict[str, Any]:
    """As it is on the wire."""
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


def mcp_error(code: int, message: str, data: Any = None) -> Exception:
    """What a server refuses itself, as against what a client refused it."""
    made = MCPError(code, message, data) if MODERN else MCPError(types.ErrorData(code=code, message=message, data=data))
    made.own = True
    return made
