"""The sealed patch and its file. `inspect` reads the header alone; loading reads, hashes and checks every tensor."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import attrs
from attrs import field, frozen

import editcore_hooks
from editcore.patches.file import manifest as manifests
from editcore.patches.file.core import Core
from editcore.patches.file.kinds import payload_fault
from editcore.patches.file.part import Part
from editcore.patches.file.target import CoreTarget
from editcore.storage.safetensors_reader import Entry, read_header, read_span
from editcore.storage.safetensors_writer import Blob, safetensors_chunks, write_safetensors
from editcore.text.ids import short
from editcore.text.visible import plain_line
from editcore_hooks import RefusedFileError, UsageError

if TYPE_CHECKING:
    import torch

    from editcore.patches.forms.deltas import Delta
    from editcore.patches.forms.form import Parts

CoreMapping = Mapping[str, Any]
_NAMES: Final = ("title", "author", "license")


class Described:
    """Content of core and annotation, for a loaded patch and for a header alone.

    `core` is the JSON whose hash is the id, as it is written and shown; whoever asks what it means asks `checked`.
    """

    patch_id: str
    core: CoreMapping
    checked: Core
    about: Mapping[str, Any]

    @property
    def kind(self) -> str:
        return self.checked.kind

    @property
    def scale(self) -> float:
        return self.checked.scale

    @property
    def targets(self) -> Mapping[str, CoreTarget]:
        return self.checked.targets

    @property
    def requires(self) -> tuple[str, ...]:
        return self.checked.requires

    @property
    def payload_kind(self) -> str | None:
        """The patch kind that owns the payload; None of a weights patch, which has none."""
        payload = self.checked.payload
        return None if payload is None else str(payload.kind)

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
    checked: Core = field(repr=False, eq=False)
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
                hint="get the patch again from its source",
            )
        return data

    def tensor(self, name: str) -> "torch.Tensor":
        from editcore.storage.tensors import tensor_of

        part = self.parts[name]
        return tensor_of(part.dtype, part.shape, self.bytes_of(name))

    def deltas(self, key: str) -> "tuple[Delta, ...]":
        """The deltas of one target, its tensors read now and checked in value as well."""
        parts = {name: self.tensor(f"{key}/{name}") for name in self.targets[key].parts}
        return _deltas(self.checked, key, parts, str(self.path))


def _read_core(patch: Described) -> Core:
    return Core.read(patch.core, f"patch {short(patch.patch_id)}")


@frozen
class Patch(Described, editcore_hooks.Patch):
    """A patch with its tensors, named `<checkpoint key>/<part>`, `payload/<name>`, `state/<name>`.

    Raises `RefusedFileError` for a core that the format does not allow. Who has checked it already passes `checked`.
    """

    notices: tuple[str, ...] = field(default=(), eq=False, kw_only=True)
    checked: Core = field(default=attrs.Factory(_read_core, takes_self=True), eq=False, repr=False, kw_only=True)

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
                hint="get the patch again from its source",
            )
        for name, part in manifest.parts.items():
            entry = header.entries[name]
            if (entry.dtype, entry.shape) != (part.dtype, part.shape):
                raise RefusedFileError(
                    f"{path} is refused: tensor {name} is {entry.dtype} {entry.shape}, "
                    f"its manifest says {part.dtype} {part.shape}",
                    hint="get the patch again from its source",
                )
        return PatchHeader(
            path,
            manifest.patch_id,
            manifest.core,
            manifest.checked,
            manifest.about,
            manifest.parts,
            header.entries,
            manifest.notices,
        )

    @classmethod
    def load(cls, path: Path | str) -> Self:
        """Read a patch and check all of it: ids, hash of every tensor, forms and values. Raises `RefusedFileError`."""
        header = cls.read_header(path)
        tensors = {name: header.tensor(name) for name in sorted(header.parts)}
        patch = cls(header.patch_id, header.core, header.about, tensors, notices=header.notices, checked=header.checked)
        for key in header.targets:
            patch.deltas(key)
        if fault := payload_fault(patch.core, patch.about, tensors):
            raise RefusedFileError(f"{path} is refused: {fault}", hint="get the patch again from its author")
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
        return _deltas(self.checked, key, self.parts_of(key), f"patch {short(self.patch_id)}")

    def parts_of(self, key: str) -> "Parts":
        """The tensors of one target by the names of its parts."""
        return {name: self.tensors[f"{key}/{name}"] for name in self.targets[key].parts}

    def delta_norms(self) -> dict[str, float]:
        """Frobenius norm of the delta of each target, its scale included; exclusive forms have none.

        Raises `RefusedFileError` for one that overflows float32.
        """
        from editcore.patches.forms.deltas import norm, whole

        added = [key for key, target in self.targets.items() if not target.form.exclusive]
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


def _deltas(core: Core, key: str, parts: "Parts", where: str) -> "tuple[Delta, ...]":
    from editcore.patches.forms.deltas import Delta, in_groups

    target = core.targets[key]
    if fault := target.form.value_fault(target.shape, parts):
        raise RefusedFileError(f"{where} is refused: target {key} {fault}", hint="get the patch again from its author")
    delta = Delta(target.form, parts, core.scale)
    return in_groups(delta, ((group.rank, group.scale) for group in target.groups)) if target.groups else (delta,)
