"""Sources of a dataset: a file of this machine, or one of a dataset repository."""

import re
from pathlib import Path
from typing import Final

from editcore.authoring.sources import plain_names, reaching
from editcore_hooks import UsageError

_REPOSITORY: Final = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?")
_KINDS: Final = (".json", ".jsonl")


def find(source: str, file: str | None = None) -> Path:
    """A file of this machine, else that of OWNER/NAME[@REVISION], fetched into the hub's cache.

    `file` is needed where the repository holds several. Raises `UsageError` where there is none or the choice is
    open, `EditcoreError` when the hub cannot be reached.
    """
    path = Path(source).expanduser()
    if path.exists():
        if not path.is_file() or file is not None:
            raise UsageError(f"{source} is a path of this machine", hint="name the file itself, without --file")
        return path
    repository = _REPOSITORY.fullmatch(source)
    if repository is None:
        raise UsageError(f"there is no file {source}", hint="name a file, or OWNER/NAME of a dataset on the hub")
    return _fetched(repository[1], repository[2], file)


def _fetched(repository: str, revision: str | None, file: str | None) -> Path:
    from huggingface_hub import HfApi, hf_hub_download

    with plain_names(), reaching(repository, f"check {repository} and its revision, or give a file of this machine"):
        name = file
        if name is None:
            found = HfApi(library_name="editcore").list_repo_files(repository, revision=revision, repo_type="dataset")
            name = _only(repository, found)
        fetched = hf_hub_download(repository, name, revision=revision, repo_type="dataset", library_name="editcore")
    return Path(fetched)


def _only(repository: str, files: list[str]) -> str:
    readable = sorted(name for name in files if name.endswith(_KINDS))
    if len(readable) != 1:
        listed = ", ".join(readable[:5]) + (" …" if len(readable) > 5 else "")
        what = f"several files: {listed}" if readable else f"no file that ends in {' or '.join(_KINDS)}"
        raise UsageError(f"{repository} holds {what}", hint="name one with --file" if readable else None)
    return readable[0]
