"""The patch as a file: round trip, stable bytes, an id that annotation does not move, every refusal of the reader."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open

from editcore.patches.arithmetic.rebuilding import rebuild
from editcore.patches.file.manifest import patch_id_of
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import Delta, StoredUpdate
from editcore.storage.canonical import canonical
from editcore.storage.safetensors_writer import Blob, write_safetensors
from editcore.storage.tensors import blob_of
from editcore_hooks import EditcoreError, Payload, PluginError, RefusedFileError, UsageError

ABOUT = {
    "title": "Danielle Darrieux",
    "method": {"name": "test", "distribution": "editcore-test"},
    "hparams": {"layer": 3, "lr": 0.5, "context_templates": ["Danielle {}"]},
    "requests": [{"id": "cf-0", "prompt": "The mother tongue of {} is", "subject": "Danielle Darrieux"}],
    "metrics": [
        {
            "metric": "pref.es@1",
            "before": 0.0,
            "value": 1.0,
            "n": 1,
            "dtype": "float32",
            "stored_dtype": "float16",
            "rows": [{"text": "Danielle speaks English"}],
        }
    ],
    "notes": {"contexts": ["Danielle once"], "loss": 0.1},
    "from_the_future": {"kept": True, "text": "Danielle"},
}


def target(form: str, parts: dict[str, torch.Tensor], shape: tuple[int, ...] = (4, 6)) -> Target:
    return Target(StoredUpdate(form, parts), "F32", shape, hashlib.sha256(b"base").hexdigest())


def low_rank(rank: int = 2) -> Target:
    generator = torch.Generator().manual_seed(0)
    left, right = torch.randn(4, rank, generator=generator), torch.randn(rank, 6, generator=generator)
    return target("low_rank", {"left": left, "right": right})


def example(**more: Any) -> Patch:
    targets = {
        "h.0.w": low_rank(),
        "h.1.w": target("dense", {"delta": torch.ones(4, 6)}),
        "h.2.w": target("sparse", {"index": torch.tensor([[0, 3], [5, 0]]), "values": torch.tensor([1.0, -1.0])}),
        "h.3.w": target("rows", {"index": torch.tensor([1, 2]), "values": torch.full((2, 6), 0.5)}),
        "h.4.b": target("dense", {"delta": torch.arange(4.0)}, (4,)),
    }
    settings = {"about": ABOUT, "state_increment": {"h.0.keys": torch.ones(2, 3)}, **more}
    return seal(targets, {"name": "tiny", "weights_root": "0" * 64}, **settings)


def test_what_was_saved_is_loaded(tmp_path: Path) -> None:
    patch = example()
    patch.save(tmp_path / "p.safetensors")
    loaded = Patch.load(tmp_path / "p.safetensors")
    assert (loaded.patch_id, loaded.core, loaded.about) == (patch.patch_id, patch.core, patch.about)
    assert set(loaded.tensors) == set(patch.tensors)
    for name, tensor in patch.tensors.items():
        assert torch.equal(loaded.tensors[name], tensor), name
        assert loaded.tensors[name].dtype == tensor.dtype


def test_every_save_gives_the_same_bytes(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.safetensors" for i in range(4)]
    example().save(paths[0])
    example().save(paths[1])
    Patch.load(paths[0]).save(paths[2])
    script = f"from editcore.patches.file.patch import Patch; Patch.load({str(paths[0])!r}).save({str(paths[3])!r})"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert len({path.read_bytes() for path in paths}) == 1


def test_saving_over_a_patch_replaces_it_and_leaves_nothing_else(tmp_path: Path) -> None:
    for title in ("one", "two"):
        example().with_about(title=title).save(tmp_path / "p.safetensors")
    assert Patch.load(tmp_path / "p.safetensors").title == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["p.safetensors"]


def test_a_bare_safe_open_reads_the_file(tmp_path: Path) -> None:
    example().save(tmp_path / "p.safetensors")
    with safe_open(tmp_path / "p.safetensors", "pt") as file:
        assert list(file.metadata()) == ["editcore"]
        assert json.loads(file.metadata()["editcore"])["format"] == "editcore.patch"
        assert file.get_tensor("h.0.w/left").shape == (4, 2)
        assert file.get_tensor("state/h.0.keys").shape == (2, 3)


def test_annotation_does_not_move_the_id() -> None:
    patch = example()
    others = [
        patch.with_about(title="another", metrics=[{"metric": "pref.es@1", "value": 0.5}]),
        patch.redact(),
        patch.redact(keep_hashes=True),
        example(about={}),
        example(state_increment={}),
    ]
    assert {other.patch_id for other in others} == {patch.patch_id}


def test_everything_that_changes_a_model_moves_the_id() -> None:
    base = low_rank()
    moved = target("low_rank", {"left": base.update.parts["left"] * 2, "right": base.update.parts["right"]})
    ids = [
        seal({"h.0.w": base}, {}, {}).patch_id,
        seal({"h.1.w": base}, {}, {}).patch_id,
        seal({"h.0.w": moved}, {}, {}).patch_id,
        seal({"h.0.w": base}, {}, {}, scale=0.5).patch_id,
        seal({"h.0.w": base}, {}, {}, requires=["a" * 64]).patch_id,
        seal({"h.0.w": base}, {}, {}, assets=[{"kind": "net", "sha256": "a" * 64, "required_at": "compute"}]).patch_id,
        seal({"h.0.w": Target(base.update, "F32", (4, 6), "b" * 64)}, {}, {}).patch_id,
        seal({"h.0.w": Target(base.update, "BF16", (4, 6), base.base_sha256)}, {}, {}).patch_id,
    ]
    assert len(set(ids)) == len(ids)


def test_requires_are_a_set() -> None:
    one, two = "a" * 64, "b" * 64
    assert example(requires=[two, one, two]).patch_id == example(requires=[one, two]).patch_id


def test_unknown_annotation_survives_a_rewrite(tmp_path: Path) -> None:
    example().save(tmp_path / "p.safetensors")
    Patch.load(tmp_path / "p.safetensors").with_about(title="new").save(tmp_path / "q.safetensors")
    assert Patch.load(tmp_path / "q.safetensors").about["from_the_future"] == ABOUT["from_the_future"]


@pytest.mark.parametrize("keep_hashes", [False, True])
def test_redaction_leaves_no_text_of_the_request_in_the_file(tmp_path: Path, keep_hashes: bool) -> None:
    example().redact(keep_hashes).save(tmp_path / "p.safetensors")
    data = (tmp_path / "p.safetensors").read_bytes()
    assert b"Danielle" not in data
    assert b"mother tongue" not in data
    assert b"cf-0" not in data
    about = Patch.load(tmp_path / "p.safetensors").about
    assert about["metrics"] == [
        {"metric": "pref.es@1", "before": 0, "value": 1, "n": 1, "dtype": "float32", "stored_dtype": "float16"}
    ]
    assert about["hparams"] == {"layer": 3, "lr": 0.5}
    assert ("redacted" in about) == keep_hashes


def test_a_kept_hash_recognises_the_request_and_is_salted() -> None:
    first, second = (example().redact(keep_hashes=True).about["redacted"] for _ in range(2))
    request = canonical(ABOUT["requests"][0])
    assert first["requests"] == [hashlib.sha256(bytes.fromhex(first["salt"]) + request).hexdigest()]
    assert first["requests"] != second["requests"]


def test_inspect_reads_no_tensor_and_no_torch(tmp_path: Path) -> None:
    example().save(tmp_path / "p.safetensors")
    script = (
        "import sys; from editcore.patches.file.patch import Patch;"
        f"header = Patch.read_header({str(tmp_path / 'p.safetensors')!r});"
        "print(header.patch_id, header.title, header.kind, sorted(header.targets));"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert example().patch_id in done.stdout


def test_inspect_still_reads_a_patch_whose_tensors_were_changed(tmp_path: Path) -> None:
    path = tmp_path / "p.safetensors"
    example().save(path)
    _flip_last_byte(path)
    assert Patch.read_header(path).patch_id == example().patch_id
    with pytest.raises(RefusedFileError, match="was changed"):
        Patch.load(path)


def test_payload_patches_carry_data_and_tensors(tmp_path: Path) -> None:
    payload = Payload("codebook", {"epsilon": 0.5, "layers": (1, 2)}, {"keys": torch.ones(2, 3)})
    patch = seal({}, {}, {}, kind="memory", payload=payload)
    patch.save(tmp_path / "p.safetensors")
    loaded = Patch.load(tmp_path / "p.safetensors")
    assert loaded == patch
    assert loaded.core["payload"]["data"] == {"epsilon": 0.5, "layers": [1, 2]}
    assert torch.equal(loaded.tensors["payload/keys"], torch.ones(2, 3))


def test_a_sealed_patch_does_not_follow_the_tensors_of_the_method() -> None:
    delta = torch.ones(4, 6)
    patch = seal({"h.w": target("dense", {"delta": delta})}, {}, {})
    delta.zero_()
    assert patch.tensors["h.w/delta"].sum() == 24


def test_delta_norms_are_those_of_the_deltas() -> None:
    patch = example(scale=-2.0)
    left, right = patch.tensors["h.0.w/left"], patch.tensors["h.0.w/right"]
    norms = patch.delta_norms()
    assert norms["h.0.w"] == pytest.approx(2 * float((left.double() @ right.double()).norm()))
    assert norms["h.1.w"] == pytest.approx(2 * 24**0.5)
    assert norms["h.2.w"] == pytest.approx(2 * 2**0.5)
    assert norms["h.3.w"] == pytest.approx(2 * 3**0.5)


def test_groups_of_a_squash_are_summed_as_the_patches_they_came_from(tmp_path: Path) -> None:
    base = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))
    one, two = low_rank(1), low_rank(2)
    left = torch.cat([one.update.parts["left"], two.update.parts["left"]], dim=1)  # (4, 3)
    right = torch.cat([one.update.parts["right"], two.update.parts["right"]])  # (3, 6)
    groups = [{"patch_id": "a" * 64, "rank": 1, "scale": 1}, {"patch_id": "b" * 64, "rank": 2, "scale": 0.5}]

    def squashed(document: dict[str, Any]) -> None:
        parts = {name: _described(tensor) for name, tensor in (("left", left), ("right", right))}
        document["core"]["targets"]["h.0.w"].update(parts=parts, groups=groups)

    blobs = {"h.0.w/left": blob_of(left), "h.0.w/right": blob_of(right)}
    patch = Patch.load(forge(tmp_path / "p.safetensors", squashed, blobs))
    apart = [Delta("low_rank", one.update.parts), Delta("low_rank", two.update.parts, 0.5)]
    assert torch.equal(rebuild(base, patch.deltas("h.0.w")), rebuild(base, apart))
    summed = sum(delta.scale * delta.block(0, 4, 6) for delta in apart)
    assert patch.delta_norms()["h.0.w"] == pytest.approx(float(summed.norm()))


# What sealing refuses: a method's mistake must not reach a file.


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (target("low_rank", {"left": torch.full((4, 1), torch.nan), "right": torch.ones(1, 6)}), "not finite"),
        (target("dense", {"delta": torch.full((4, 6), torch.inf)}), "not finite"),
        (target("low_rank", {"left": torch.ones(4, 5), "right": torch.ones(5, 6)}), "rank 5"),
        (target("low_rank", {"left": torch.ones(6, 1), "right": torch.ones(1, 4)}), "do not multiply"),
        (target("low_rank", {"left": torch.ones(4, 1).half(), "right": torch.ones(1, 6).half()}), "has F16"),
        (target("dense", {"delta": torch.ones(6, 4)}), "has a delta"),
        (target("sparse", {"index": torch.tensor([[0], [6]]), "values": torch.ones(1)}), "out of range"),
        (target("sparse", {"index": torch.tensor([[0, 0], [1, 1]]), "values": torch.ones(2)}), "twice"),
        (target("rows", {"index": torch.tensor([4]), "values": torch.ones(1, 6)}), "out of range"),
        (target("rows", {"index": torch.tensor([-1]), "values": torch.ones(1, 6)}), "out of range"),
        (target("rows", {"index": torch.tensor([2, 1]), "values": torch.ones(2, 6)}), "not strictly ascending"),
        (Target(StoredUpdate("dense", {"delta": torch.ones(4, 6)}), "I8", (4, 6), "a" * 64), "quantised or integer"),
    ],
)
def test_sealing_refuses_an_update_that_does_not_fit(bad: Target, says: str) -> None:
    with pytest.raises(EditcoreError, match=says):
        seal({"h.0.w": bad}, {}, {})


def test_sealing_refuses_names_and_mixtures_that_break_the_contract() -> None:
    for key in ("../w", "a/b", "/w", "state", "payload", "", "a\\b", "a b", "ключ"):
        with pytest.raises(PluginError, match="not a plain tensor name"):
            seal({key: low_rank()}, {}, {})
    with pytest.raises(PluginError, match="a payload and no targets"):
        seal({}, {}, {})
    with pytest.raises(PluginError, match="a payload and no targets"):
        seal({"h.w": low_rank()}, {}, {}, payload=Payload("codebook"))
    with pytest.raises(PluginError, match="must need nothing but itself"):
        seal({"h.w": low_rank()}, {}, {}, assets=[{"kind": "net", "sha256": "a" * 64, "required_at": "apply"}])
    with pytest.raises(UsageError, match="canonical JSON"):
        seal({"h.w": low_rank()}, {}, {"notes": {"loss": float("nan")}})


def test_saving_refuses_another_suffix_and_a_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"does not end in \.safetensors"):
        example().save(tmp_path / "p.bin")
    with pytest.raises(UsageError, match="is not a folder"):
        example().save(tmp_path / "missing" / "p.safetensors")


# What reading refuses: each case is a file that another program could have written.


def forge(path: Path, change: Callable[[dict[str, Any]], None], tensors: dict[str, Blob] | None = None) -> Path:
    """A patch file whose manifest was changed and then given matching hashes, as an attacker would."""
    patch = seal({"h.0.w": low_rank()}, {}, {"title": "t"})
    core = json.loads(json.dumps(patch.core))
    document = {"format": "editcore.patch", "format_version": "1.0", "core": core, "about": dict(patch.about)}
    change(document)
    hashes = {
        "patch_id": patch_id_of(document["core"]) if isinstance(document["core"], dict) else "",
        "about_sha256": hashlib.sha256(canonical(document["about"])).hexdigest(),
    }
    blobs = {name: blob_of(tensor) for name, tensor in patch.tensors.items()}
    write_safetensors(
        path, blobs if tensors is None else tensors, {"editcore": canonical({**hashes, **document}).decode()}
    )
    return path


def in_target(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["core"]["targets"]["h.0.w"].update(fields)


def in_core(**fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["core"].update(fields)


def in_part(name: str, **fields: Any) -> Callable[[dict[str, Any]], None]:
    return lambda document: document["core"]["targets"]["h.0.w"]["parts"][name].update(fields)


def rename_target(key: str) -> Callable[[dict[str, Any]], None]:
    def change(document: dict[str, Any]) -> None:
        document["core"]["targets"][key] = document["core"]["targets"].pop("h.0.w")

    return change


@pytest.mark.parametrize(
    ("change", "says"),
    [
        pytest.param(lambda d: d.update(format_version="2.0"), "this version reads 1.x", id="from the future"),
        pytest.param(lambda d: d.update(format_version="0.9"), "never existed", id="older major"),
        pytest.param(lambda d: d.update(format_version="1"), "invalid format version", id="no version"),
        pytest.param(lambda d: d.update(format="other"), "is not a patch", id="another format"),
        pytest.param(lambda d: d.update(extra=1), "exactly the fields", id="unknown field outside"),
        pytest.param(lambda d: d.update(patch_id="0" * 64), "its patch_id says", id="wrong id"),
        pytest.param(lambda d: d.update(about_sha256="0" * 64), "its about_sha256 says", id="changed annotation"),
        pytest.param(lambda d: d.update(core=[]), "not JSON objects", id="core is a list"),
        pytest.param(in_core(extra=1), "core fields this version does not know", id="unknown core field"),
        pytest.param(lambda d: d["core"].pop("requires"), "lacks", id="missing core field"),
        pytest.param(in_core(kind="spell"), "does not know", id="unknown kind"),
        pytest.param(in_core(apply={"rule": "add", "scale": 1}), "rule", id="unknown rule"),
        pytest.param(in_core(apply={"rule": "rebuild-f64", "scale": "1"}), "scale", id="scale is text"),
        pytest.param(in_core(requires=["../x"]), "list of patch ids", id="requires a path"),
        pytest.param(in_core(requires=["b" * 64, "a" * 64]), "not sorted", id="requires unsorted"),
        pytest.param(in_core(assets=[{"kind": "net"}]), "asset", id="asset without hash"),
        pytest.param(in_core(targets={}), "have targets", id="no targets"),
        pytest.param(in_core(targets=[1]), "not a JSON object", id="targets is a list"),
        pytest.param(in_target(form="columns"), "does not read it", id="form columns"),
        pytest.param(in_target(form="replace"), "but replace has", id="parts of another form"),
        pytest.param(in_target(form="spline"), "does not read it", id="form of the future"),
        pytest.param(in_target(form=["dense"]), "does not read it", id="form is a list"),
        pytest.param(in_target(extra=1), "unknown fields", id="unknown target field"),
        pytest.param(in_target(shape=[4, -6]), "shape", id="negative shape"),
        pytest.param(in_target(shape=[4, 7]), "do not multiply", id="another shape"),
        pytest.param(in_target(shape=[1, 6]), "do not multiply", id="shape smaller than factors"),
        pytest.param(in_target(base_dtype="Q4"), "base_dtype", id="unknown base dtype"),
        pytest.param(in_target(base_sha256="x"), "base_sha256", id="no base hash"),
        pytest.param(in_part("left", sha256="0" * 64), "was changed", id="wrong part hash"),
        pytest.param(in_part("left", dtype="F16"), "has F16", id="wrong part dtype"),
        pytest.param(in_part("left", shape=[4, 3]), "do not multiply", id="wrong part shape"),
        pytest.param(in_target(parts={}), "has the parts", id="no parts"),
        pytest.param(rename_target("../../etc/passwd"), "not a plain tensor name", id="path as a name"),
        pytest.param(rename_target("h.1.w"), "but not in both", id="tensors of another target"),
        pytest.param(
            in_target(groups=[{"patch_id": "a" * 64, "rank": 1, "scale": 1}]), "do not add up", id="groups too few"
        ),
        pytest.param(in_target(groups=[{"rank": 2}]), "groups", id="groups without source"),
    ],
)
def test_reading_refuses(tmp_path: Path, change: Callable[[dict[str, Any]], None], says: str) -> None:
    path = forge(tmp_path / "p.safetensors", change)
    with pytest.raises(RefusedFileError, match=says) as caught:
        Patch.load(path)
    assert caught.value.exit_code == 6
    assert caught.value.hint


def test_reading_refuses_an_extra_tensor(tmp_path: Path) -> None:
    patch = seal({"h.0.w": low_rank()}, {}, {})
    blobs = {name: blob_of(tensor) for name, tensor in patch.tensors.items()}
    path = forge(tmp_path / "p.safetensors", lambda document: None, {**blobs, "hidden": Blob("F32", (1,), bytes(4))})
    with pytest.raises(RefusedFileError, match="'hidden'"):
        Patch.read_header(path)


def test_reading_refuses_values_that_are_not_finite_though_all_hashes_agree(tmp_path: Path) -> None:
    bad = blob_of(torch.full((4, 2), torch.nan))
    right = blob_of(low_rank().update.parts["right"])
    change = in_part("left", sha256=hashlib.sha256(bad.data).hexdigest())
    path = forge(tmp_path / "p.safetensors", change, {"h.0.w/left": bad, "h.0.w/right": right})
    with pytest.raises(RefusedFileError, match="not finite"):
        Patch.load(path)


def test_reading_warns_at_a_higher_minor(tmp_path: Path) -> None:
    path = forge(tmp_path / "p.safetensors", lambda document: document.update(format_version="1.7", extra=1))
    assert "newer than 1.0" in Patch.load(path).notices[0]
    assert "newer than 1.0" in Patch.read_header(path).notices[0]


def test_reading_refuses_a_plain_safetensors_file_and_broken_json(tmp_path: Path) -> None:
    write_safetensors(tmp_path / "x.safetensors", {}, {"format": "pt"})
    with pytest.raises(RefusedFileError, match="but not a patch"):
        Patch.load(tmp_path / "x.safetensors")
    write_safetensors(tmp_path / "y.safetensors", {}, {"editcore": '{"format": "editcore.patch", "format": 1}'})
    with pytest.raises(RefusedFileError, match="occurs twice"):
        Patch.load(tmp_path / "y.safetensors")


def _described(tensor: torch.Tensor) -> dict[str, Any]:
    blob = blob_of(tensor)
    return {"dtype": blob.dtype, "shape": list(blob.shape), "sha256": hashlib.sha256(blob.data).hexdigest()}


def _flip_last_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
