"""A web server for target hosts: `python -m tests.lab.web PORT`.

`/bytes/N` is a file of N octets that is always the same, `/whoami` the address that the request came from.
"""

from __future__ import annotations

import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["content", "main"]

PATTERN = bytes(range(256))


def content(size: int) -> bytes:
    """What `/bytes/SIZE` holds."""
    return (PATTERN * (size // len(PATTERN) + 1))[:size]


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        match self.path.strip("/").split("/"):
            case ["whoami"]:
                self._answer(self.client_address[0].encode())
            case ["bytes", size] if size.isdigit():
                self._answer(content(int(size)))
            case _:
                self.send_error(404)

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main() -> None:
    with ThreadingHTTPServer(("0.0.0.0", int(sys.argv[1])), Handler) as server:
        print("ready", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
