"""The folder of a model: a folder of this machine, or the snapshot of a repository. Torch-free."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import frozen

from editcore.models.loading.hub_names import plain_names
from editcore.text.shell import quoted
from editcore.text.suggest import suggestion
from editcore_hooks import EditcoreError, UsageError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
_WANTED = ("*.json", "*.safetensors", "*.model", "*.txt", "*.jinja", "*.tiktoken", "README.md")  # it names the licence
_SKIPPED = ("*/*", "consolidated*")  # exports to other runtimes and second copies of the same weights


@frozen
class Source:
    """A folder; a name without directories of this machine; the commit, or None for a local folder."""

    folder: Path
    name: str
    revision: str | None


def find(source: str | Path, *, revision: str | None = None, code: bool = False) -> Source:
    """Find the folder of `source`, fetching a repository's snapshot unless it is a folder here.

    `code` fetches the repository's own Python files too. Raises `UsageError` when there is no such folder, and
    `EditcoreError` when a repository cannot be reached.
    """
    return find_local(source, revision=revision) or _snapshot(str(source), revision, code)


def find_local(source: str | Path, *, revision: str | None = None) -> Source | None:
    """The folder of `source` where it is one of this machine, None where it can be a repository.

    Raises `UsageError` for what is neither.
    """
    folder = Path(os.path.abspath(Path(source).expanduser()))  # not resolved: a link's name is the one people gave
    if folder.is_dir():
        if revision is not None:
            raise UsageError(f"{folder.name} is a local folder and has no revisions", hint="leave out the revision")
        return Source(folder, folder.name, None)
    if folder.suffix == ".gguf" and folder.is_file():
        raise UsageError(f"{source} is a GGUF file and not a folder", hint=convert_hint(Path(source)))
    if isinstance(source, Path) or folder.exists() or not _REPOSITORY.fullmatch(source):
        raise UsageError(f"{source} is not a folder", hint="name a folder with config.json, or OWNER/NAME of a model")
    return None


def convert_hint(file: Path) -> str:
    """The command that makes a folder of a GGUF file."""
    return f"convert it: editcore import {quoted(file)} -o {quoted(file.stem)}"


def is_repository(name: str) -> bool:
    """Whether a name can only mean a model of a hub: OWNER/NAME, and nothing here is called so."""
    return _REPOSITORY.fullmatch(name) is not None and not os.path.lexists(name)


def _snapshot(repository: str, revision: str | None, code: bool) -> Source:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

    wanted = [*_WANTED, "*.py"] if code else list(_WANTED)
    elsewhere = folder_like(repository) or "pass the folder of a model that is on this machine"
    try:
        with plain_names():
            path = snapshot_download(
                repository, revision=revision, allow_patterns=wanted, ignore_patterns=list(_SKIPPED)
            )
    except RevisionNotFoundError as error:
        raise UsageError(f"{repository} has no revision {revision}", hint="name a branch, tag or commit") from error
    except RepositoryNotFoundError as error:
        raise UsageError(f"there is no folder and no model {repository}", hint=elsewhere) from error
    except (OSError, RuntimeError, ValueError) as error:  # offline, refused, or cut off on the way
        why = first_line(error).removeprefix("Got: ")  # before the error that the library met itself
        message = f"there is no folder {repository}, and no model of that name could be fetched: {why}"
        raise EditcoreError(message, hint=elsewhere) from error
    folder = Path(path)
    return Source(folder, repository, folder.name)


def folder_like(name: str) -> str | None:
    """The question whether a folder of a model beside `name` was meant."""
    beside = Path(name).parent
    try:
        models = [path.name for path in beside.iterdir() if (path / "config.json").is_file()]
    except OSError:
        return None
    return suggestion(name, (str(beside / model) for model in models))


def first_line(error: BaseException) -> str:
    """One line on the fault, from another library's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


@contextmanager
def reaching(repository: str, hint: str) -> Iterator[None]:
    """Turn what goes wrong on the way to a hub into one line of `EditcoreError`, which names repository and hub.

    `hint` is for an answer of the hub; where there is none, it is about the hub itself.
    """
    try:
        yield
    except EditcoreError:
        raise
    except Exception as error:  # its own, those of its HTTP library, which changes between releases, and the socket's
        hub = endpoint()
        raise EditcoreError(f"{repository} at {hub}: {_fault(error)}", hint=_remedy(error, hub) or hint) from error


def endpoint() -> str:
    """The address of the hub in use."""
    from huggingface_hub import HfApi

    return str(HfApi().endpoint)


def require_repository(name: str) -> None:
    """Raise `UsageError` for what cannot be the name of a repository."""
    if not _REPOSITORY.fullmatch(name):
        raise UsageError(f"{name!r} is not the name of a repository", hint="write OWNER/NAME")


def _fault(error: BaseException) -> str:
    from huggingface_hub.errors import OfflineModeIsEnabled

    return "offline mode is enabled" if isinstance(error, OfflineModeIsEnabled) else first_line(error)


def _remedy(error: BaseException, hub: str) -> str | None:
    """The next step where no hub answered; None where one did."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    if isinstance(error, OfflineModeIsEnabled):
        return f"unset HF_HUB_OFFLINE, so that {hub} can be reached"
    if getattr(error, "response", None) is None and not isinstance(error, ValueError):
        return f"check that {hub} can be reached; HF_ENDPOINT names another hub"
    return None
