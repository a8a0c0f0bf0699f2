"""`editcore verify`: recompute every hash."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.text.shell import quoted
from editcore.text.visible import one_line
from editcore_hooks import RefusedFileError, UsageError

if TYPE_CHECKING:
    from editcore.patches.checkpoint.unpatched_tensors import Untouched


@click.command()
@click.argument("path", metavar="DIR|STACK|PATCH")
@click.option(
    "--base", metavar="DIR", help="Compare with this folder or id, tensor by tensor; for a patch, check its results."
)
@click.option("--signer", metavar="FILE", help="Required signer: a public ssh key or an allowed_signers file.")
@click.option("--signature", metavar="FILE", help="Signature file. Default: PATH.sig.")
@with_output
def verify(out: Output, path: str, base: str | None, signer: str | None, signature: str | None) -> None:
    """Recompute the hashes of a patch, an exported stack, or a patched folder from its originals and patches.

    --signer checks the signature first.
    """
    from editcore.models.loading.source import find
    from editcore.patches.compare.verification import verify as run

    if not Path(path).exists():
        raise UsageError(f"there is no {path}", hint="give a patch file or a model folder")
    if signature and not signer:
        raise UsageError("--signature requires --signer", hint="pass --signer FILE as well")
    signed_by = _signer(path, signer, signature) if signer else None
    found = run(path, find(base).folder if base else None)
    if out.as_json:
        out.json(
            {
                "subject": found.subject,
                **({} if signed_by is None else {"signer": signed_by}),
                "checked": list(found.checked),
                "problems": [{"file": p.file, "tensor": p.tensor, "message": p.message} for p in found.problems],
                "notices": list(found.notices),
                "untouched": {
                    "compared": list(found.untouched.compared),
                    "not_compared": list(found.untouched.left),
                },
            }
        )
    if signed_by is not None:
        out.say(f"signed by {one_line(signed_by) or 'the key'} of {signer}")
    for notice in found.notices:
        out.warn(notice)
    others = found.untouched
    if not out.as_json:
        for problem in found.problems if len(found.problems) > 1 else ():  # a single one is the error
            out.print(one_line(problem.message))
        if not found.problems:
            out.print(f"{path}: {len(found.checked)} tensors as recorded")
        if Path(path).is_dir():
            out.print(f"no patch touches {len(others.compared) + len(others.left)} others: {_compared(others)}")
            if others.left:
                out.say(f"compare all with: editcore verify {quoted(path)} --base BASE")
    if len(found.problems) > 1 and not out.as_json:
        raise RefusedFileError(f"{path} has {len(found.problems)} faults", hint=found.problems[0].hint)
    found.ensure()


def _signer(path: str, signer: str, signature: str | None) -> str:
    from editcore.patches.signing.files import require_signer

    return require_signer(Path(path), Path(signer), Path(signature) if signature else None).name


def _compared(others: "Untouched") -> str:
    left = f"{len(others.left)} not compared" if others.left else "none left out"
    return f"{len(others.compared)} compared, {left}"
