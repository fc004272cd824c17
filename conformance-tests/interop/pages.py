"""A small web server on loopback, for the browser checks: one page for each path, each with its own title."""

from __future__ import annotations

import contextlib
import http.server
import secrets
import threading


class Pages:
    def __init__(self, base: str) -> None:
        self.base = base
        self.titles: dict[str, str] = {}

    def add(self) -> tuple[str, str]:
        """A new page: its address and its random title."""
        word = secrets.token_hex(6)
        self.titles["/" + word] = f"Trunkline page {word}"
        return f"{self.base}/{word}", self.titles["/" + word]


@contextlib.contextmanager
def served():
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            title = pages.titles.get(self.path)
            body = f"<!doctype html><title>{title}</title><h1>Heading of {title}</h1>".encode() if title else b""
            self.send_response(200 if title else 404)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pages = Pages(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield pages
    finally:
        server.shutdown()
        server.server_close()
