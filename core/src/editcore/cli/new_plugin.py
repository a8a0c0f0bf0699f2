"""`editcore new-plugin` and `editcore update-plugin`: a repository of one's own from the template."""

from pathlib import Path
from typing import Final

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.places import free_folder
from editcore.text.shell import quoted

PREPARED: Final = frozenset((".git", ".venv", "venv"))
"""What people make in a folder first; none of it is written to."""


@click.command("new-plugin")
@click.argument("name")
@click.option("--kind", "kinds", multiple=True, metavar="KIND", help="What it offers; repeat it. Default: method.")
@click.option("--summary", help="One line on what it does.")
@click.option("--license", "license_", metavar="ID", help="Apache-2.0 (default), MIT or BSD-3-Clause.")
@click.option("--author", help="Name for the licence and the metadata.")
@click.option(
    "--to", metavar="DIR", help="Folder to write, new or empty but for .git and .venv. Default: editcore-NAME."
)
@click.option("--ask", is_flag=True, help="Ask for what is not given.")
@click.option("--template", metavar="SOURCE", help="Another template: a git address or a folder.")
@with_output
def new_plugin(
    out: Output,
    name: str,
    kinds: tuple[str, ...],
    summary: str | None,
    license_: str | None,
    author: str | None,
    to: str | None,
    ask: bool,
    template: str | None,
) -> None:
    """Write the repository of a new plugin: code, tests, workflows, README and licence.

    A KIND is method, locator, transform, metric, patch-kind, dataset or architecture. It needs copier: pip install
    'editcore[template]'.
    """
    from importlib.metadata import version

    from editcore.template.kept import git
    from editcore.template.rendering import KINDS, LICENSES, known_choice, render

    chosen = [known_choice(kind, KINDS, "kind") for kind in dict.fromkeys(kinds)] or None
    license_ = None if license_ is None else known_choice(license_, LICENSES, "licence")
    answers = {"name": name, "kinds": chosen, "summary": summary, "license": license_, "author": author}
    folder = free_folder(to or f"editcore-{name}", but=PREPARED)
    render(
        folder, {key: value for key, value in answers.items() if value is not None}, version("editcore"), template, ask
    )
    git(folder, "init", "--quiet", "--initial-branch", "main")
    git(folder, "add", "--all")
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if _own(path, folder))
    if out.as_json:
        out.json({"folder": str(folder), "files": files})
        return
    out.print(f"{folder}: {len(files)} files")
    out.say(
        f"next: cd {quoted(folder)} && git commit -m 'From the template' && pip install -e .[test] && python -m pytest"
    )


@click.command("update-plugin")
@click.argument("folder", metavar="[DIR]", default=".")
@with_output
def update_plugin(out: Output, folder: str) -> None:
    """Bring the plugin in DIR up to date with the template of this version, as `copier update` does."""
    from importlib.metadata import version

    from editcore.template.kept import git
    from editcore.template.rendering import update

    update(Path(folder), version("editcore"))
    changed = [line[3:] for line in git(Path(folder), "status", "--porcelain").splitlines()]
    if out.as_json:
        out.json({"folder": folder, "changed": changed})
        return
    for name in changed:
        out.print(name)
    out.say("see what changed with `git diff`" if changed else f"{folder} is up to date")


def _own(path: Path, folder: Path) -> bool:
    return path.is_file() and path.relative_to(folder).parts[0] not in PREPARED
