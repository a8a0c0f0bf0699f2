"""The sealed patch and its file. `inspect` reads the header alone; loading reads, hashes and checks every tensor."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import attrs
from attrs import field, frozen

import editcore_hooks
from editcore.patches.file import manifest as manifests
from editcore.patches.file.core import Part
from editcore.patches.forms.table import EXCLUSIVE
from editcore.patches.forms.units import is_units, not_finite
from editcore.storage.safetensors_reader import Entry, read_header, read_span
from editcore.storage.safetensors_writer import Blob, safetensors_chunks, write_safetensors
from editcore.text.ids import short
from editcore.text.visible import plain_line
from editcore_hooks import RefusedFileError, UsageError

if TYPE_CHECKING:
    import torch

    from editcore.patches.forms.deltas import Delta

CoreMapping = Mapping[str, Any]
_NAMES: Final = ("title", "author", "license")


class Described:
    """What core and annotation say, for a loaded patch and for a header alone."""

    core: CoreMapping
    about: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return str(self.core["kind"])

    @property
    def scale(self) -> float:
        return float(self.core["apply"]["scale"])

    @property
    def targets(self) -> Mapping[str, Mapping[str, Any]]:
        return self.core["targets"]  # type: ignore[no-any-return]

    @property
    def requires(self) -> tuple[str, ...]:
        return tuple(self.core["requires"])

    @property
    def title(self) -> str:
        """One line as it was written; annotation that is no text has none. To be escaped where it is shown."""
        value = self.about.get("title")
        return value if isinstance(value, str) else ""

    def annotation(self, name: str) -> Mapping[str, Any]:
        """An object of `about`, empty when it is missing or something else: annotation is never trusted in shape."""
        value = self.about.get(name)
        return value if isinstance(value, dict) else {}

    def objects(self, name: str) -> list[Mapping[str, Any]]:
        """The objects of a list of `about`; none when it is something else."""
        value = self.about.get(name)
        return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


@frozen
class PatchHeader(Described):
    """A patch file whose ids were checked and whose tensors were not read. Needs no torch."""

    path: Path
    patch_id: str
    core: CoreMapping
    about: Mapping[str, Any]
    parts: Mapping[str, Part] = field(repr=False)
    entries: Mapping[str, Entry] = field(repr=False)
    notices: tuple[str, ...] = ()

    def bytes_of(self, name: str) -> bytes:
        """The stored bytes of one tensor. Raises `RefusedFileError` when they are not those that the core names."""
        data = read_span(self.path, self.entries[name])
        found = hashlib.sha256(data).hexdigest()
        if found != self.parts[name].sha256:
            raise RefusedFileError(
                f"{self.path} was changed: tensor {name} has sha256 {found}, expected {self.parts[name].sha256}",
                hint="get the patch again from where it came",
            )
        return data

    def tensor(self, name: str) -> "torch.Tensor":
        from editcore.storage.tensors import tensor_of

        part = self.parts[name]
        return tensor_of(part.dtype, part.shape, self.bytes_of(name))

    def deltas(self, key: str) -> "tuple[Delta, ...]":
        """The deltas of one target, its tensors read now and checked in value as well."""
        parts = {name: self.tensor(f"{key}/{name}") for name in self.targets[key]["parts"]}
        return _deltas(self.core, key, parts, str(self.path))


@frozen
class Patch(Described, editcore_hooks.Patch):
    """A patch with its tensors, named `<checkpoint key>/<part>`, `payload/<name>`, `state/<name>`."""

    notices: tuple[str, ...] = field(default=(), eq=False, kw_only=True)

    @staticmethod
    def read_header(path: Path | str) -> PatchHeader:
        """Check file structure, both ids and every shape, and read no tensor. Raises `RefusedFileError`."""
        path = Path(path)
        header = read_header(path)
        manifest = manifests.read_manifest(header.metadata, str(path))
        if set(header.entries) != set(manifest.parts):
            odd = sorted(set(header.entries) ^ set(manifest.parts))
            raise RefusedFileError(
                f"{path} is refused: tensor {odd[0]!r} is in its manifest or in the file, but not in both",
                hint="get the patch again from where it came",
            )
        for name, part in manifest.parts.items():
            entry = header.entries[name]
            if (entry.dtype, entry.shape) != (part.dtype, part.shape):
                raise RefusedFileError(
                    f"{path} is refused: tensor {name} is {entry.dtype} {entry.shape}, "
                    f"its manifest says {part.dtype} {part.shape}",
                    hint="get the patch again from where it came",
                )
        return PatchHeader(
            path, manifest.patch_id, manifest.core, manifest.about, manifest.parts, header.entries, manifest.notices
        )

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a patch and check all of it: ids, hash of every tensor, forms and values. Raises `RefusedFileError`."""
        header = cls.read_header(path)
        tensors = {name: header.tensor(name) for name in sorted(header.parts)}
        patch = cls(header.patch_id, header.core, header.about, tensors, notices=header.notices)
        for key in header.targets:
            patch.deltas(key)
        if is_units(patch) and (part := not_finite(tensors)):
            raise RefusedFileError(
                f"{path} is refused: {part} holds values that are not finite",
                hint="get the patch again from its author",
            )
        return patch

    def save(self, path: Path | str) -> None:
        """Write the patch; the same patch gives the same bytes. Raises `UsageError` when the path cannot be written."""
        path = Path(path)
        if path.suffix != ".safetensors":
            raise UsageError(f"{path} does not end in .safetensors", hint=f"name it {path.name}.safetensors")
        write_safetensors(path, *self._content())

    def chunks(self) -> list[bytes]:
        """The bytes of the file that `save` writes, in pieces."""
        return safetensors_chunks(*self._content())

    def _content(self) -> tuple[dict[str, Blob], dict[str, str]]:
        from editcore.storage.tensors import blob_of

        blobs = {name: blob_of(tensor) for name, tensor in self.tensors.items()}
        return blobs, {manifests.METADATA_KEY: manifests.write_manifest(self.core, self.about)}

    def deltas(self, key: str) -> "tuple[Delta, ...]":
        """The deltas that this patch adds to one target, in the order in which they are added."""
        parts = {name: self.tensors[f"{key}/{name}"] for name in self.targets[key]["parts"]}
        return _deltas(self.core, key, parts, f"patch {short(self.patch_id)}")

    def delta_norms(self) -> dict[str, float]:
        """Frobenius norm of the delta of each target, its scale included; exclusive forms have none.

        Raises `RefusedFileError` for one that overflows float32.
        """
        from editcore.patches.forms.deltas import norm, whole

        added = [key for key, target in self.targets.items() if target["form"] not in EXCLUSIVE]
        return {key: norm(whole(self.deltas(key)), key) for key in added}

    def with_about(self, **fields: Any) -> Self:
        """The same patch, same id, with annotation set; None takes a field away. Names become plain lines."""
        fields = plain_names(fields)
        about = {name: value for name, value in {**self.about, **fields}.items() if value is not None}
        return attrs.evolve(self, about=about)

    def redact(self, keep_hashes: bool = False) -> Self:
        """The same patch, same id, without the texts it was made from; `keep_hashes` leaves salted hashes of them."""
        from editcore.patches.file.redaction import redacted

        return attrs.evolve(self, about=redacted(self.about, keep_hashes))


def plain_names(about: Mapping[str, Any]) -> dict[str, Any]:
    """Annotation as it is written: title, author and licence in one line each, without hidden characters."""
    lines = {name: plain_line(about[name]) for name in _NAMES if isinstance(about.get(name), str)}
    return {**about, **lines}


def _deltas(core: CoreMapping, key: str, parts: "dict[str, torch.Tensor]", where: str) -> "tuple[Delta, ...]":
    from editcore.patches.forms.deltas import Delta, value_fault

    target, scale = core["targets"][key], float(core["apply"]["scale"])
    if fault := value_fault(target["form"], tuple(target["shape"]), parts):
        raise RefusedFileError(f"{where} is refused: target {key} {fault}", hint="get the patch again from its author")
    if "groups" not in target:
        return (Delta(target["form"], parts, scale),)
    deltas, start = [], 0
    for group in target["groups"]:
        stop = start + group["rank"]
        factors = {"left": parts["left"][:, start:stop], "right": parts["right"][start:stop]}
        deltas.append(Delta("low_rank", factors, scale * group["scale"]))
        start = stop
    return tuple(deltas)
