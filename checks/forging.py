"""Patch files as an attacker writes them: any content, and every id and hash made to fit it."""

import contextlib
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from attrs import field, frozen

from editcore.patches.file.manifest import FORMAT, METADATA_KEY, patch_id_of
from editcore.patches.file.patch import Patch
from editcore.storage.canonical import sha256_of
from editcore.storage.tensors import blob_of
from editcore_hooks import EditcoreError

Json = dict[str, Any]
SHA: Final = "a" * 64


@frozen
class Forgery:
    """`core` and `about` are changed in place by whoever forges; `tensors` are those of the file."""

    core: Json
    about: Json
    tensors: dict[str, torch.Tensor]
    outside: Json = field(factory=dict)
    """Fields of the manifest beside these, and what ids and hashes are to say instead of the truth."""

    def put(self, key: str, form: str, **parts: torch.Tensor) -> None:
        """Give the target `key` another update."""
        target = self.core["targets"][key]
        self._without(key)
        self.tensors.update({f"{key}/{name}": part for name, part in parts.items()})
        target |= {"form": form, "parts": {name: _described(part) for name, part in parts.items()}}

    def set(self, name: str, tensor: torch.Tensor) -> None:
        """Give a tensor of the file another content, and say so."""
        key, _, part = name.rpartition("/")
        self.tensors[name] = tensor
        self.core["targets"].get(key, self.core.get("payload"))["parts"][part] = _described(tensor)

    def drop(self, key: str) -> None:
        """Take the target `key` away, if there is one."""
        if key in self.core["targets"]:
            self._without(key)
            del self.core["targets"][key]

    def rename(self, old: str, new: str) -> None:
        self.core["targets"][new] = self.core["targets"].pop(old)
        for part in self.core["targets"][new]["parts"]:
            self.tensors[f"{new}/{part}"] = self.tensors.pop(f"{old}/{part}")

    def _without(self, key: str) -> None:
        for part in self.core["targets"][key]["parts"]:
            del self.tensors[f"{key}/{part}"]

    def manifest(self) -> str:
        """The manifest as text, with ids that fit where there is a canonical form to take them of."""
        document: Json = {"format": FORMAT, "format_version": "1.0", "core": self.core, "about": self.about}
        document |= {"patch_id": SHA, "about_sha256": SHA}
        with contextlib.suppress(EditcoreError, ValueError):
            document |= {"patch_id": patch_id_of(self.core), "about_sha256": sha256_of(self.about)}
        return json.dumps({**document, **self.outside})

    def save(
        self,
        path: Path,
        text: Callable[[str], str] = lambda manifest: manifest,
        header: Callable[[Json], object] = lambda header: None,
    ) -> Path:
        """Write the file, the text of its manifest and its header changed at last."""
        document: Json = {"__metadata__": {METADATA_KEY: text(self.manifest())}}
        data = b""
        for name, tensor in sorted(self.tensors.items(), key=lambda item: (-item[1].element_size(), item[0])):
            blob = blob_of(tensor)
            offsets = [len(data), len(data) + len(blob.data)]
            document[name] = {"dtype": blob.dtype, "shape": list(blob.shape), "data_offsets": offsets}
            data += blob.data
        header(document)
        raw = json.dumps(document).encode()
        path.write_bytes(len(raw).to_bytes(8, "little") + raw + data)
        return path


def forgery(patch: Patch) -> Forgery:
    """A copy of `patch` to be changed."""
    core, about = json.loads(json.dumps([dict(patch.core), dict(patch.about)]))
    return Forgery(core, about, dict(patch.tensors))


def _described(tensor: torch.Tensor) -> Json:
    blob = blob_of(tensor)
    return {"dtype": blob.dtype, "shape": list(blob.shape), "sha256": hashlib.sha256(blob.data).hexdigest()}
