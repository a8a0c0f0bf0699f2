"""Patches and trained editors on a model hub: one repository each, the file beside a card."""

import tempfile
from pathlib import Path
from typing import Final

from editcore.assets import file as asset_file
from editcore.models.loading.source import reaching
from editcore.patches.exchange.card import card, trained_card
from editcore.patches.exchange.fetching import Limits, fetch_file, list_files
from editcore.patches.file.patch import Patch
from editcore.storage import durable
from editcore.storage.canonical import load_json
from editcore.storage.safetensors_reader import read_header
from editcore.text.ids import short
from editcore_hooks import EditcoreError, RefusedFileError, UsageError

FILE: Final = "patch.safetensors"
TRAINED: Final = "trained.safetensors"
KIND: Final = "trained"
"""The kind of the assets that may be published; statistics and profiles are cheaper to compute again."""


def push_patch(patch: Patch, repository: str, *, private: bool = False) -> str:
    """Publish a patch with its card as OWNER/NAME in one commit, the repository made when it is not there.

    Returns the address of the commit. What is in the patch's annotation is published: redact it before. Raises
    `EditcoreError` when the hub cannot be reached or refuses.
    """
    with tempfile.TemporaryDirectory() as folder:
        patch.save(Path(folder) / FILE)
        (Path(folder) / "README.md").write_text(card(patch, patch.patch_id, FILE), encoding="utf-8")
        return _push(folder, repository, f"patch {short(patch.patch_id)}", private)


def push_trained(path: Path, repository: str, *, private: bool = False) -> str:
    """Publish a trained editor with its card, as `push_patch` does. Raises `RefusedFileError` for another asset."""
    manifest = checked_trained(path)
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / TRAINED).write_bytes(path.read_bytes())
        (Path(folder) / "README.md").write_text(trained_card(manifest, TRAINED), encoding="utf-8")
        return _push(folder, repository, f"trained {short(manifest.sha256)}", private)


def _push(folder: str, repository: str, message: str, private: bool) -> str:
    from huggingface_hub import HfApi

    api = HfApi(library_name="editcore")
    with reaching(repository, f"log in to it with `hf auth login`, with an account that may write {repository}"):
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    return str(commit.commit_url)


def is_asset(path: Path) -> bool:
    """Whether the file says that it is an asset; whether it is a sound one is another question."""
    try:
        document = load_json(read_header(path).metadata.get("editcore", "{}"), "its manifest")
    except EditcoreError:
        return False
    return isinstance(document, dict) and document.get("format") == asset_file.FORMAT


def checked_trained(path: Path) -> asset_file.Manifest:
    """The manifest of a trained editor, every byte of the file checked. Raises `RefusedFileError`."""
    manifest = asset_file.verify(path)
    if manifest.identity.kind != KIND:
        raise RefusedFileError(f"{path.name} is an asset of the kind {manifest.identity.kind}, not a trained editor")
    return manifest


def pull_file(
    repository: str,
    destination: Path,
    *,
    revision: str | None = None,
    file: str | None = None,
    limits: Limits | None = None,
) -> Patch | asset_file.Manifest:
    """Fetch the patch or trained editor of OWNER/NAME and check all of it before it gets its name.

    `file` is needed where the repository holds several. The bytes go into a private temporary folder under a name of
    ours. Raises `UsageError` where there is no patch or the choice is open, `RefusedFileError` for a file that is no
    sound patch, `EditcoreError` when the hub cannot be reached or a limit is exceeded.
    """
    limits = limits or Limits()
    asked = repository if revision is None else f"{repository}@{revision}"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        with path.open("xb") as fetched, reaching(asked, f"check {asked}; a private repository needs `hf auth login`"):
            name = file or _only_file(repository, list_files(repository, revision, limits))
            fetch_file(repository, name, revision, fetched, limits)
        found = checked_trained(path) if is_asset(path) else Patch.load(path)
        # The bytes that were checked; a writer of another version may have spelled the same patch otherwise.
        durable.write_atomically(destination, [path.read_bytes()])
    return found


def _only_file(repository: str, files: list[str]) -> str:
    found = [name for name in files if name.endswith(".safetensors")]
    named = [name for name in (FILE, TRAINED) if name in found]
    if len(named) == 1:
        return named[0]
    if len(found) != 1:
        listed = ", ".join(sorted(found)[:5]) or "none"
        raise UsageError(f"{repository} does not hold exactly one patch: {listed}", hint="name it with --file")
    return found[0]
