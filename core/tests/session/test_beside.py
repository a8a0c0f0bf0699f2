"""Patches beside weights that cannot be written. The quantised models here are of a small int8 quantiser, made in this
file and entered by the door that transformers has for others: real loading, real configuration, no accelerator needed.
"""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM
from transformers.pytorch_utils import Conv1D
from transformers.quantizers import auto
from transformers.quantizers.base import HfQuantizer
from transformers.utils.quantization_config import QuantizationConfigMixin

import editcore
from editcore.assets.store import AssetStore
from editcore.evaluation.engine.questions import Score
from editcore.models.running.batch import forward, pad
from editcore.patches.change.copying import apply_to_copy
from editcore.patches.checkpoint.folder import Checkpoint
from editcore.patches.checkpoint.identity import base_identity
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.file.units import Units, units_payload
from editcore.patches.forms.deltas import StoredUpdate
from editcore.plugins.registry import Registry
from editcore.testing.snapshot import Snapshot
from editcore.testing.tiny import tiny_model
from editcore_hooks import ConflictError, EditRequest, RefusedFileError, Site, UsageError, WrongBaseError

NAME = "int8_rows"
KEYS = {"llama": "model.layers.1.mlp.down_proj.weight", "gpt2": "transformer.h.1.mlp.c_proj.weight"}
HEAD = "lm_head.weight"


class Int8Linear(nn.Module):
    """A linear map whose rows are int8 with one scale each, [out, in] whatever it was made from."""

    def __init__(self, n_in: int, n_out: int, bias: bool) -> None:
        super().__init__()
        self.in_features, self.out_features = n_in, n_out
        self.register_buffer("weight", torch.zeros(n_out, n_in, dtype=torch.int8))
        self.register_buffer("scale", torch.zeros(n_out, 1))
        self.bias = nn.Parameter(torch.zeros(n_out), requires_grad=False) if bias else None

    def fill(self, weight: Tensor, bias: Tensor | None) -> "Int8Linear":
        self.scale = weight.abs().amax(1, keepdim=True).clamp(min=1e-8) / 127  # (out, 1)
        self.weight = (weight / self.scale).round().to(torch.int8)  # (out, in)
        if bias is not None and self.bias is not None:
            self.bias.data = bias.clone()
        return self

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, self.weight.to(x.dtype) * self.scale.to(x.dtype), self.bias)


def quantise(model: nn.Module, *, empty: bool) -> None:
    for path, module in list(model.named_modules()):
        if path == "lm_head" or not isinstance(module, nn.Linear | Conv1D):
            continue
        weight = module.weight.T if isinstance(module, Conv1D) else module.weight  # (out, in)
        made = Int8Linear(weight.shape[1], weight.shape[0], module.bias is not None)
        holder, _, name = path.rpartition(".")
        setattr(model.get_submodule(holder), name, made if empty else made.fill(weight.detach(), module.bias))


class Int8Config(QuantizationConfigMixin):
    def __init__(self, **_: Any) -> None:
        self.quant_method = NAME


class Int8Quantizer(HfQuantizer):
    requires_calibration = False

    def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
        if self.pre_quantized:
            quantise(model, empty=True)

    def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
        if not self.pre_quantized:
            quantise(model, empty=False)
        return model

    def is_serializable(self, **_: Any) -> bool:
        return True

    @property
    def is_trainable(self) -> bool:
        return False


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    auto.register_quantization_config(NAME)(Int8Config)
    auto.register_quantizer(NAME)(Int8Quantizer)
    yield
    del auto.AUTO_QUANTIZATION_CONFIG_MAPPING[NAME], auto.AUTO_QUANTIZER_MAPPING[NAME]


@pytest.fixture(scope="module", params=KEYS)
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def base(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(family, tmp_path_factory.mktemp(family) / "base")


@pytest.fixture(scope="module")
def quantised(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that is stored quantised."""
    folder = tmp_path_factory.mktemp("quantised") / "model"
    shutil.copytree(base, folder)
    AutoModelForCausalLM.from_pretrained(base, quantization_config=Int8Config()).save_pretrained(folder)
    assert "quantization_config" in json.loads((folder / "config.json").read_text())
    return folder


def patch_of(root: Path, key: str, seed: int = 0, form: str = "low_rank") -> Patch:
    checkpoint = Checkpoint.open(root)
    entry = checkpoint.entries[key]
    generator = torch.Generator().manual_seed(seed)
    parts = {
        "left": torch.randn(entry.shape[0], 2, generator=generator) * 0.3,
        "right": torch.randn(2, entry.shape[1], generator=generator) * 0.3,
    }
    if form == "dense":
        parts = {"delta": parts["left"] @ parts["right"]}
    target = Target(StoredUpdate(form, parts), entry.dtype, entry.shape, checkpoint.sha256(key))
    return seal({key: target}, base_identity(checkpoint, "tiny"), {})


def opened(folder: Path, **options: Any) -> editcore.Session:
    return editcore.open(folder, registry_=Registry.of(), **options)


def agree(one: Tensor, other: Tensor) -> None:
    """Of two models: their weights lie elsewhere in memory, and the last bits of some kernels follow the alignment."""
    torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


@torch.no_grad()
def logits(session: editcore.Session) -> Tensor:
    return forward(session.model, pad([[5, 6, 7], [8, 9]]))


def test_a_patch_beside_int8_weights_does_what_it_does_to_the_weights_that_they_stand_for(
    base: Path, quantised: Path, family: str
) -> None:
    key = KEYS[family]
    patch = patch_of(base, key)
    loading, stored = opened(base, quantization=Int8Config()), opened(quantised, base=base)
    agree(logits(loading), logits(stored))
    before, plain = Snapshot.of(stored.model), logits(stored)
    path = key.removesuffix(".weight")
    with stored.patched(patch):
        patched = logits(stored)
        with stored.at_base():
            assert torch.equal(logits(stored), plain)
        assert torch.equal(logits(stored), patched)
    assert before.changes(Snapshot.of(stored.model)) == []
    assert torch.equal(logits(stored), plain)
    with loading.patched(patch):
        agree(logits(loading), patched)
    # the plain way: the int8 weights as numbers, and the delta added to them
    module = stored.model.get_submodule(path)
    delta = patch.tensors[f"{key}/left"] @ patch.tensors[f"{key}/right"]
    weight = module.weight.float() * module.scale + (delta.T if family == "gpt2" else delta)
    dense = nn.Linear(module.in_features, module.out_features)
    dense.weight.data, dense.bias = weight, module.bias
    holder, _, name = path.rpartition(".")
    setattr(stored.model.get_submodule(holder), name, dense)
    torch.testing.assert_close(logits(stored), patched, rtol=1e-4, atol=1e-4)
    assert (patched - plain).abs().max() > 0.05


def test_patches_beside_come_off_in_any_order(base: Path, quantised: Path, family: str) -> None:
    session = opened(quantised, base=base)
    plain = logits(session)
    one, two = (patch_of(base, KEYS[family], seed) for seed in (1, 2))
    with session.patched(two):
        alone = logits(session)
    for order in ((one, two), (two, one)):
        for patch in order:
            session.apply(patch)
        session.live.remove(one.patch_id)
        assert torch.equal(logits(session), alone)
        session.live.remove(two.patch_id)
        assert torch.equal(logits(session), plain)


def test_a_weight_that_was_left_as_it_was_is_still_written(base: Path, quantised: Path, family: str) -> None:
    if family == "gpt2":
        pytest.skip("its head is its embedding")
    session, whole = opened(quantised, base=base), opened(base)
    patch = patch_of(base, HEAD)
    with session.patched(patch), whole.patched(patch):
        assert torch.equal(session.model.get_parameter(HEAD), whole.model.get_parameter(HEAD))
        assert session.live.beside == ()
    assert torch.equal(session.model.get_parameter(HEAD), whole.model.get_parameter(HEAD))


def test_what_cannot_run_beside_is_refused_and_changes_nothing(
    base: Path, quantised: Path, family: str, tmp_path: Path
) -> None:
    session = opened(quantised, base=base)
    before = Snapshot.of(session.model)
    with pytest.raises(UsageError, match="is dense there: only low_rank"):
        session.apply(patch_of(base, KEYS[family], form="dense"))
    foreign = patch_of(tiny_model(family, tmp_path / "other", seed=1), KEYS[family])
    with pytest.raises(WrongBaseError, match="expected sha256"):
        session.apply(foreign)
    with pytest.raises(UsageError, match="is quantised, and an edit"):
        session.edit_all([EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")])
    assert session.live.ids == ()
    assert before.changes(Snapshot.of(session.model)) == []
    with pytest.raises(RefusedFileError, match="is quantised") as caught:
        opened(quantised)
    assert "base" in str(caught.value.hint)
    other = tiny_model("gpt2" if family == "llama" else "llama", tmp_path / "family")
    with pytest.raises(WrongBaseError, match="another structure"):
        opened(quantised, base=other)
    with pytest.raises(UsageError, match="its own base"):
        opened(base, base=base)
    apply_to_copy(base, tmp_path / "patched", [patch_of(base, KEYS[family])])
    with pytest.raises(UsageError, match="carries patches"):
        opened(tmp_path / "patched", quantization=Int8Config())


def test_what_a_quantised_model_answers_is_kept_apart(base: Path, quantised: Path, family: str, tmp_path: Path) -> None:
    store = AssetStore(tmp_path / "assets")
    plain = opened(base, assets=store)
    others = [opened(quantised, base=base, assets=store), opened(base, quantization=Int8Config(), assets=store)]
    asked = [Score("Zoë lives in", "Paris", unedited=True)]
    (first,) = plain.unedited.read(asked, True)
    assert opened(base, assets=store).unedited.read(asked, True)[0].logprobs == first.logprobs
    for other in others:
        (own,) = other.unedited.read(asked, True)
        assert own.logprobs != first.logprobs
        assert other.weights_root == plain.weights_root


def test_units_run_beside_a_quantised_mlp(base: Path, quantised: Path, family: str) -> None:
    session = opened(quantised, base=base)
    plain = logits(session)
    generator = torch.Generator().manual_seed(0)
    keys, values, gate = (torch.randn(3, 32, generator=generator) for _ in range(3))
    units = Units(keys, values, gate=gate if family == "llama" else None)
    payload = units_payload({Site("block", 0): units})
    patch = seal({}, base_identity(Checkpoint.open(base)), {}, kind="modules", payload=payload)
    with session.patched(patch):
        assert not torch.allclose(logits(session), plain, atol=1e-3)
    assert torch.equal(logits(session), plain)


def test_asked_for_they_run_beside_weights_that_could_be_written(base: Path, family: str) -> None:
    written, session = opened(base), opened(base, beside=True)
    patch, dense = patch_of(base, KEYS[family]), patch_of(base, KEYS[family], 3, form="dense")
    before = Snapshot.of(session.model)
    with written.patched(patch, dense), session.patched(patch, dense):
        torch.testing.assert_close(logits(session), logits(written), rtol=1e-4, atol=1e-4)
        assert session.live.beside == (patch.patch_id,)
        with session.at_base():
            assert torch.equal(logits(session), logits(opened(base)))
        with pytest.raises(UsageError, match="runs beside the weights"):
            session.edit_all([EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")])
    assert before.changes(Snapshot.of(session.model)) == []
    checkpoint, entry = Checkpoint.open(base), Checkpoint.open(base).entries[KEYS[family]]
    stored = StoredUpdate("replace", {"stored": torch.ones(entry.shape)})
    target = Target(stored, entry.dtype, entry.shape, checkpoint.sha256(KEYS[family]))
    bits = seal({KEYS[family]: target}, base_identity(checkpoint), {})
    with session.patched(patch), pytest.raises(ConflictError, match="replaces the bits"):
        session.apply(bits)


def test_beside_weights_on_disk_nothing_is_laid_over_them(base: Path, family: str, tmp_path: Path) -> None:
    pytest.importorskip("accelerate")
    block = KEYS[family].partition(".mlp")[0]
    whole = opened(base)
    paths = {name.rpartition(".")[0] for name, _ in whole.model.named_parameters(remove_duplicate=False)}
    device_map = {path: "disk" if path.startswith(block) else "cpu" for path in paths}
    session = opened(base, device_map=device_map, offload_folder=tmp_path / "away", beside=True)
    values = session.anatomy.values(session.anatomy.parameter_of(KEYS[family]))
    patch = patch_of(base, KEYS[family])
    plain = logits(session)
    with session.patched(patch), whole.patched(patch):
        torch.testing.assert_close(logits(session), logits(whole), rtol=1e-4, atol=1e-4)
        assert not torch.allclose(logits(session), plain, atol=1e-2)
        assert not values.store.state_dict.keys() & set(values.keys)
    assert torch.equal(logits(session), plain)
