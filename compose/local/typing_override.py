"""Loaded at the start of postgres-mcp's Python when that is 3.11 (see db.sh).

typing.override came with Python 3.12; it marks a method and changes nothing.
"""

import typing

if not hasattr(typing, "override"):
    typing.override = lambda method: method
