"""The signed content of a patch, an exported stack and a patched folder, and the place of the signature.

A patch or an exported stack is signed as its bytes. Of a folder it is `editcore.json`, which names the base, the
patches and the hash of every result; `verify` compares the weights with it.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from editcore.patches.checkpoint.stack import STACK_FILE
from editcore.patches.signing.signers import Signer, read_signers
from editcore.patches.signing.sshsig import load_private_key, sign, signer_of
from editcore.storage import durable
from editcore_hooks import EditcoreError, RefusedFileError, UsageError

SUFFIX: Final = ".sig"
_LONGEST: Final = 10_000
"""Bytes of a signature; one of ed25519 has about 300."""


def signature_path(path: Path) -> Path:
    """Beside what is signed, and not in it: a folder is what it was."""
    path = path.absolute()
    return path.with_name(path.name + SUFFIX)


def sign_file(path: Path, key_file: Path, ask: Callable[[], str], *, overwrite: bool = False) -> Path:
    """Write the signature of a patch, an exported stack or a patched folder; returns its path.

    Raises `UsageError` for an invalid key, or a signature that exists already.
    """
    written = signature_path(path)
    if written.exists() and not overwrite:
        raise UsageError(f"{written} exists", hint="replace it with --overwrite")
    content = _content(path)
    try:
        key = load_private_key(key_file.read_bytes(), str(key_file), ask)
        with content.open("rb") as file:
            text = sign(file, key)
        durable.write_atomically(written, [text.encode()])
    except OSError as error:
        raise EditcoreError(
            f"cannot sign {path}: {error.strerror} ({error.filename})", hint="check the path"
        ) from error
    return written


def require_signer(path: Path, signers: Path, signature: Path | None = None) -> Signer:
    """The signer of a patch, an exported stack or a patched folder.

    Raises `RefusedFileError` when there is no signature, when it is of another content, or of a key that `signers`,
    a public key or an allowed_signers file, does not name.
    """
    allowed = read_signers(signers)
    at = signature or signature_path(path)
    try:
        with at.open("rb") as file:
            text = file.read(_LONGEST + 1)
    except OSError as error:
        raise RefusedFileError(
            f"{path} has no signature: there is no {at}",
            hint=f"get {at.name} from the author of {path.name}, and put it beside it",
        ) from error
    if len(text) > _LONGEST or not text.isascii():
        raise RefusedFileError(f"{at} is not an ssh signature", hint="get the signature again")
    with _content(path).open("rb") as message:
        key = signer_of(message, text.decode(), str(at))
    for signer in allowed:
        if signer.key == key:
            return signer
    raise RefusedFileError(
        f"{path} is signed by a key that {signers} does not name", hint="get the public key from the author of the file"
    )


def _content(path: Path) -> Path:
    content = path / STACK_FILE if path.is_dir() else path
    if not content.is_file():
        what = f"{path} carries no patches" if path.is_dir() else f"there is no {path}"
        raise UsageError(what, hint="give a patch, an exported stack or a patched folder")
    return content
