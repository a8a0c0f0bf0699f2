"""Patches on a model hub: one repository a patch, its file beside a card."""

import tempfile
from pathlib import Path
from typing import Final

from editcore.models.loading.source import reaching
from editcore.patches.exchange.card import card
from editcore.patches.exchange.fetching import Limits, fetch_file, list_files
from editcore.patches.file.patch import Patch
from editcore.storage import durable
from editcore.text.ids import short
from editcore_hooks import UsageError

FILE: Final = "patch.safetensors"


def push_patch(patch: Patch, repository: str, *, private: bool = False) -> str:
    """Publish a patch with its card as OWNER/NAME in one commit, the repository made when it is not there.

    Returns the address of the commit. What is in the patch's annotation is published: redact it before. Raises
    `EditcoreError` when the hub cannot be reached or refuses.
    """
    from huggingface_hub import HfApi

    api = HfApi(library_name="editcore")
    with tempfile.TemporaryDirectory() as folder, reaching(repository, "log in with `hf auth login`"):
        patch.save(Path(folder) / FILE)
        (Path(folder) / "README.md").write_text(card(patch, patch.patch_id, FILE), encoding="utf-8")
        api.create_repo(repository, private=private, exist_ok=True)
        message = f"patch {short(patch.patch_id)}"
        commit = api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message)
    return str(commit.commit_url)


def pull_patch(
    repository: str,
    destination: Path,
    *,
    revision: str | None = None,
    file: str | None = None,
    limits: Limits | None = None,
) -> Patch:
    """Fetch the patch of OWNER/NAME and check all of it before it gets its name.

    `file` is needed where the repository holds several. The bytes go into a private temporary folder under a name of
    ours. Raises `UsageError` where there is no patch or the choice is open, `RefusedFileError` for a file that is no
    sound patch, `EditcoreError` when the hub cannot be reached or a limit is exceeded.
    """
    limits = limits or Limits()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / FILE
        with path.open("xb") as fetched, reaching(repository, "check the name and the revision"):
            name = file or _only_patch(repository, list_files(repository, revision, limits))
            fetch_file(repository, name, revision, fetched, limits)
        patch = Patch.load(path)
        # The bytes that were checked; a writer of another version may have spelled the same patch otherwise.
        durable.write_atomically(destination, [path.read_bytes()])
    return patch


def _only_patch(repository: str, files: list[str]) -> str:
    patches = [name for name in files if name.endswith(".safetensors")]
    if FILE in patches:
        return FILE
    if len(patches) != 1:
        listed = ", ".join(sorted(patches)[:5]) or "none"
        raise UsageError(f"{repository} does not hold exactly one patch: {listed}", hint="name it with --file")
    return patches[0]
