"""A plugin made from the template, and brought up to date with it."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from editcore.template.kept import kept_template
from editcore.text.suggest import suggestion_or_list
from editcore_hooks import UsageError

KINDS: Final = ("method", "locator", "transform", "metric", "patch-kind", "dataset", "architecture")
LICENSES: Final = ("Apache-2.0", "MIT", "BSD-3-Clause")
ANSWERS: Final = ".copier-answers.yml"


def render(
    folder: Path, answers: Mapping[str, Any], version: str, template: str | None = None, ask: bool = False
) -> None:
    """Write a new plugin into `folder`. `template` is a git address or a folder; None: the one that ships.

    With `ask`, copier asks what `answers` leave open. Raises `UsageError`.
    """
    _require_copier()
    from copier import run_copy
    from copier.errors import CopierError

    source, tag = (template, None) if template is not None else _kept(version)
    try:
        run_copy(str(source), folder, data=dict(answers), vcs_ref=tag, defaults=not ask, quiet=True)
    except (CopierError, ValueError) as error:
        raise UsageError(_reason(error), hint="editcore new-plugin --help") from error


def update(folder: Path, version: str) -> None:
    """Bring the plugin in `folder` up to date with the template, by `copier update`. Raises `UsageError`."""
    _require_copier()
    from copier import run_update
    from copier.errors import CopierError

    if not (folder / ANSWERS).is_file():
        raise UsageError(f"{folder} has no {ANSWERS}, so it was not made from a template", hint="editcore new-plugin")
    kept_template(version)  # the new version, where the answers say that the template is
    try:
        run_update(folder, defaults=True, overwrite=True, quiet=True)
    except (CopierError, ValueError) as error:
        raise UsageError(
            f"{folder} was not updated: {_reason(error)}",
            hint="commit your changes first; on another machine than the one it was made on: copier recopy",
        ) from error


def known_choice(given: str, choices: tuple[str, ...], what: str) -> str:
    """The choice that was written. Raises `UsageError` for another."""
    if given not in choices:
        raise UsageError(f"there is no {what} {given!r} in the template", hint=suggestion_or_list(given, choices))
    return given


def _kept(version: str) -> tuple[str, str]:
    """The shipped template and its tag. Its place goes into a file that people publish: without the name of a home."""
    folder, tag = kept_template(version)
    inside = folder.resolve().is_relative_to(Path.home())
    return f"~/{folder.resolve().relative_to(Path.home()).as_posix()}" if inside else str(folder), tag


def _require_copier() -> None:
    if find_spec("copier") is None:
        raise UsageError(
            "copier, which renders the template, is not installed", hint="pip install 'editcore[template]'"
        )


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
