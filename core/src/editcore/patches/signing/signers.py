"""Accepted signers: one public key, or the lines of an allowed_signers file of `ssh-keygen -Y verify`."""

import base64
import binascii
import fnmatch
import re
from pathlib import Path
from typing import Final

from attrs import frozen

from editcore.patches.signing.sshsig import KEY_TYPE, NAMESPACE
from editcore_hooks import UsageError

_WORD: Final = re.compile(r'(?:[^\s"]|"[^"]*")+')
_HINT: Final = "write `NAME ssh-ed25519 KEY` a line, or give a .pub file"


@frozen
class Signer:
    """A key in ssh's encoding, and the name or the comment that the file gives it."""

    key: bytes
    name: str


def read_signers(path: Path) -> list[Signer]:
    """The ed25519 keys of a file. Keys of other types are passed over.

    Raises `UsageError` for a file without one, and for options other than `namespaces`: they restrict a key, and a
    restriction that is not understood must not be passed over.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {path}: {error}", hint="check the path") from error
    found = []
    for number, line in enumerate(lines, 1):
        words = _WORD.findall(line)
        if words and not words[0].startswith("#") and (signer := _signer(words, f"{path}, line {number}")):
            found.append(signer)
    if not found:
        raise UsageError(f"{path} names no ed25519 key for {NAMESPACE.decode()}", hint=_HINT)
    return found


def _signer(words: list[str], where: str) -> Signer | None:
    kinds = [index for index, word in enumerate(words) if word.startswith(("ssh-", "sk-", "ecdsa-"))]
    if not kinds or kinds[0] > 2 or len(words) < kinds[0] + 2:
        raise UsageError(f"{where} is not a key", hint=_HINT)
    at = kinds[0]
    if words[at] != KEY_TYPE.decode() or (at == 2 and not _is_for_us(words[1], where)):
        return None
    try:
        key = base64.b64decode(words[at + 1], validate=True)
    except (ValueError, binascii.Error):
        raise UsageError(f"{where} is not a key", hint=_HINT) from None
    return Signer(key, words[0] if at else " ".join(words[2:]))


def _is_for_us(options: str, where: str) -> bool:
    for option in re.findall(r'(?:[^,"]|"[^"]*")+', options):
        name, _, value = option.partition("=")
        if name.lower() != "namespaces":
            raise UsageError(f"{where} has the option {name!r}, which editcore does not understand", hint=_HINT)
        if not any(fnmatch.fnmatchcase(NAMESPACE.decode(), pattern) for pattern in value.strip('"').split(",")):
            return False
    return True
