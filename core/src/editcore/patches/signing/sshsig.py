"""Signatures in the format of `ssh-keygen -Y` (OpenSSH's PROTOCOL.sshsig), for ed25519 keys; the crypto is a library's.

    blob    "SSHSIG" ‖ version ‖ public key ‖ namespace ‖ reserved ‖ hash name ‖ signature
    signed  "SSHSIG" ‖ namespace ‖ reserved ‖ hash name ‖ hash of the message

with texts as a length of four bytes and their bytes. `ssh-keygen -Y verify -n editcore` reads what is written here, and
`ssh-keygen -Y sign -n editcore` writes what is read here.
"""

import base64
import binascii
import hashlib
import textwrap
from collections.abc import Callable
from io import BufferedReader
from typing import TYPE_CHECKING, Any, Final

from editcore_hooks import EditcoreError, RefusedFileError, UsageError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

NAMESPACE: Final = b"editcore"
"""Namespace of our signatures: a signature made for git or for mail is refused."""
KEY_TYPE: Final = b"ssh-ed25519"

_MAGIC: Final = b"SSHSIG"
_VERSION: Final = 1
_HASHES: Final = (b"sha512", b"sha256")
_BEGIN: Final = "-----BEGIN SSH SIGNATURE-----"
_END: Final = "-----END SSH SIGNATURE-----"


def sign(message: BufferedReader, key: "Ed25519PrivateKey") -> str:
    """The armoured signature of a file by an ed25519 key."""
    signature = key.sign(_signed(message, _HASHES[0]))
    public = key.public_key().public_bytes_raw()
    blob = _MAGIC + _VERSION.to_bytes(4, "big") + b"".join(
        map(_text, (public_blob(public), NAMESPACE, b"", _HASHES[0], _text(KEY_TYPE) + _text(signature)))
    )  # fmt: skip
    return "\n".join([_BEGIN, *textwrap.wrap(base64.b64encode(blob).decode(), 70), _END, ""])


def signer_of(message: BufferedReader, armoured: str, where: str) -> bytes:
    """The public key, in ssh's encoding, that signed the file.

    Raises `RefusedFileError` where the signature at `where` is malformed, for another purpose or of another content.
    """
    ed25519 = library("cryptography.hazmat.primitives.asymmetric.ed25519")
    exceptions = library("cryptography.exceptions")
    reader = _Reader(_unarmoured(armoured, where), where)
    if reader.take(len(_MAGIC)) != _MAGIC or int.from_bytes(reader.take(4), "big") != _VERSION:
        raise reader.malformed("it is not an SSHSIG of version 1")
    public, namespace, reserved, name, signature = (reader.text() for _ in range(5))
    reader.end()
    if namespace != NAMESPACE:
        raise RefusedFileError(
            f"{where} is a signature for {namespace[:40]!r}, and not for {NAMESPACE.decode()!r}",
            hint=f"sign with `editcore sign`, or `ssh-keygen -Y sign -n {NAMESPACE.decode()}`",
        )
    if reserved or name not in _HASHES:
        raise reader.malformed("it has an unknown hash or reserved field")
    key, raw = _typed(public, where), _typed(signature, where)
    if len(key) != 32 or len(raw) != 64:
        raise reader.malformed("its key or signature has another length")
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(key).verify(raw, _signed(message, name))
    except exceptions.InvalidSignature:
        raise RefusedFileError(
            f"{where} is not a signature of this content: it was changed after it was signed",
            hint="get both files again, or have the file signed again",
        ) from None
    return public


def public_blob(raw: bytes) -> bytes:
    """An ed25519 key in ssh's encoding."""
    return _text(KEY_TYPE) + _text(raw)


def library(name: str) -> Any:
    """A module of cryptography. Raises `EditcoreError` with what to install."""
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as error:
        raise EditcoreError("signatures need cryptography", hint="pip install 'editcore[sign]'") from error


def load_private_key(data: bytes, where: str, ask: Callable[[], str]) -> "Ed25519PrivateKey":
    """An ed25519 key in the format of ssh-keygen; `ask` gives the passphrase of one that has one.

    Raises `UsageError` for any other file and a wrong passphrase.
    """
    serialization = library("cryptography.hazmat.primitives.serialization")
    ed25519 = library("cryptography.hazmat.primitives.asymmetric.ed25519")
    hint = "make one with `ssh-keygen -t ed25519 -f KEYFILE`"
    try:
        try:
            key = serialization.load_ssh_private_key(data, None)
        except TypeError:  # it has a passphrase
            key = serialization.load_ssh_private_key(data, ask().encode())
    except (ValueError, TypeError, library("cryptography.exceptions").UnsupportedAlgorithm) as error:
        raise UsageError(f"{where} is not a private ssh key, or has another passphrase: {error}", hint=hint) from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UsageError(f"{where} is not an ed25519 key", hint=hint)
    private: Ed25519PrivateKey = key
    return private


class _Reader:
    """Takes pieces from a blob. Raises `RefusedFileError` beyond its end."""

    def __init__(self, blob: bytes, where: str) -> None:
        self._blob, self._at, self._where = blob, 0, where

    def take(self, length: int) -> bytes:
        piece = self._blob[self._at : self._at + length]
        if len(piece) != length:
            raise self.malformed("it is truncated")
        self._at += length
        return piece

    def text(self) -> bytes:
        return self.take(int.from_bytes(self.take(4), "big"))

    def end(self) -> None:
        if self._at != len(self._blob):
            raise self.malformed("it holds more than a signature")

    def malformed(self, fault: str) -> RefusedFileError:
        return RefusedFileError(f"{self._where} is not a valid signature: {fault}", hint="get the signature again")


def _unarmoured(armoured: str, where: str) -> bytes:
    lines = armoured.strip().splitlines()
    try:
        if len(lines) < 3 or (lines[0], lines[-1]) != (_BEGIN, _END):
            raise ValueError("no armour")
        return base64.b64decode("".join(lines[1:-1]), validate=True)
    except (ValueError, binascii.Error) as error:
        raise RefusedFileError(
            f"{where} is not an ssh signature ({error})", hint="get the signature again, or sign with `editcore sign`"
        ) from None


def _typed(blob: bytes, where: str) -> bytes:
    """The content of a key or signature. Raises `RefusedFileError` where it is not of ed25519."""
    reader = _Reader(blob, where)
    kind = reader.text()
    if kind != KEY_TYPE:
        raise RefusedFileError(
            f"{where} is a signature by a key of type {kind[:40]!r}", hint="sign with an ed25519 key"
        )
    content = reader.text()
    reader.end()
    return content


def _signed(message: BufferedReader, name: bytes) -> bytes:
    digest = hashlib.file_digest(message, name.decode()).digest()
    return _MAGIC + b"".join(map(_text, (NAMESPACE, b"", name, digest)))


def _text(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value
