"""A model that is partly on disk runs, is read and is patched as one in memory, and its files stay as they are."""

import hashlib

import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest
from editcore import facade as sessions
from editcore.models.anatomy.stacks import AT_ROOT
from editcore.models.loading import loader
from editcore.models.loading.loader import load
from editcore.models.loading.offload import Offloaded, Resident, device_of
from editcore.models.running.batch import align, forward, forward_pair, pad
from editcore.models.running.resume import resume
from editcore.models.running.tracing import Tap, Trace
from editcore.patches.change.ondisk import apply_on_disk
from editcore.plugins.registry import Registry
from editcore.testing.tiny import tiny_model
from editcore.testing.versions import require
from editcore_hooks import Site, UsageError

accelerate = pytest.importorskip("accelerate")
MAPS = {  # the middle block on disk; and everything that is tied
    "gpt2": ["transformer.h.1", "transformer.wte", "lm_head"],
    "llama": ["model.layers.1", "model.embed_tokens"],
    "gemma3": ["model.language_model.layers.1"],
    "t5": ["decoder.block.1", "encoder.block.1"],
}
REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")


def spread(model, on_disk):
    """Every module that holds weights of its own to the CPU, or to disk where it is under one of `on_disk`."""
    paths = {name.rpartition(".")[0] for name, _ in model.named_parameters(remove_duplicate=False)}
    away = {path for path in paths if any(path == part or path.startswith(f"{part}.") for part in on_disk)}
    assert away
    return {path: "disk" if path in away else "cpu" for path in paths}


def require_tied(family):
    if family == "gpt2":
        require("transformers", "5.13", "it loses a head that is tied to an embedding on disk")


def digest(folder):
    return hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest()


def logits(model):
    with torch.no_grad():
        if model.config.is_encoder_decoder:
            return forward_pair(model, pad([[5, 6, 7], [8, 9]]), pad([[0, 11], [0, 12]]))
        return forward(model, pad([[5, 6, 7], [8, 9]]))


@pytest.fixture(params=MAPS)
def opened(request, tmp_path, pushing):
    """A whole session and one of the same folder that is partly on disk, with a method that edits an offloaded site."""
    family = request.param
    require_tied(family)
    folder = tiny_model(family, tmp_path / "model")
    sites = [Site("mlp_out", 1), Site("mlp_out", 0)]
    sites += [Site("embed")] if family == "gpt2" else []
    sites += [Site("mlp_out", 1, "encoder")] if family == "t5" else []
    plugins = Registry.of(pushing(*sites))
    whole = editcore.open(folder, registry_=plugins)
    device_map = spread(whole.model, MAPS[family])
    partly = editcore.open(folder, device_map=device_map, offload_folder=tmp_path / "away", registry_=plugins)
    assert sum(parameter.is_meta for parameter in partly.model.parameters()) > 2
    return whole, partly


def test_it_runs_generates_and_scores_as_in_memory(opened):
    whole, partly = opened
    assert torch.equal(logits(partly.model), logits(whole.model))
    assert partly.generate("Ada works as a", 4) == whole.generate("Ada works as a", 4)
    question = [("Ada works as a", "pilot", None, "auto")]
    assert partly.score_targets(question) == whole.score_targets(question)


def test_every_site_is_traced_and_every_weight_is_the_real_one(opened):
    whole, partly = opened
    assert partly.anatomy.stacks == whole.anatomy.stacks
    assert {frozenset(group) for group in partly.anatomy.tied} == {frozenset(group) for group in whole.anatomy.tied}
    for stack, found in whole.anatomy.stacks.items():
        places = [Site(role, None if role in AT_ROOT else 1, stack) for role in found.roles]
        for site in places:
            assert torch.equal(partly.anatomy.weight(site), whole.anatomy.weight(site)), site
        kept = []
        for session in (whole, partly):
            with Trace(session.anatomy, dict.fromkeys(places, Tap(input=True, output=True))) as trace:
                logits(session.model)
            kept.append([(trace.input(site), trace.output(site)) for site in places])
        for ours, theirs in zip(*kept, strict=True):
            assert torch.equal(ours[0], theirs[0])
            assert torch.equal(ours[1], theirs[1])


def test_gradients_flow_through_what_is_fetched(opened):
    gradients = []
    for session in opened:
        delta = torch.zeros(session.anatomy.hidden_size, requires_grad=True)
        with Trace(session.anatomy, {Site("mlp_out", 0): Tap(edit=lambda output, delta=delta: output + delta)}):
            row, both = pad([[5, 6, 7]]), session.encoder_decoder
            out = forward_pair(session.model, row, row) if both else forward(session.model, row)
        gradients.append(torch.autograd.grad(out.square().mean(), delta)[0])
    assert gradients[0].abs().max() > 0
    torch.testing.assert_close(*gradients)


def test_a_patch_is_one_edit_wherever_the_weights_are_and_its_way_back_is_exact(opened):
    whole, partly = opened
    folder, before = whole.loaded.folder, digest(whole.loaded.folder)
    patch = whole.edit_all([REQUEST], EditOptions("pushing"))
    assert partly.edit_all([REQUEST], EditOptions("pushing")).patch_id == patch.patch_id
    plain = logits(partly.model)
    with whole.patched(patch):
        edited = logits(whole.model)
    assert not torch.equal(edited, plain)
    for _ in range(2):
        with partly.patched(patch):
            assert torch.equal(logits(partly.model), edited)
            with partly.at_base():
                assert torch.equal(logits(partly.model), plain)
            assert torch.equal(logits(partly.model), edited)
        assert torch.equal(logits(partly.model), plain)
        assert digest(folder) == before
    assert not any(  # nothing stays laid over the files
        values.store.state_dict.keys() & set(values.keys)
        for values in (partly.anatomy.values(name) for name, _ in partly.model.named_parameters())
        if isinstance(values, Offloaded)
    )
    apply_on_disk(folder, [patch])
    assert torch.equal(logits(load(folder).model), edited)


def test_of_two_patches_either_comes_off_first(opened, pushing):
    whole, partly = opened
    narrow = editcore.open(whole.loaded.folder, registry_=Registry.of(pushing(Site("mlp_out", 1))))
    wide_patch, narrow_patch = (session.edit_all([REQUEST], EditOptions("pushing")) for session in (whole, narrow))
    plain = logits(whole.model)
    with whole.patched(narrow_patch):
        alone = logits(whole.model)
    for patch in (wide_patch, narrow_patch):
        partly.apply(patch)
    partly.live.remove(wide_patch.patch_id)
    assert torch.equal(logits(partly.model), alone)
    partly.live.remove(narrow_patch.patch_id)
    assert torch.equal(logits(partly.model), plain)


@pytest.mark.parametrize("family", [family for family in MAPS if family != "t5"])
def test_blocks_that_accelerate_wraps_are_skipped_and_left_wrapped(family, tmp_path):
    """Placed block by block, as `auto` does: then every block's forward is accelerate's, the one on disk fetches."""
    require_tied(family)
    folder = tiny_model(family, tmp_path / "model")
    whole = editcore.open(folder)
    blocks = whole.anatomy.blocks
    outside = spread(whole.model, MAPS[family])
    placed = {path: place for path, place in outside.items() if not path.startswith(f"{blocks}.")}
    placed |= {f"{blocks}.{layer}": "disk" if layer == 1 else "cpu" for layer in range(whole.anatomy.n_layers)}
    partly = editcore.open(folder, device_map=placed, offload_folder=tmp_path / "away")
    modules = [partly.anatomy.module(Site("block", layer)) for layer in range(partly.anatomy.n_layers)]
    wrapped = [vars(block)["forward"] for block in modules]
    batch, start = align([list(range(5, 25)), [12, 13, 14], [15, 16]], [9, 1, 0])
    rows, columns = batch.mask.bool()[:, start:].nonzero(as_tuple=True)
    plain = forward(whole.model, batch)[rows, columns + start]
    for layer in range(len(modules) + 1):
        for column in (0, start):
            resumed = resume(partly.anatomy, batch, layer, column)
            for _ in range(2):
                found = resumed.forward((rows, columns + start - column))
                torch.testing.assert_close(found, plain, rtol=0, atol=2e-5)
    assert [vars(block)["forward"] for block in modules] == wrapped
    assert torch.equal(logits(partly.model), logits(whole.model))


def test_a_parameter_without_values_is_not_handed_out(opened):
    _, partly = opened
    with pytest.raises(UsageError, match="is offloaded"):
        partly.anatomy.parameter(Site("mlp_out", 1))
    assert isinstance(partly.anatomy.values(partly.anatomy.name(Site("mlp_out", 0))), Resident)
    assert device_of(partly.model) == torch.device("cpu")


def test_weights_that_wait_in_memory_are_patched_too(tmp_path, pushing):
    """As on a machine with an accelerator, where modules on `cpu` are fetched from memory."""
    folder = tiny_model("gpt2", tmp_path)
    plugins = Registry.of(pushing(Site("mlp_out", 1), Site("head")))
    whole = editcore.open(folder, registry_=plugins)
    patch = whole.edit_all([REQUEST], EditOptions("pushing"))
    plain = logits(whole.model)
    with whole.patched(patch):
        edited = logits(whole.model)
    loaded = load(folder)
    accelerate.cpu_offload(loaded.model, execution_device=torch.device("cpu"))
    assert all(parameter.is_meta for parameter in loaded.model.parameters())
    anatomy = sessions.Anatomy.of(loaded.model)
    waiting = sessions.Session(loaded, anatomy, whole.checkpoint, plugins, whole.assets, whole.talk)
    assert anatomy.tied == whole.anatomy.tied
    with waiting.patched(patch):
        assert torch.equal(logits(loaded.model), edited)
    assert torch.equal(logits(loaded.model), plain)


def test_auto_spreads_over_what_there_is(tmp_path):
    folder = tiny_model("llama", tmp_path)
    loaded = load(folder, device="auto")
    assert loaded.dtype == ("float32" if not torch.accelerator.is_available() else loaded.stored_dtype)
    torch.testing.assert_close(logits(loaded.model).cpu(), logits(load(folder).model))


def test_without_accelerate_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(loader, "find_spec", lambda name: None)
    for options in ({"device": "auto"}, {"device_map": {"": "disk"}}):
        with pytest.raises(UsageError, match="needs accelerate") as caught:
            load(tmp_path, **options)
        assert "editcore[offload]" in caught.value.hint
