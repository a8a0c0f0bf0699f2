"""Patch files named on the command line."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from editcore.cli.output import Output
from editcore.text.ids import short
from editcore.text.shell import quoted
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from editcore.patches.file.patch import Patch

F = TypeVar("F", bound=Callable[..., Any])


def naming_options(function: F) -> F:
    """`--title`, `--license` and `--author`, for `named`."""
    title = click.option("--title", help="One-line title of the patch.")
    of_patch = click.option("--license", metavar="ID", help="Licence of the patch, as model hubs write it: cc0-1.0.")
    author = click.option("--author", help="Author of the patch.")
    return title(of_patch(author(function)))


def named(patch: "Patch", **given: str | None) -> "Patch":
    """The patch with those of `naming_options` that were given."""
    said = {name: value for name, value in given.items() if value is not None}
    return patch.with_about(**said) if said else patch


def load_patches(out: Output, names: Sequence[str]) -> "list[Patch]":
    """Read and check each. Raises `UsageError` for a missing file and `RefusedFileError` for a bad one."""
    from editcore.patches.file.patch import Patch

    patches = []
    for name in names:
        require_file(name)
        patches.append(Patch.load(name))
        for notice in patches[-1].notices:
            out.warn(notice)
    return patches


def require_file(name: str) -> Path:
    path = Path(name)
    if not path.is_file():
        hint = (
            f"name a file in it: {quoted(f'{name}/NAME.safetensors')}"
            if path.is_dir()
            else "write one with `editcore edit`"
        )
        raise UsageError(f"there is no patch file {name}", hint=hint)
    return path


def show_made(
    out: Output, name: str, patch: "Patch", residuals: Mapping[str, float], exact: Sequence[str], exactly: str
) -> None:
    """A patch made out of others or of checkpoints, and how near it comes; `exactly` is what the exact tensors do."""
    forms = {key: target.form.name for key, target in patch.targets.items()}
    if out.as_json:
        found = {"path": name, "id": patch.patch_id, "forms": forms}
        out.json({**found, "exact": list(exact), "residuals": dict(residuals)})
        return
    out.print(f"{name}  {short(patch.patch_id)}")
    for key, residual in residuals.items():
        out.say(f"{key}: {forms[key]}, relative residual {residual:.3g}")
    if exact:
        out.say(f"{len(exact)} of {len(forms)} tensors {exactly}")
