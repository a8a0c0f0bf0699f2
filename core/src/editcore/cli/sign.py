"""`editcore sign`: a detached signature by an ssh key."""

import sys
from pathlib import Path

import click

from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.text.shell import quoted
from editcore_hooks import UsageError


@click.command()
@click.argument("path", metavar="PATCH|STACK|DIR")
@click.option("--key", required=True, metavar="KEYFILE", help="Private ed25519 key file, as written by ssh-keygen.")
@click.option("--overwrite", is_flag=True, help="Overwrite an existing signature.")
@with_output
def sign(out: Output, path: str, key: str, overwrite: bool) -> None:
    """Sign a patch, an exported stack or a patched folder. Writes the signature to PATH.sig and leaves PATH unchanged.

    Check it with `editcore verify PATH --signer PUBLIC`, or with `ssh-keygen -Y verify -n editcore`.
    """
    from editcore.patches.signing.files import sign_file

    if not Path(key).is_file():
        raise UsageError(f"there is no key {key}", hint="make one with `ssh-keygen -t ed25519 -f KEYFILE`")
    written = sign_file(Path(path), Path(key), _passphrase, overwrite=overwrite)
    if out.as_json:
        out.json({"path": path, "signature": str(written)})
    else:
        out.print(str(written))
        out.say(f"check it with: editcore verify {quoted(path)} --signer {quoted(f'{key}.pub')}")


def _passphrase() -> str:
    if not sys.stdin.isatty():
        raise UsageError(
            "the key has a passphrase, and there is no terminal to ask for it",
            hint="run it in a terminal, or use a key without one",
        )
    return str(click.prompt("passphrase of the key", hide_input=True, err=True))
