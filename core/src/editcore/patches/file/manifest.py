"""The JSON inside a patch file: identity (`core`) and annotation (`about`), read strictly, hashed canonically."""

import re
from collections.abc import Mapping
from typing import Any, Final

from attrs import field, frozen

from editcore.patches.file.core import Core, state_parts
from editcore.patches.file.kinds import payload_fault
from editcore.patches.file.part import Part
from editcore.patches.file.refusal import refuse
from editcore.patches.forms.table import UPGRADE
from editcore.storage.canonical import canonical, load_json, sha256_of
from editcore_hooks import RefusedFileError

METADATA_KEY: Final = "editcore"
FORMAT: Final = "editcore.patch"
MAJOR, MINOR = 1, 0


@frozen
class Manifest:
    """A checked manifest: `checked` is what `core` says. `parts` maps every tensor name that the file must hold to what
    it must be."""

    patch_id: str
    core: Mapping[str, Any]
    checked: Core
    about: Mapping[str, Any]
    parts: Mapping[str, Part] = field(repr=False)
    notices: tuple[str, ...] = ()


def patch_id_of(core: Mapping[str, Any]) -> str:
    """The identity of a patch: sha256 over the canonical format major and core, and nothing that is annotation."""
    return sha256_of({"core": dict(core), "format": FORMAT, "major": MAJOR})


def write_manifest(core: Mapping[str, Any], about: Mapping[str, Any]) -> str:
    """The text of the single metadata key."""
    document = {
        "about": dict(about),
        "about_sha256": sha256_of(dict(about)),
        "core": dict(core),
        "format": FORMAT,
        "format_version": f"{MAJOR}.{MINOR}",
        "patch_id": patch_id_of(core),
    }
    return canonical(document).decode()


def read_manifest(metadata: Mapping[str, str], where: str) -> Manifest:
    """Check all that can be checked without a tensor; `where` names the file. Raises `RefusedFileError`."""
    if METADATA_KEY not in metadata:
        raise RefusedFileError(f"{where} is a safetensors file but not a patch", hint="give a file that editcore wrote")
    document = load_json(metadata[METADATA_KEY], f"the manifest of {where}")
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise RefusedFileError(f"{where} is not a patch", hint="give a file that editcore wrote")
    notices = _check_version(document.get("format_version"), where)
    expected = {"about", "about_sha256", "core", "format", "format_version", "patch_id"}
    missing, unknown = expected - set(document), set(document) - expected
    if missing or (unknown and not notices):
        refuse(where, f"its manifest must have exactly the fields {sorted(expected)}")
    core, about = document["core"], document["about"]
    if not isinstance(core, dict) or not isinstance(about, dict):
        refuse(where, "core and about are not JSON objects")
    for name, found in (("patch_id", patch_id_of(core)), ("about_sha256", sha256_of(about))):
        if document[name] != found:
            refuse(where, f"it was changed: its {name} says {document[name]}, its content gives {found}")
    checked = Core.read(core, where)
    if fault := payload_fault(core, about):
        refuse(where, fault)
    return Manifest(document["patch_id"], core, checked, about, checked.parts | state_parts(about, where), notices)


def _check_version(version: Any, where: str) -> tuple[str, ...]:
    match = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", version) if isinstance(version, str) else None
    if match is None:
        refuse(where, f"invalid format version {version!r}")
    major, minor = int(match[1]), int(match[2])
    if major > MAJOR:
        raise RefusedFileError(f"{where} has format {version}; this version reads {MAJOR}.x", hint=UPGRADE)
    if major < MAJOR:
        refuse(where, f"its format version {version} never existed")
    if minor > MINOR:
        return (f"{where} has format {version}, newer than {MAJOR}.{MINOR}; {UPGRADE} to see all of it",)
    return ()
