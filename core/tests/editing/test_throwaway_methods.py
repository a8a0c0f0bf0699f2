"""Two throwaway methods prove the contract: one sequential with state, one that stores a memory patch."""

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from attrs import frozen

import editcore
from editcore import EditOptions, EditRequest
from editcore.assets.store import AssetStore
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import Target, seal
from editcore.patches.forms.deltas import StoredUpdate
from editcore.plugins.registry import Registry
from editcore_hooks import (
    ConflictError,
    Dense,
    EditMethod,
    Location,
    LowRank,
    PatchKind,
    Payload,
    PluginError,
    Site,
    State,
    Transform,
    Update,
    WrongBaseError,
    hookimpl,
    hparam,
)

SITE = Site("mlp_out", 1)


class Counting(EditMethod):
    """Writes the number of earlier edits of its own; its state is their vectors, in order."""

    name = "counting"
    capabilities = frozenset({"sequential", "batch"})

    def fold(self, increments: Sequence[Mapping[str, Any]]) -> Any:
        return [increment["history"] for increment in increments]

    @hookimpl
    def editcore_locate(self, session: Any, requests: Any, state: State) -> Location:
        return Location((SITE,))

    @hookimpl
    def editcore_compute_update(self, session: Any, requests: Any, location: Location, state: State) -> Update:
        (site,) = location.sites
        d, f = session.anatomy.weight(site).shape
        seen = len(state.value)
        torch.rand(3)  # a method may draw: the host restores the generators
        mark = torch.full((1, 1), float(len(requests[0].target_new)))
        return Update(
            {site: LowRank(torch.full((d, 1), 0.01), torch.full((1, f), 0.01 * (seen + 1)))},
            state_increment={"history": mark},
            notes={"seen": seen, "history": [float(part) for part in state.value]},
        )


class Careless(EditMethod):
    """Breaks the contract in the way its hyper-parameter names."""

    name = "careless"

    @frozen
    class Hparams:
        fault: str = hparam("weight", help="what to break")

    @hookimpl
    def editcore_locate(self, session: Any, requests: Any, state: State) -> Location:
        return Location((SITE,))

    @hookimpl
    def editcore_compute_update(self, session: Any, requests: Any, location: Location, state: State) -> Update:
        weight = session.anatomy.weight(SITE)
        if self.hparams.fault == "weight":
            weight[0, 0] += 1
        if self.hparams.fault == "hook":
            session.anatomy.module(SITE).register_forward_hook(lambda *_: None)
        session.model.train()
        session.model.requires_grad_(True)
        torch.manual_seed(99)
        return Update({SITE: Dense(torch.zeros_like(weight))})


class Remembering(EditMethod):
    """Stores no weights: a bias on one token, attached to the head."""

    name = "remembering"

    @hookimpl
    def editcore_locate(self, session: Any, requests: Any, state: State) -> Location:
        return Location((Site("head"),))

    @hookimpl
    def editcore_compute_update(self, session: Any, requests: Any, location: Location, state: State) -> Update:
        token = session.tokenizer(" " + requests[0].target_new, add_special_tokens=False)["input_ids"][0]
        return Update(payload=Payload("toy.bias", {"token": int(token)}, {"bias": torch.tensor([50.0])}))


class Bias(PatchKind):
    name = "toy.bias"

    def attach(self, session: Any, patch: Any) -> Any:
        token, bias = patch.core["payload"]["data"]["token"], patch.tensors["payload/bias"]

        def add(module: Any, args: Any, output: Any) -> Any:
            output = output.clone()
            output[..., token] += bias[0]
            return output

        return session.anatomy.module(Site("head")).register_forward_hook(add)

    def detach(self, session: Any, handle: Any) -> None:
        handle.remove()


class Halve(Transform):
    name = "halve"

    def transform(self, session: Any, update: Update) -> Update:
        return Update({site: LowRank(u.out / 2, u.in_) for site, u in update.tensors.items()}, notes=update.notes)


def toy_plugin(**more: Any) -> ModuleType:
    module = ModuleType("toy")

    @hookimpl
    def editcore_register_methods() -> list[type[EditMethod]]:
        return [Counting, Remembering, Careless]

    @hookimpl
    def editcore_register_patch_kinds() -> list[type[PatchKind]]:
        return [Bias]

    @hookimpl
    def editcore_register_transforms() -> list[type[Transform]]:
        return [Halve]

    for function in (editcore_register_methods, editcore_register_patch_kinds, editcore_register_transforms):
        setattr(module, function.__name__, function)
    for name, value in more.items():
        setattr(module, name, value)
    return module


def request(target: str = "pilot") -> EditRequest:
    return EditRequest(prompt="{} works as a", subject="Ada Marlow", target_new=target, id=target)


@pytest.fixture
def session(llama_folder: Path, tmp_path: Path) -> editcore.Session:
    return editcore.open(llama_folder, registry_=Registry.of(toy_plugin()), assets=AssetStore(tmp_path / "assets"))


def bits(session: editcore.Session) -> dict[str, torch.Tensor]:
    return {name: parameter.detach().clone() for name, parameter in session.model.named_parameters()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def three_in_sequence(session: editcore.Session) -> list[Patch]:
    patches: list[Patch] = []
    for target in ("a", "bb", "ccc"):
        with session.patched(*patches):
            patches.append(session.edit_all([request(target)], EditOptions("counting")))
    return patches


def test_a_sequential_edit_sees_the_edits_before_it(session: editcore.Session) -> None:
    patches = three_in_sequence(session)
    assert [patch.about["notes"][0]["seen"] for patch in patches] == [0, 1, 2]
    assert patches[2].about["notes"][0]["history"] == [1.0, 2.0]


def test_a_patch_taken_out_of_the_middle_takes_its_increment_along(session: editcore.Session) -> None:
    first, _, third = three_in_sequence(session)
    with session.patched(first, third):
        patch = session.edit_all([request("dddd")], EditOptions("counting"))
    assert patch.about["notes"][0]["history"] == [1.0, 3.0]


def test_state_survives_the_file_and_another_session(
    session: editcore.Session, llama_folder: Path, tmp_path: Path
) -> None:
    for patch in three_in_sequence(session):
        patch.save(tmp_path / f"{patch.patch_id}.safetensors")
    loaded = [Patch.load(path) for path in sorted(tmp_path.glob("*.safetensors"))]
    other = editcore.open(llama_folder, registry_=Registry.of(toy_plugin()))
    with other.patched(*loaded):
        patch = other.edit_all([request("dddd")], EditOptions("counting"))
    assert sorted(patch.about["notes"][0]["history"]) == [1.0, 2.0, 3.0]


def test_the_increment_is_annotation_and_leaves_the_id_alone(session: editcore.Session) -> None:
    a, b = (session.edit_all([request(target)], EditOptions("counting")) for target in ("a", "bb"))
    assert a.patch_id == b.patch_id
    assert not torch.equal(a.tensors["state/history"], b.tensors["state/history"])


def test_patched_restores_every_bit_after_an_exception_and_under_nesting(session: editcore.Session) -> None:
    before = bits(session)
    first, second, _ = three_in_sequence(session)
    with session.patched(first):
        once = bits(session)
        with contextlib.suppress(ZeroDivisionError), session.patched(second):
            twice = bits(session)
            raise ZeroDivisionError
        assert same(bits(session), once)
    assert same(bits(session), before)
    assert not same(once, before)
    assert not same(twice, once)


def test_the_order_of_patches_does_not_change_the_bits(session: editcore.Session) -> None:
    patches = three_in_sequence(session)
    with session.patched(*patches):
        forwards = bits(session)
    with session.patched(*reversed(patches)):
        assert same(bits(session), forwards)


def test_taking_one_off_in_the_middle_equals_never_having_put_it_on(session: editcore.Session) -> None:
    first, second, third = three_in_sequence(session)
    with session.patched(first, third):
        without = bits(session)
    for patch in (first, second, third):
        session.apply(patch)
    session.live.remove(second.patch_id)
    assert same(bits(session), without)


def test_a_memory_patch_is_attached_and_detached(session: editcore.Session, tmp_path: Path) -> None:
    prompt = "Ada Marlow works as a"
    before = session.generate(prompt, 1)
    patch = session.edit_all([request("miner")], EditOptions("remembering"))
    assert patch.kind == "memory"
    patch.save(tmp_path / "m.safetensors")
    with session.patched(Patch.load(tmp_path / "m.safetensors")):
        assert session.generate(prompt, 1) == " miner"
        with session.at_base():
            assert session.generate(prompt, 1) == before
        assert session.generate(prompt, 1) == " miner"
    assert session.generate(prompt, 1) == before
    assert not session.anatomy.module(Site("head"))._forward_hooks


def test_a_memory_patch_without_its_plugin_says_what_to_install(session: editcore.Session, llama_folder: Path) -> None:
    patch = session.edit_all([request("miner")], EditOptions("remembering"))
    bare = editcore.open(llama_folder, registry_=Registry.of())
    with pytest.raises(PluginError, match="pip install toy"), bare.patched(patch):
        pass


@pytest.mark.parametrize(("fault", "message"), [("weight", "changed .*down_proj"), ("hook", "left a hook")])
def test_a_method_that_touches_the_model_is_found_out(session: editcore.Session, fault: str, message: str) -> None:
    options = EditOptions("careless", hparams=(("test", {"fault": fault}),))
    with pytest.raises(PluginError, match=message):
        session.edit_all([request()], options)


def test_modes_gradients_and_generators_are_put_back(session: editcore.Session) -> None:
    torch.manual_seed(5)
    state = torch.get_rng_state()
    session.edit_all([request()], EditOptions("careless", hparams=(("test", {"fault": "none"}),)))
    assert torch.equal(torch.get_rng_state(), state)
    assert not session.model.training
    assert not any(parameter.requires_grad for parameter in session.model.parameters())


def test_a_transform_is_applied_and_recorded(session: editcore.Session) -> None:
    plain = session.edit_all([request()], EditOptions("counting"))
    halved = session.edit_all([request()], EditOptions("counting", transforms=("halve",)))
    ((key, norm),) = plain.delta_norms().items()
    assert halved.delta_norms()[key] == pytest.approx(norm / 2)
    assert [record["name"] for record in halved.about["transforms"]] == ["halve"]


def test_an_observer_sees_every_stage_and_can_stop_a_patch(llama_folder: Path) -> None:
    seen: list[str] = []

    @hookimpl(wrapper=True)
    def editcore_compute_update(requests: Any) -> Any:
        seen.append("compute")
        return (yield)

    @hookimpl(wrapper=True)
    def editcore_apply_patch(patch: Any) -> Any:
        seen.append("apply")
        if patch.about["requests"][0]["target_new"] == "judge":
            raise RuntimeError("not judges")
        return (yield)

    plugin = toy_plugin(editcore_compute_update=editcore_compute_update, editcore_apply_patch=editcore_apply_patch)
    session = editcore.open(llama_folder, registry_=Registry.of(plugin))
    before = bits(session)
    patch = session.edit_all([request("judge")], EditOptions("counting"))
    with pytest.raises(RuntimeError, match="not judges"), session.patched(patch):
        pass
    assert seen == ["compute", "apply"]
    assert same(bits(session), before)


def test_an_observer_that_changes_an_update_is_refused(llama_folder: Path) -> None:
    @hookimpl(wrapper=True)
    def editcore_compute_update() -> Any:
        update = yield
        for part in update.tensors.values():
            part.out.mul_(2)
        return update

    session = editcore.open(
        llama_folder, registry_=Registry.of(toy_plugin(editcore_compute_update=editcore_compute_update))
    )
    with pytest.raises(PluginError, match="observer"):
        session.edit_all([request()], EditOptions("counting"))


def test_a_patch_of_another_model_is_refused(session: editcore.Session, gpt2_folder: Path) -> None:
    patch = session.edit_all([request()], EditOptions("counting"))
    other = editcore.open(gpt2_folder, registry_=Registry.of(toy_plugin()))
    before = bits(other)
    with pytest.raises(WrongBaseError), other.patched(patch):
        pass
    assert same(bits(other), before)


def test_what_is_kept_for_a_stack_goes_with_it_and_what_is_the_bases_stays(session: editcore.Session) -> None:
    made: list[str] = []

    def note(name: str) -> str:
        made.append(name)
        return name

    patch = three_in_sequence(session)[0]
    for _ in range(2):
        assert session.cached("k", lambda: note("base"), base=True) == "base"
        assert session.cached("k", lambda: note("bare")) == "bare"
        with session.patched(patch):
            assert session.cached("k", lambda: note("patched")) == "patched"
            assert session.cached("k", lambda: note("base"), base=True) == "base"
    assert made == ["base", "bare", "patched", "bare", "patched"]


def test_what_another_patch_in_memory_requires_stays_until_that_is_off(session: editcore.Session) -> None:
    first = session.edit_all([request()], EditOptions("counting"))
    ((key, target),) = first.targets.items()
    update = StoredUpdate("dense", {"delta": torch.full(target.shape, 0.5)})
    entry = Target(update, target.base_dtype, target.shape, target.base_sha256)
    needing = seal({key: entry}, first.about["base"], {}, requires=[first.patch_id])
    before = bits(session)
    session.apply(first)
    session.apply(needing)
    with pytest.raises(ConflictError, match=f"{needing.patch_id[:12]} requires the patch {first.patch_id[:12]}"):
        session.live.remove(first.patch_id)
    assert session.live.ids == (first.patch_id, needing.patch_id)
    session.live.remove(needing.patch_id)
    session.live.remove(first.patch_id)
    assert same(bits(session), before)
    with pytest.raises(ConflictError, match="not applied"):
        session.live.remove(first.patch_id)
