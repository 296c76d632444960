"""A package registry and a data hub on this machine that misbehave as they are told: gone half way, wrong bytes, …"""

import hashlib
import io
import json
import threading
import time
import zipfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

NAME = "tiny-0.1-py3-none-any.whl"
COMMIT = "a" * 40


def wheel(content: str = "rows\n" * 20_000) -> bytes:
    """A wheel of the distribution ``tiny`` with one file of data."""
    buffer = io.BytesIO()
    files = {
        "tiny/data.txt": content,
        "tiny-0.1.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny\nVersion: 0.1\n",
        "tiny-0.1.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "tiny-0.1.dist-info/RECORD": "",
    }
    with zipfile.ZipFile(buffer, "w") as archive:  # stored, not compressed: large enough to be cut
        for name, text in files.items():
            archive.writestr(name, text)
    return buffer.getvalue()


@dataclass
class Registry:
    """``moods`` are those of the first downloads of the file, one each; the last one stays."""

    url: str
    moods: list[str]
    requests: list[str] = field(default_factory=list)

    def mood(self) -> str:
        return self.moods.pop(0) if len(self.moods) > 1 else self.moods[0]


class Handler(BaseHTTPRequestHandler):
    """Sends ``body`` for what has a mood, in the mood that is next, and pages for the rest."""

    protocol_version = "HTTP/1.1"
    registry: Registry
    body: bytes

    def moody(self, path: str) -> bool:
        raise NotImplementedError

    def page(self, path: str) -> None:
        raise NotImplementedError

    def headers_of_body(self) -> dict[str, str]:
        return {"Content-Type": "application/zip"}

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        if not self.moody(path):
            self.page(path)
            return
        mood = self.registry.mood()
        self.registry.requests.append(f"{mood} {self.headers.get('Range', '')}".strip())
        if mood == "silent":
            time.sleep(3)
        if mood == "error":
            self.send_error(500)
            return
        content = self.body[::-1] if mood == "wrong" else self.body
        content = content.replace(b"cold", b"warm", 500) if mood == "changed" else content
        self.reply(content, len(content) // 2 if mood == "half" else len(content), **self.headers_of_body())

    def do_HEAD(self) -> None:
        path = self.path.partition("?")[0]
        if self.moody(path):
            self.reply(self.body, 0, **self.headers_of_body())
        else:
            self.page(path)

    def reply(self, content: bytes, sent: int, status: int = 200, **headers: str) -> None:
        """All that ``Content-Length`` promises, or less of it; then the connection is cut."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        try:
            self.wfile.write(content[:sent])
        except OSError:
            return
        if sent < len(content):
            self.close_connection = True

    def log_message(self, *arguments: object) -> None:
        """Nothing."""


@contextmanager
def _serving(kind: type[Handler], moods: tuple[str, ...]) -> Iterator[Registry]:
    kind.registry = registry = Registry("", list(moods))
    server = ThreadingHTTPServer(("127.0.0.1", 0), kind)
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


def serving(*moods: str, path: str = "/files/") -> AbstractContextManager[Registry]:
    """A package registry; what lies under ``path`` is sent in a mood: fine, half, wrong, silent, error."""

    class Packages(Handler):
        body = wheel()

        def moody(self, requested: str) -> bool:
            return requested.startswith(path)

        def page(self, requested: str) -> None:
            digest = hashlib.sha256(self.body).hexdigest()
            content = f'<a href="/files/{NAME}#sha256={digest}">{NAME}</a>'.encode()
            self.reply(content, len(content), **{"Content-Type": "text/html"})

    return _serving(Packages, moods)


def hub(*moods: str, large: bool = False) -> AbstractContextManager[Registry]:
    """A data hub with the data set ``owner/name``, whose one file is sent in a mood.

    fine, half, wrong, changed (here and there, the length stays), silent, error. ``large``: its hash is that of files
    beyond what git keeps by itself.
    """

    class Hub(Handler):
        body = (
            "text,label\n" + "".join(f"red house {n},{'warm' if n % 2 else 'cold'}\n" for n in range(4000))
        ).encode()

        def moody(self, requested: str) -> bool:
            return requested == f"/datasets/owner/name/resolve/{COMMIT}/train.csv"

        def headers_of_body(self) -> dict[str, str]:
            return {"ETag": f'"{self.digest()}"', "X-Repo-Commit": COMMIT}

        def digest(self) -> str:
            git = hashlib.sha1(b"blob %d\0" % len(self.body) + self.body)
            return (hashlib.sha256(self.body) if large else git).hexdigest()

        def page(self, requested: str) -> None:
            file = {"type": "file", "path": "train.csv", "size": len(self.body), "oid": "0" * 40}
            about = {"id": "owner/name", "sha": COMMIT, "siblings": [{"rfilename": "train.csv"}], "tags": []}
            if not requested.startswith("/api/datasets/owner/name"):
                self.reply(b"", 0, 404, **{"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
                return
            content = json.dumps([file] if "/tree/" in requested else about).encode()
            self.reply(content, len(content), **{"Content-Type": "application/json"})

    return _serving(Hub, moods)
