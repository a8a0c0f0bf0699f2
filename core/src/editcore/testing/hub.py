"""A hub on loopback for tests: enough for a push, a pull and the download of a dataset."""

import base64
import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, Final

COMMIT: Final = "c" * 40
REPOSITORY: Final = "me/fact"


class Hub(BaseHTTPRequestHandler):
    """`files` is all that its only repository holds, be it asked for as a model or as a dataset."""

    files: dict[str, bytes]
    etag: str | None = None
    """A hostile hub's answer instead of the hash of a file."""
    oid: str = "0" * 40
    """Its name for each file in a listing."""
    endless: bool = False
    """Each page of a listing names a next one."""
    pause: float = 0.0
    """Seconds after each byte of an answer."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        here = f"http://{self.headers['Host']}/{REPOSITORY}"
        if self.path == "/api/repos/create":
            self._json({"url": here})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            self._json(
                {"files": [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]}
            )
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self._json({"success": True, "commitUrl": f"{here}/commit/{COMMIT}", "commitOid": COMMIT})
        else:
            self._json({"type": "regular", "valid": True})

    def do_GET(self) -> None:
        path, _, name = self.path.partition("/resolve/")
        known = path.removeprefix("/api").removeprefix("/models").removeprefix("/datasets").startswith(f"/{REPOSITORY}")
        if not known:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        elif name:
            data = self.files.get(name.partition("/")[2])
            headers = {"X-Repo-Commit": COMMIT, "ETag": self.etag or f'"{hashlib.sha256(data or b"").hexdigest()}"'}
            self._send(404 if data is None else 200, data or b"", headers)
        elif "/tree/" in path:
            link = {"Link": f'<http://{self.headers["Host"]}{self.path}>; rel="next"'} if self.endless else {}
            listing = [{"type": "file", "path": p, "size": len(d), "oid": self.oid} for p, d in self.files.items()]
            self._json(listing, link)
        else:
            self._json({"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]})

    do_HEAD = do_GET

    def _json(self, value: object, headers: Mapping[str, str] = MappingProxyType({})) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json", **headers})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        with contextlib.suppress(ConnectionError):  # a client may have heard enough
            for piece in [data[i : i + 1] for i in range(len(data))] if self.pause else [data]:
                self.wfile.write(piece)
                time.sleep(self.pause)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(files: dict[str, bytes], **hostile: Any) -> Iterator[dict[str, str]]:
    """Serve `files`, which pushes change; `hostile` are other fields of `Hub`.

    Gives the environment for a process that talks to this hub.
    """
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Hub,), {"files": files, **hostile}))
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        yield {"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_test", "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "0"}
    finally:
        server.shutdown()
        server.server_close()
