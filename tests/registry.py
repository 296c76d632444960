"""A package registry on this machine that misbehaves as it is told: slow, gone half way, wrong bytes, errors."""

import hashlib
import io
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "tiny-0.1-py3-none-any.whl"


def wheel(content: str = "rows\n" * 20_000) -> bytes:
    """A wheel of the distribution ``tiny`` with one file of data."""
    made = io.BytesIO()
    files = {
        "tiny/data.txt": content,
        "tiny-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 0.1\n",
        "tiny-0.1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny-0.1.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(made, "w") as archive:  # stored, not compressed: large enough to be cut
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


@dataclass
class Registry:
    """``moods`` are those of the first downloads of the file, one each; the last one stays."""

    url: str
    moods: list[str]
    asked: list[str] = field(default_factory=list)

    def mood(self) -> str:
        return self.moods.pop(0) if len(self.moods) > 1 else self.moods[0]


@contextmanager
def serving(*moods: str, path: str = "/files/") -> Iterator[Registry]:
    """What lies under ``path`` is sent in a mood: fine, half, wrong, silent, error."""
    body = wheel()
    digest = hashlib.sha256(body).hexdigest()
    registry = Registry("", list(moods))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            if not self.path.startswith(path):
                self.reply(f'<a href="/files/{NAME}#sha256={digest}">{NAME}</a>'.encode(), "text/html")
                return
            mood = registry.mood()
            registry.asked.append(f"{mood} {self.headers.get('Range', '')}".strip())
            if mood == "silent":
                time.sleep(3)
            if mood == "error":
                self.send_error(500)
            elif mood == "half":
                self.reply(body, "application/zip", sent=len(body) // 2)
            else:
                self.reply(body[::-1] if mood == "wrong" else body, "application/zip")

        def reply(self, content: bytes, kind: str, sent: int | None = None) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            try:
                self.wfile.write(content[:sent])
            except OSError:
                return
            if sent is not None:
                self.close_connection = True

        def log_message(self, *given: object) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    registry.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield registry
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
