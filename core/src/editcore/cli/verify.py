"""`editcore verify`: recompute every hash."""

from pathlib import Path

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore_hooks import UsageError


@click.command()
@click.argument("path", metavar="DIR|PATCH")
@with_output
def verify(out: Output, path: str) -> None:
    """Recompute the hashes of a patch file, or of a patched folder from its originals and patches."""
    from editcore.patches.verification import verify as run

    if not Path(path).exists():
        raise UsageError(f"there is no {path}", hint="give a patch file or a model folder")
    found = run(path)
    if out.as_json:
        out.json(
            {
                "subject": found.subject,
                "checked": list(found.checked),
                "problems": [{"file": p.file, "tensor": p.tensor, "message": p.message} for p in found.problems],
                "notices": list(found.notices),
            }
        )
    for notice in found.notices:
        out.warn(notice)
    for problem in found.problems if not out.as_json else ():
        out.print(problem.message)
    found.ensure()
    if not out.as_json:
        out.print(f"{path}: {len(found.checked)} tensors as recorded")
