"""Serves Session-Buddy with every tool it has. `session-buddy start` registers 49 tools and none of those with figures; importing
`session_buddy.mcp.server` registers all."""

import os

from session_buddy.mcp.server import mcp

mcp.run(
    transport="streamable-http",
    host="127.0.0.1",
    port=int(os.environ["SESSION_BUDDY_PORT"]),
    path="/mcp",
    show_banner=False,
)
