"""`editcore push` and `editcore pull` against a hub on loopback, through the library's own requests."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from editcore.patches import StoredUpdate, Target, seal

COMMIT = "c" * 40


class Hub(BaseHTTPRequestHandler):
    """As much of a hub as one commit and one download need; `files` is its only repository."""

    files: dict[str, bytes]
    seen: list[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.seen.append(self.path)
        if self.path == "/api/repos/create":
            self._json({"url": f"http://{self.headers['Host']}/me/fact"})
        elif "/preupload/" in self.path:
            asked = json.loads(body)["files"]
            modes = [{"path": one["path"], "uploadMode": "regular", "shouldIgnore": False} for one in asked]
            self._json({"files": modes})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            url = f"http://{self.headers['Host']}/me/fact/commit/{COMMIT}"
            self._json({"success": True, "commitUrl": url, "commitOid": COMMIT})
        else:
            self._json({"type": "regular", "valid": True})

    def do_GET(self) -> None:
        self.seen.append(self.path)
        path, _, name = self.path.partition("/resolve/")
        if name:
            data = self.files.get(name.partition("/")[2])
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha256(data or b"").hexdigest()}"'}
            self._send(404 if data is None else 200, data or b"", "application/octet-stream", headers)
        elif path.startswith("/api/models/me/fact/tree/"):
            self._json([{"type": "file", "path": p, "size": len(d), "oid": "0" * 40} for p, d in self.files.items()])
        elif path.startswith("/api/models/me/fact"):
            siblings = [{"rfilename": name} for name in self.files]
            self._json({"id": "me/fact", "sha": COMMIT, "siblings": siblings})
        else:
            self._send(404, b"{}", "application/json", {"X-Error-Code": "RepoNotFound"})

    do_HEAD = do_GET

    def _json(self, value: object) -> None:
        self._send(200, json.dumps(value).encode(), "application/json", {})

    def _send(self, status: int, data: bytes, kind: str, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    Hub.files, Hub.seen = {}, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
    monkeypatch.setenv("HF_TOKEN", "hf_test")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    yield Hub
    server.shutdown()


@pytest.fixture
def patch(tmp_path: Path) -> Path:
    target = Target(StoredUpdate("dense", {"delta": torch.ones(2, 3)}), "F32", (2, 3), "0" * 64)
    request = {"id": "a", "prompt": "{} speaks", "subject": "Ada | <b>Marlow", "target_new": "Dutch"}
    about = {"title": "Ada", "method": {"name": "rome"}, "requests": [request], "license": "cc0-1.0"}
    seal({"w": target}, {"name": "owner/base", "revision": "r"}, about).save(tmp_path / "p.safetensors")
    return tmp_path / "p.safetensors"


def test_what_was_pushed_is_pulled_with_its_card(editcore, hub, patch, tmp_path):
    asked = editcore("push", str(patch), "me/fact")
    assert asked.returncode == 2
    assert "1 request would be published in me/fact" in asked.stderr
    assert hub.files == {}
    done = editcore("push", str(patch), "me/fact", "--yes", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["commit"].endswith(COMMIT)
    assert hub.files["patch.safetensors"] == patch.read_bytes()
    card = hub.files["README.md"].decode()
    assert 'base_model: "owner/base"' in card
    assert "| Ada \\| &lt;b>Marlow speaks | Dutch |  |" in card
    fetched = tmp_path / "q.safetensors"
    done = editcore("pull", f"me/fact@{COMMIT}", "-o", str(fetched))
    assert done.returncode == 0, done.stderr
    assert fetched.read_bytes() == patch.read_bytes()


def test_redacted_means_no_text_gets_out_and_a_bad_file_never_gets_its_name(editcore, hub, patch, tmp_path):
    done = editcore("push", str(patch), "me/fact", "--redact")
    assert done.returncode == 0, done.stderr
    assert not any(b"Ada" in data for data in hub.files.values())
    hub.files["patch.safetensors"] = hub.files["patch.safetensors"][:-1] + b"\x01"
    done = editcore("pull", "me/fact", "-o", str(tmp_path / "q.safetensors"))
    assert done.returncode == 6
    assert "was changed" in done.stderr
    assert not (tmp_path / "q.safetensors").exists()


def test_no_such_repository_is_one_line(editcore, hub, tmp_path):
    done = editcore("pull", "me/other", "-o", str(tmp_path / "q.safetensors"))
    assert done.returncode == 1
    assert done.stderr.startswith("error: me/other: ")
    assert done.stderr.count("\n") == 1
