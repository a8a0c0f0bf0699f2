"""A signature is detached, optional, of the very bytes, and the same to OpenSSH."""

import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

cryptography = pytest.importorskip("cryptography")
from cryptography.hazmat.primitives import serialization as formats  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key  # noqa: E402
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: E402

from editcore.patches.file.patch import Patch  # noqa: E402

KEYGEN = shutil.which("ssh-keygen")


def written_key(path: Path, key, passphrase: bytes = b"") -> Path:
    hidden = formats.BestAvailableEncryption(passphrase) if passphrase else formats.NoEncryption()
    path.write_bytes(key.private_bytes(formats.Encoding.PEM, formats.PrivateFormat.OpenSSH, hidden))
    path.chmod(0o600)
    public = key.public_key().public_bytes(formats.Encoding.OpenSSH, formats.PublicFormat.OpenSSH)
    Path(f"{path}.pub").write_bytes(public + b" ada@example\n")
    return path


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return written_key(tmp_path / "key", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))


@pytest.fixture
def other(tmp_path: Path) -> Path:
    return written_key(tmp_path / "other", Ed25519PrivateKey.from_private_bytes(bytes(32)))


@pytest.fixture
def patch(fact_patch, tiny: Path) -> Path:
    return fact_patch(tiny, "fact")


def test_a_signed_patch_is_verified_and_stays_what_it_was(command, patch: Path, key: Path):
    before = patch.read_bytes()
    done = command("sign", str(patch), "--key", str(key), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["signature"] == f"{patch}.sig"
    assert patch.read_bytes() == before
    done = command("verify", str(patch), "--signer", f"{key}.pub")
    assert done.returncode == 0, done.stderr
    assert "signed by ada@example" in done.stderr
    assert (
        json.loads(command("verify", str(patch), "--signer", f"{key}.pub", "--json").stdout)["signer"] == "ada@example"
    )
    assert command("verify", str(patch)).returncode == 0


def test_without_a_signature_or_with_that_of_another_it_is_refused(command, patch: Path, key: Path, other: Path):
    done = command("verify", str(patch), "--signer", f"{key}.pub")
    assert (done.returncode, "has no signature" in done.stderr, "from the author" in done.stderr) == (6, True, True)
    assert command("sign", str(patch), "--key", str(other)).returncode == 0
    done = command("verify", str(patch), "--signer", f"{key}.pub")
    assert (done.returncode, "signed by a key that" in done.stderr) == (6, True)


def test_annotation_is_part_of_what_is_signed(command, patch: Path, key: Path):
    command("sign", str(patch), "--key", str(key))
    changed = Patch.load(patch).with_about(title="another")
    changed.save(patch)
    done = command("verify", str(patch), "--signer", f"{key}.pub")
    assert (done.returncode, "changed after it was signed" in done.stderr) == (6, True)


def test_a_signature_is_not_replaced_unless_asked(command, patch: Path, key: Path, other: Path):
    command("sign", str(patch), "--key", str(key))
    assert command("sign", str(patch), "--key", str(other)).returncode == 2
    assert command("sign", str(patch), "--key", str(other), "--overwrite").returncode == 0
    assert command("verify", str(patch), "--signer", f"{other}.pub").returncode == 0


def test_a_patched_folder_and_an_exported_stack_are_signed_by_what_they_record(
    command, patch: Path, key: Path, tiny: Path, tmp_path: Path
):
    folder, stack = tmp_path / "out", tmp_path / "stack.json"
    assert command("sign", str(tiny), "--key", str(key)).returncode == 2  # it carries no patches
    assert command("apply", str(patch), "--model", str(tiny), "-o", str(folder)).returncode == 0
    assert command("stack", "export", str(folder), "-o", str(stack)).returncode == 0
    names = sorted(path.name for path in folder.rglob("*"))
    for signed in (folder, stack):
        assert command("sign", str(signed), "--key", str(key)).returncode == 0
        done = command("verify", str(signed), "--signer", f"{key}.pub")
        assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.rglob("*")) == names
    stack.write_text(stack.read_text() + " ")
    assert command("verify", str(stack)).returncode == 0
    assert command("verify", str(stack), "--signer", f"{key}.pub").returncode == 6
    (inner,) = (tmp_path / "stack.patches").iterdir()
    inner.write_bytes(inner.read_bytes()[:-1] + b"\x01")
    assert command("verify", str(stack)).returncode == 6
    assert command("revert", Patch.read_header(patch).patch_id, "--model", str(folder)).returncode == 0
    assert command("verify", str(folder), "--signer", f"{key}.pub").returncode == 2


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ("# a comment\n\nada {key}\n", 0),
        ('ada,eve namespaces="git,edit*" {key} a comment\n', 0),
        ('ada namespaces="git" {key}\n', 2),
        ("ada cert-authority {key}\n", 2),
        ('ada valid-before="20200101" {key}\n', 2),
        ("ada ssh-rsa AAAA\nada {key}\n", 0),
        ("ada ssh-ed25519 ???\n", 2),
        ("ada\n", 2),
        ("", 2),
        ("\xff", 2),
    ],
)
def test_the_lines_of_an_allowed_signers_file(command, patch: Path, key: Path, tmp_path: Path, lines: str, code: int):
    command("sign", str(patch), "--key", str(key))
    public = " ".join(Path(f"{key}.pub").read_text().split()[:2])
    allowed = tmp_path / "allowed"
    allowed.write_bytes(lines.replace("{key}", public).encode("latin-1"))
    done = command("verify", str(patch), "--signer", str(allowed))
    assert done.returncode == code, done.stderr
    assert done.stderr.count("\n") == (2 if code else 1)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: "x",
        lambda text: text.replace("SSH SIGNATURE", "SSH SIGNATURES"),
        lambda text: text.replace(text.splitlines()[1], "!" * 70),
        lambda text: text.replace(text.splitlines()[1], ""),
        lambda text: "\n".join([*text.splitlines()[:3], text.splitlines()[-1]]),
        lambda text: text.replace("-----END", "AAAA\n-----END"),
        lambda text: text + "é",
        lambda text: text * 100,
    ],
)
def test_a_malformed_signature_is_refused(command, patch: Path, key: Path, damage):
    command("sign", str(patch), "--key", str(key))
    signature = Path(f"{patch}.sig")
    signature.write_text(damage(signature.read_text()))
    done = command("verify", str(patch), "--signer", f"{key}.pub")
    error, hint = done.stderr.splitlines()
    assert (done.returncode, error.split()[0], hint.split()[0]) == (6, "error:", "hint:")


def test_a_key_that_is_none_or_of_another_kind_is_refused(command, patch: Path, tmp_path: Path):
    (tmp_path / "text").write_text("hello")
    ecdsa = written_key(tmp_path / "ecdsa", generate_private_key(SECP256R1()))
    for name in ("text", ecdsa, "missing"):
        done = command("sign", str(patch), "--key", str(tmp_path / name))
        assert (done.returncode, "ssh-keygen -t ed25519" in done.stderr) == (2, True)
    assert not Path(f"{patch}.sig").exists()


def test_a_passphrase_is_asked_for_at_a_terminal_only(command, patch: Path, tmp_path: Path, monkeypatch):
    hidden = written_key(tmp_path / "hidden", Ed25519PrivateKey.generate(), b"secret")
    monkeypatch.setattr("sys.stdin", io.StringIO())
    done = command("sign", str(patch), "--key", str(hidden))
    assert (done.returncode, "no terminal" in done.stderr) == (2, True)
    for given, code in (("wrong", 2), ("secret", 0)):
        monkeypatch.setattr("editcore.cli.sign._passphrase", lambda given=given: given)
        assert command("sign", str(patch), "--key", str(hidden)).returncode == code
    assert command("verify", str(patch), "--signer", f"{hidden}.pub").returncode == 0


def test_without_the_library_it_says_what_to_install(command, patch: Path, key: Path, monkeypatch):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.serialization", None)
    done = command("sign", str(patch), "--key", str(key))
    assert (done.returncode, "pip install 'editcore[sign]'" in done.stderr) == (1, True)


@pytest.mark.skipif(KEYGEN is None, reason="ssh-keygen is not installed")
def test_openssh_reads_what_is_written_and_writes_what_is_read(command, patch: Path, key: Path, tmp_path: Path):
    assert command("sign", str(patch), "--key", str(key)).returncode == 0
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ada {Path(f'{key}.pub').read_text()}")
    check = [KEYGEN, "-Y", "verify", "-f", allowed, "-I", "ada", "-n", "editcore", "-s", f"{patch}.sig"]
    with patch.open("rb") as content:
        done = subprocess.run(check, stdin=content, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    Path(f"{patch}.sig").unlink()
    for namespace, code in (("git", 6), ("editcore", 0)):
        subprocess.run([KEYGEN, "-Y", "sign", "-f", key, "-n", namespace, patch], check=True, capture_output=True)
        assert command("verify", str(patch), "--signer", str(allowed)).returncode == code
        Path(f"{patch}.sig").unlink()
