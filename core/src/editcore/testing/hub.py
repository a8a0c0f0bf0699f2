"""As much of a hub as a push, a pull or the download of a dataset needs, on loopback; for tests."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final

COMMIT: Final = "c" * 40
REPOSITORY: Final = "me/fact"


class Hub(BaseHTTPRequestHandler):
    """`files` is all that its only repository holds, be it asked for as a model or as a dataset."""

    files: dict[str, bytes]

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
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(data or b"").hexdigest()}"'}
            self._send(404 if data is None else 200, data or b"", headers)
        elif "/tree/" in path:
            self._json([{"type": "file", "path": p, "size": len(d), "oid": "0" * 40} for p, d in self.files.items()])
        else:
            self._json({"id": REPOSITORY, "sha": COMMIT, "siblings": [{"rfilename": name} for name in self.files]})

    do_HEAD = do_GET

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def _send(self, status: int, data: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[dict[str, str]]:
    """Serve `files`, which pushes change. Gives the environment for a process that shall talk to this hub."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Serving", (Hub,), {"files": files}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        endpoint = f"http://127.0.0.1:{server.server_port}"
        yield {"HF_ENDPOINT": endpoint, "HF_TOKEN": "hf_test", "NO_PROXY": "127.0.0.1", "HF_HUB_OFFLINE": "0"}
    finally:
        server.shutdown()
        server.server_close()
