"""A local HTTP server with byte ranges, and with the faults of real ones on request."""

import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass
class Server:
    """What the server serves and how it misbehaves; requests are recorded."""

    content: bytes
    etag: str | None = '"one"'
    ranges: bool = True
    kind: str = "application/octet-stream"
    cuts: list[int] = field(default_factory=list)  # per answer: close after so many bytes of its body
    statuses: list[int | None] = field(default_factory=list)  # per request: answer with this status; None: serve
    requests: list[str | None] = field(default_factory=list)  # Range header of each request
    url: str = ""


@contextmanager
def serve(content: bytes, **settings) -> Iterator[Server]:
    """Serves ``content`` on a free port of this machine."""
    server = Server(content, **settings)
    listener = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(server))
    server.url = f"http://127.0.0.1:{listener.server_address[1]}/file"
    thread = threading.Thread(target=listener.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()


def _handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            server.requests.append(wanted)
            status = server.statuses.pop(0) if server.statuses else None
            if status is not None:
                self.send_response(status)
                self.send_header("Retry-After", "0")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            same = self.headers.get("If-Range") in (None, server.etag)
            start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges and same else 0
            total = len(server.content)
            if start >= total > 0:
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{total}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = server.content[start:]
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            if server.etag:
                self.send_header("ETag", server.etag)
            self.send_header("Content-Type", server.kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: server.cuts.pop(0)] if server.cuts else body)

        def log_message(self, *_arguments) -> None:
            pass

    return Handler
