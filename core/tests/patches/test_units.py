"""Units in memory and in files: what they add, that nothing is left of them, that folding gives the same answers."""

import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM

import editcore
from editcore.applying.folding import fold_to_copy
from editcore.models.anatomy.model_map import Anatomy
from editcore.models.running.batch import forward, forward_pair, pad
from editcore.models.running.tracing import Tap, Trace
from editcore.patches.change.ondisk import apply_on_disk
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.compare.diff import diff
from editcore.patches.compare.verification import verify_folder, verify_patch
from editcore.patches.exchange.peft_export import write_adapter
from editcore.patches.exchange.squashing import squash
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import seal
from editcore.patches.file.units import Units, units_of, units_payload
from editcore.plugins.registry import Registry
from editcore.testing.snapshot import Snapshot
from editcore.testing.tiny import FAMILIES, tiny_model
from editcore_hooks import ConflictError, EditcoreError, Payload, RefusedFileError, Site, UsageError, WrongBaseError

D, HARD_CODED = 32, {"bloom"}
GATED = {
    "llama", "mistral", "qwen2", "qwen3", "gemma", "gemma2", "gemma3", "gemma3_text", "phi3", "t5_gated",
    "qwen3_next", "qwen3_5",
}  # fmt: skip
BIASED = {"gpt2", "gpt_neo", "gptj", "gpt_neox", "phi", "opt"}
TWO_STACKS = {"t5", "t5_gated"}


def drawn(n: int, seed: int, *, gated: bool, biased: bool) -> Units:
    generator = torch.Generator().manual_seed(seed)
    keys, values, gate = (torch.randn(n, D, generator=generator) * 0.3 for _ in range(3))
    return Units(keys, values, torch.randn(n, generator=generator) if biased else None, gate if gated else None)


def units_patch(
    root: Path, family: str, places: dict[Site, int], seed: int = 0, *, biased: bool | None = None
) -> Patch:
    options = {"gated": family in GATED, "biased": family in BIASED if biased is None else biased}
    units = {site: drawn(n, seed + i, **options) for i, (site, n) in enumerate(places.items())}
    base = base_identity(Checkpoint.open(root), "tiny")
    return seal({}, base, {"title": f"units {seed}"}, kind="modules", payload=units_payload(units))


def some(family: str) -> dict[Site, int]:
    places = {Site("block", 1): 3, Site("block", 2): 1}
    return places | ({Site("block", 0, "encoder"): 2} if family in TWO_STACKS else {})


@torch.no_grad()
def logits(model: Any) -> torch.Tensor:
    if model.config.is_encoder_decoder:
        return forward_pair(model, pad([[5, 6, 7], [8, 9]]), pad([[0, 11], [0, 12]]))
    return forward(model, pad([[5, 6, 7], [8, 9]]))


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def get(family: str) -> Path:
        if family not in made:
            made[family] = tiny_model(family, tmp_path_factory.mktemp(family) / "model")
        return made[family]

    return get


def opened(folder: Path) -> editcore.Session:
    return editcore.open(folder, registry_=Registry.of())


@pytest.mark.parametrize("family", FAMILIES)
def test_units_run_beside_the_mlp_and_folded_in_it_with_equal_answers(
    root: Callable[[str], Path], tmp_path: Path, family: str
) -> None:
    folder = root(family)
    session, patch = opened(folder), units_patch(folder, family, some(family))
    plain = logits(session.model)
    with session.patched(patch):
        beside = logits(session.model)
    assert (beside - plain).abs().max() > 0.1
    assert torch.equal(logits(session.model), plain)
    if family in HARD_CODED:
        with pytest.raises(UsageError, match="fixes the width of its MLPs"):
            fold_to_copy(folder, tmp_path / "folded", [patch], Registry.of())
        assert not (tmp_path / "folded").exists()
        return
    width = fold_to_copy(folder, tmp_path / "folded", [patch], Registry.of())["mlp_width"]
    assert width["after"] == width["before"] + 3
    auto: Any = AutoModelForSeq2SeqLM if family in TWO_STACKS else AutoModelForCausalLM
    again = auto.from_pretrained(tmp_path / "folded", dtype=torch.float32)
    torch.testing.assert_close(logits(again), beside, rtol=1e-4, atol=1e-4)
    assert Anatomy.of(again).mlp_width == width["after"]


def test_a_unit_adds_what_its_equation_says(root: Callable[[str], Path]) -> None:
    for family, act in (("gpt2", torch.nn.GELU("tanh")), ("llama", torch.nn.SiLU())):
        session = opened(root(family))
        units = drawn(2, 5, gated=family in GATED, biased=True)
        base = base_identity(session.checkpoint, "tiny")
        patch = seal({}, base, {}, kind="modules", payload=units_payload({Site("block", 1): units}))
        places = {Site("mlp_in", 1): Tap(input=True), Site("mlp_out", 1): Tap(output=True)}
        found = []
        for patches in ((), (patch,)):
            with session.patched(*patches), Trace(session.anatomy, places) as trace:
                logits(session.model)
            found.append((trace.input(Site("mlp_in", 1)), trace.output(Site("mlp_out", 1))))
        (x, before), (_, after) = found
        expected = torch.zeros_like(before)
        for i in range(2):
            k, v = x @ units.keys[i], units.values[i]
            fires = act(k + units.biases[i]) if units.gate is None else act(x @ units.gate[i] + units.biases[i]) * k
            expected += fires[..., None] * v
        torch.testing.assert_close(after - before, expected, rtol=1e-4, atol=1e-5)


def test_several_are_put_on_and_taken_off_in_any_order_and_nothing_is_left(root: Callable[[str], Path]) -> None:
    session = opened(root("gpt2"))
    before, plain = Snapshot.of(session.model), logits(session.model)
    patches = [units_patch(root("gpt2"), "gpt2", {Site("block", 1): n}, seed=n) for n in (1, 2, 4)]
    with session.patched(*patches):
        together = logits(session.model)
    with session.patched(patches[1], patches[2]):
        without = logits(session.model)
    for order in itertools.permutations(patches):
        for patch in order:
            session.apply(patch)
        assert torch.equal(logits(session.model), together)
        with session.at_base():
            assert torch.equal(logits(session.model), plain)
        assert torch.equal(logits(session.model), together)
        session.live.remove(patches[0].patch_id)
        assert torch.equal(logits(session.model), without)
        for patch in order:
            if patch is not patches[0]:
                session.live.remove(patch.patch_id)
        assert before.changes(Snapshot.of(session.model)) == []
        assert torch.equal(logits(session.model), plain)


@pytest.mark.parametrize("sharded", [False, True])
def test_a_stack_with_units_is_folded_into_one_plain_checkpoint(
    folder: Callable[..., Path], make_patch: Callable[..., Patch], tmp_path: Path, sharded: bool
) -> None:
    base = folder("llama", torch.bfloat16, sharded)
    d, key = 16, "model.layers.1.mlp.down_proj.weight"
    generator = torch.Generator().manual_seed(0)
    payloads = []
    for layer, n in ((0, 2), (0, 1), (1, 2)):
        keys, values, gate = (torch.randn(n, d, generator=generator) for _ in range(3))
        payloads.append(units_payload({Site("block", layer): Units(keys, values, gate=gate)}))
    identity = base_identity(Checkpoint.open(base), "tiny")
    units = [seal({}, identity, {}, kind="modules", payload=payload) for payload in payloads]
    below, weights = make_patch(base, key, seed=1), make_patch(base, key, seed=2)
    apply_on_disk(base, [below])
    folded = fold_to_copy(base, tmp_path / "folded", [weights, *units], Registry.of())
    assert folded == {"mlp_width": {"before": 24, "after": 27}}
    written = Checkpoint.open(tmp_path / "folded")
    assert written.patch_ids == ()
    assert not any("editcore" in path.name for path in (tmp_path / "folded").iterdir())
    if sharded:
        index = json.loads((tmp_path / "folded" / "model.safetensors.index.json").read_text())
        size = sum(entry.end - entry.start for entry in written.entries.values())
        assert index["metadata"]["total_size"] == size
    # ... the same in memory: the base's own file, the patches on it, and the units beside
    shutil.copytree(base, tmp_path / "patched")
    apply_on_disk(tmp_path / "patched", [weights])
    alone = AutoModelForCausalLM.from_pretrained(tmp_path / "patched", dtype=torch.float32)
    anatomy = Anatomy.of(alone)
    plain = logits(alone)
    for patch in units:
        for block, some_units in units_of(patch.core, patch.tensors).items():
            widen(anatomy, block, some_units)
    again = AutoModelForCausalLM.from_pretrained(tmp_path / "folded", dtype=torch.float32)
    torch.testing.assert_close(logits(again), logits(alone), rtol=1e-5, atol=1e-5)
    assert not torch.allclose(logits(again), plain)


def widen(anatomy: Anatomy, block: Site, units: Units) -> None:
    """The plain way: larger matrices in memory, in the numbers that bfloat16 holds."""
    mlp = anatomy.module(block).mlp
    k, v, g = (part.bfloat16().float() for part in (units.keys, units.values, units.gate))
    for linear, rows in ((mlp.up_proj, k), (mlp.gate_proj, g)):
        linear.weight = torch.nn.Parameter(torch.cat([linear.weight.data, rows]), requires_grad=False)
    mlp.down_proj.weight = torch.nn.Parameter(torch.cat([mlp.down_proj.weight.data, v.T], 1), requires_grad=False)


def test_a_folder_refuses_units_and_names_the_command_that_folds(root: Callable[[str], Path], tmp_path: Path) -> None:
    folder = Path(shutil.copytree(root("gpt2"), tmp_path / "model"))
    with pytest.raises(ConflictError, match="--to merged") as caught:
        apply_on_disk(folder, [units_patch(folder, "gpt2", some("gpt2"))])
    assert "editcore export" in str(caught.value.hint)
    assert not (folder / ".editcore").exists()
    assert verify_folder(folder).problems == ()


def test_units_of_another_base_or_another_mlp_are_refused(root: Callable[[str], Path], tmp_path: Path) -> None:
    foreign = tiny_model("gpt2", tmp_path / "other", seed=1)
    patch = units_patch(foreign, "gpt2", some("gpt2"))
    session = opened(root("gpt2"))
    with pytest.raises(WrongBaseError), session.patched(patch):
        pass
    with pytest.raises(WrongBaseError):
        fold_to_copy(root("gpt2"), tmp_path / "folded", [patch], Registry.of())
    gated = units_patch(root("gpt2"), "llama", some("llama"))
    with pytest.raises(EditcoreError, match="a gated MLP, but the model has a plain one there"), session.patched(gated):
        pass
    deep = units_patch(root("gpt2"), "gpt2", {Site("block", 9): 1})
    with pytest.raises(WrongBaseError, match="layer 9"), session.patched(deep):
        pass
    assert session.live.ids == ()
    assert not session.live.branches._hooks


def test_a_bias_that_has_no_place_and_numbers_too_large_are_not_folded(
    root: Callable[[str], Path], folder: Callable[..., Path], tmp_path: Path
) -> None:
    patch = units_patch(root("llama"), "llama", some("llama"), biased=True)
    with pytest.raises(UsageError, match="has no bias, but the units have"):
        fold_to_copy(root("llama"), tmp_path / "folded", [patch], Registry.of())
    half = folder("gpt2", torch.float16)
    large = units_payload({Site("block", 0): Units(torch.full((1, 16), 1e5), torch.ones(1, 16))})
    patch = seal({}, base_identity(Checkpoint.open(half)), {}, kind="modules", payload=large)
    with pytest.raises(RefusedFileError, match="overflow"):
        fold_to_copy(half, tmp_path / "folded", [patch], Registry.of())
    assert list(tmp_path.glob(".folded*")) == []
    assert not (tmp_path / "folded").exists()


def test_units_are_sealed_saved_and_verified(root: Callable[[str], Path], tmp_path: Path) -> None:
    patch = units_patch(root("gpt2"), "gpt2", some("gpt2"))
    path = tmp_path / "units.safetensors"
    patch.save(path)
    assert Patch.load(path).patch_id == patch.patch_id
    assert verify_patch(path).problems == ()
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)
    (problem,) = verify_patch(path).problems
    assert "payload/decoder" in problem.message


BAD: list[tuple[dict[str, torch.Tensor], str]] = [
    ({"decoder.1.keys": torch.ones(2, 3)}, "values"),
    ({"decoder.1.keys": torch.ones(2, 3), "decoder.1.values": torch.ones(2, 4)}, "do not fit"),
    ({"decoder.1.keys": torch.ones(0, 3), "decoder.1.values": torch.ones(0, 3)}, "no keys"),
    ({"decoder.01.keys": torch.ones(2, 3)}, "does not match STACK"),
    ({"middle.1.keys": torch.ones(2, 3)}, "does not match STACK"),
    ({"decoder.1.keys": torch.ones(2, 3).half(), "decoder.1.values": torch.ones(2, 3)}, "F32"),
    ({"decoder.1.keys": torch.ones(2, 3), "decoder.1.values": torch.full((2, 3), torch.inf)}, "not finite"),
    ({}, "no units"),
]


@pytest.mark.parametrize(("tensors", "message"), BAD)
def test_units_that_make_no_sense_are_not_sealed(tensors: dict[str, torch.Tensor], message: str) -> None:
    with pytest.raises(EditcoreError, match=message):
        seal({}, {}, {}, kind="modules", payload=Payload("ffn_units", {}, tensors))


def test_a_golden_file_of_units_keeps_its_id_and_its_bytes(tmp_path: Path) -> None:
    path = Path(__file__).parent / "golden" / "units" / "ffn_units.safetensors"
    patch = Patch.load(path)
    assert patch.patch_id == "f430beaf147a5b7001282df1c79a1e427f5bc10e49aaedd9c21d9f38c4ab5cca"
    patch.save(tmp_path / path.name)
    assert (tmp_path / path.name).read_bytes() == path.read_bytes()
    assert {str(site): units.count for site, units in units_of(patch.core, patch.tensors).items()} == {
        "decoder.2.block": 1,
        "encoder.0.block": 2,
    }


def test_units_are_compared_by_what_they_say_and_refused_where_weights_are_asked_for(
    root: Callable[[str], Path], tmp_path: Path
) -> None:
    one, two = (units_patch(root("gpt2"), "gpt2", some("gpt2"), seed) for seed in (0, 1))
    one.save(tmp_path / "1.safetensors")
    two.save(tmp_path / "2.safetensors")
    assert not diff(tmp_path / "1.safetensors", tmp_path / "1.safetensors")
    found = diff(tmp_path / "1.safetensors", tmp_path / "2.safetensors")
    assert "core.payload.parts.decoder.1.keys.sha256" in {row.field for row in found.manifest}
    assert found.tensors == ()
    with pytest.raises(ConflictError, match="of kind modules"):
        squash([one, two])
    with pytest.raises(UsageError, match="not a LoRA adapter") as caught:
        write_adapter(one, Checkpoint.open(root("gpt2")), tmp_path / "adapter")
    assert "--to merged" in str(caught.value.hint)


def test_units_that_are_no_modules_are_refused() -> None:
    payload = units_payload({Site("block", 0): drawn(1, 0, gated=False, biased=False)})
    with pytest.raises(EditcoreError, match="of kind modules with scale 1"):
        seal({}, {}, {}, kind="memory", payload=payload)
