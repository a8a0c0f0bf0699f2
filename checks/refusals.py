"""Every refusal of the format's page, through the command line: message, exit code, and nothing on disk changed."""

import contextlib
import io
import json
import shutil
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from attrs import evolve

from checks import models
from editcore.cli import main
from editcore.patches.canonical import sha256_of
from editcore.patches.fingerprint import file_sha256
from editcore.patches.manifest import METADATA_KEY, patch_id_of
from editcore.patches.patch import Patch

Edit = Callable[[dict[str, Any]], None]
"""Changes the parsed manifest of a patch in place."""


def run() -> list[str]:
    rows = ["| case | exit code | message |", "|---|---|---|"]
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for case, expected, arguments in _cases(place):
            before = _tree(place)
            code, said = _call(arguments)
            assert code == expected, f"{case}: exit code {code}, not {expected}: {said}"
            assert said.startswith("error: "), f"{case}: {said!r}"
            assert said.count("\n") == 1, f"{case} takes more than a line: {said!r}"
            assert _tree(place) == before, f"{case} changed something on disk"
            rows.append(f"| {case} | {code} | {said[7:].strip().replace(str(place) + '/', '').replace('|', '/')} |")
    return rows


def _cases(place: Path) -> Iterator[tuple[str, int, list[str]]]:
    model = models.single(place / "model")
    shards = models.sharded(place / "sharded")
    first, second = models.patches(model, 2)
    good = place / "good.safetensors"
    first.save(good)
    data = good.read_bytes()
    key = next(iter(first.targets))

    def patch_file(name: str, content: bytes) -> list[str]:
        path = place / f"{name}.safetensors"
        path.write_bytes(content)
        return ["apply", str(path), "--model", str(model), "--in-place"]

    def edited(name: str, edit: Edit) -> list[str]:
        return patch_file(name, _reseal(data, edit))

    yield "not a safetensors file", 6, patch_file("text", b"hello, this is no patch at all")
    yield "header longer than the file", 6, patch_file("long", struct.pack("<Q", len(data)) + data[8:])
    yield "header over 100 MB", 6, patch_file("huge", struct.pack("<Q", 2**30) + data[8:])
    yield "header is not JSON", 6, patch_file("nojson", data[:8] + b"}" + data[9:])
    yield "cut off", 6, patch_file("cut", data[:-4])
    yield "a tensor's bytes changed", 6, patch_file("flipped", data[:-1] + bytes([data[-1] ^ 1]))
    yield "nested too deep", 6, edited("deep", lambda m: m["about"].update(title=_nested(200)))
    yield "id does not fit", 6, edited("id", lambda m: m.update(patch_id="0" * 64))
    yield "a version from the future", 6, edited("future", lambda m: m.update(format_version="2.0"))
    yield "an unknown form", 6, edited("form", lambda m: m["core"]["targets"][key].update(form="spline"))
    yield "a name that looks like a path", 6, edited("path", lambda m: _rename(m, key, "../../etc/passwd"))
    yield "a rank larger than the matrix", 6, edited("rank", lambda m: _shape(m, key, "left", [1024, 4096]))
    yield "another shape than the base", 3, patch_file("shape", _wider(first, key, place))
    yield "another dtype than the base", 3, edited("dtype", lambda m: _target(m, key, "base_dtype", "F32"))
    yield "non-finite values", 6, patch_file("nan", _with_nan(first, place))
    yield "indices out of range", 6, patch_file("index", _sparse(first, key, place, [[0, 5000], [0, 0]]))
    yield "a requirement that is missing", 4, edited("requires", lambda m: m["core"].update(requires=[second.patch_id]))
    yield "a wrong base", 3, ["apply", str(good), "--model", str(shards), "--in-place"]
    yield "no such model", 2, ["apply", str(good), "--model", str(place / "nowhere"), "--in-place"]
    yield "nowhere to write", 2, ["apply", str(good), "--model", str(model)]

    patched = place / "patched"
    assert _call(["apply", str(good), "--model", str(model), "-o", str(patched)])[0] == 0
    yield "applied already", 4, ["apply", str(good), "--model", str(patched), "--in-place"]
    yield "revert of what is not there", 2, ["revert", second.patch_id, "--model", str(patched)]
    changed = place / "changed"
    shutil.copytree(patched, changed)
    weights = bytearray((changed / "model.safetensors").read_bytes())
    header = 8 + struct.unpack("<Q", weights[:8])[0]
    entry = json.loads(weights[8:header])[key]
    weights[header + entry["data_offsets"][0]] ^= 1
    (changed / "model.safetensors").write_bytes(weights)
    yield "a file changed after it was patched", 6, ["revert", first.patch_id, "--model", str(changed)]
    yield "the same, asked of verify", 6, ["verify", str(changed)]

    pickled = place / "pickled"
    shutil.copytree(model, pickled)
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    yield "a .bin checkpoint", 6, ["apply", str(good), "--model", str(pickled), "--in-place"]
    quantised = place / "quantised"
    shutil.copytree(model, quantised)
    config = json.loads((quantised / "config.json").read_text())
    (quantised / "config.json").write_text(json.dumps({**config, "quantization_config": {"bits": 4}}))
    yield "a quantised base", 6, ["apply", str(good), "--model", str(quantised), "--in-place"]
    cache = place / "models--demo--gpt2" / "snapshots" / "abc"
    shutil.copytree(model, cache)
    yield "a hub cache in place", 6, ["apply", str(good), "--model", str(cache), "--in-place"]
    broken = place / "broken"
    shutil.copytree(shards, broken)
    next(broken.glob("model-00002*")).unlink()
    yield "a shard that is missing", 6, ["verify", str(broken)]

    yield "a figure not reached", 5, [
        "edit", str(model), "--prompt", "{} works as a", "--subject", "Nobody Known", "--target", "pilot",
        "--target-true", "baker", "-o", str(place / "never.safetensors"), "--require", "pref.es@1>=2",
        "--set", "v_steps=2", "--set", "context_count=1", "--set", "mom2_tokens=2000",
    ]  # fmt: skip
    yield "a misspelt setting", 2, ["edit", str(model), "--prompt", "{} is", "--subject", "A", "--target", "b",
                                    "-o", str(place / "x.safetensors"), "--set", "layr=2"]  # fmt: skip
    yield "an unknown method", 4, ["edit", str(model), "--prompt", "{} is", "--subject", "A", "--target", "b",
                                   "-o", str(place / "x.safetensors"), "--method", "rom"]  # fmt: skip


def _call(arguments: list[str]) -> tuple[int, str]:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([*arguments, "-q"])
    return code, err.getvalue()


def _tree(place: Path) -> dict[str, str]:
    return {str(path): file_sha256(path) for path in sorted(place.rglob("*")) if path.is_file()}


def _reseal(data: bytes, edit: Edit) -> bytes:
    """Change the manifest and make ids and hashes fit again, as an attacker would."""
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    manifest = json.loads(header["__metadata__"][METADATA_KEY])
    own = {name: manifest[name] for name in ("patch_id",)}
    edit(manifest)
    manifest["about_sha256"] = sha256_of(manifest["about"]) if _shallow(manifest["about"]) else "0" * 64
    if manifest["patch_id"] == own["patch_id"]:
        manifest["patch_id"] = patch_id_of(manifest["core"])
    for name, entry in manifest["core"]["targets"].items():
        for part, described in entry["parts"].items():
            if f"{name}/{part}" in header:
                header[f"{name}/{part}"]["shape"] = described["shape"]
    header["__metadata__"][METADATA_KEY] = json.dumps(manifest)
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + data[8 + size :]


def _shallow(about: dict[str, Any]) -> bool:
    return isinstance(about["title"], str)


def _nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


def _target(manifest: dict[str, Any], key: str, field: str, value: Any) -> None:
    manifest["core"]["targets"][key][field] = value


def _wider(patch: Patch, key: str, place: Path) -> bytes:
    """A patch in order in itself, for a tensor with one column more."""
    import torch

    right = torch.nn.functional.pad(patch.tensors[f"{key}/right"], (0, 1))
    return _rehashed(patch, {**patch.tensors, f"{key}/right": right}, place, columns=right.shape[1])


def _shape(manifest: dict[str, Any], key: str, part: str, shape: list[int]) -> None:
    manifest["core"]["targets"][key]["parts"][part]["shape"] = shape


def _rename(manifest: dict[str, Any], key: str, name: str) -> None:
    manifest["core"]["targets"][name] = manifest["core"]["targets"].pop(key)


def _with_nan(patch: Patch, place: Path) -> bytes:
    """A patch whose hashes all fit and whose first factor holds a NaN."""
    key = next(iter(patch.targets))
    left = patch.tensors[f"{key}/left"].clone()
    left[0, 0] = float("nan")
    return _rehashed(patch, {**patch.tensors, f"{key}/left": left}, place)


def _sparse(patch: Patch, key: str, place: Path, index: list[list[int]]) -> bytes:
    import torch

    tensors = {f"{key}/index": torch.tensor(index), f"{key}/values": torch.ones(len(index[0]))}
    return _rehashed(patch, tensors, place, form="sparse")


def _rehashed(patch: Patch, tensors: dict[str, Any], place: Path, form: str = "low_rank", columns: int = 0) -> bytes:
    import hashlib

    from editcore.patches.tensors import blob_of

    core = json.loads(json.dumps(dict(patch.core)))
    (key,) = core["targets"]
    parts = {}
    for name, tensor in tensors.items():
        blob = blob_of(tensor)
        parts[name.rpartition("/")[2]] = {
            "dtype": blob.dtype, "shape": list(blob.shape), "sha256": hashlib.sha256(blob.data).hexdigest(),
        }  # fmt: skip
    core["targets"][key]["parts"] = parts
    core["targets"][key]["form"] = form
    if columns:
        core["targets"][key]["shape"][1] = columns
    path = place / "made.safetensors"
    evolve(patch, patch_id=patch_id_of(core), core=core, tensors=tensors).save(path)
    data = path.read_bytes()
    path.unlink()
    return data
