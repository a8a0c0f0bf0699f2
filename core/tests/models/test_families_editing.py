"""An edit of every family: on disk and in memory it is one edit, and its way back leads to the same bytes."""

import hashlib

import pytest
import torch
from safetensors.torch import load_file, save_file

import editcore
from editcore import EditOptions, EditRequest
from editcore.models.running.batch import forward, forward_pair, pad
from editcore.patches.change.ondisk import apply_on_disk, revert_on_disk
from editcore.plugins.registry import Registry
from editcore.testing.tiny import FAMILIES, tiny_model
from editcore_hooks import ConflictError, Site

REQUEST = EditRequest("{} works as a", "Ada Marlow", "pilot", id="1")
SITES = [(family, "decoder") for family in FAMILIES]
SITES += [(family, "encoder") for family in FAMILIES if family.startswith("t5")]


def digests(folder):
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != ".lock")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def logits(session):
    source, target = pad([[5, 6, 7, 8], [9, 10]]), pad([[0, 11, 12], [0, 13]])
    with torch.no_grad():
        if session.model.config.is_encoder_decoder:
            return forward_pair(session.model, source, target)
        return forward(session.model, source)


@pytest.mark.parametrize(("family", "stack"), SITES)
def test_an_edit_on_disk_is_the_edit_in_memory_and_leaves_no_trace(family, stack, tmp_path, pushing):
    folder = tiny_model(family, tmp_path / "model")
    session = editcore.open(folder, registry_=Registry.of(pushing(Site("mlp_out", 1, stack))))
    patch = session.edit_all([REQUEST], EditOptions("pushing"))
    plain, before = logits(session), digests(folder)
    with session.patched(patch):
        live = logits(session)
    assert torch.equal(logits(session), plain)
    assert (live - plain).abs().max() > 1e-3

    apply_on_disk(folder, [patch])
    assert torch.equal(logits(editcore.open(folder)), live)
    assert digests(folder)["model.safetensors"] != before["model.safetensors"]
    revert_on_disk(folder, [patch.patch_id])
    after = digests(folder)
    assert {name: after.get(name) for name in before} == before
    assert torch.equal(logits(editcore.open(folder)), plain)


@pytest.mark.parametrize("family", ["gpt_neox", "gemma3", "falcon", "t5", "t5_gated"])
def test_embedding_and_head_are_edited_under_their_names_in_the_files(family, tmp_path, pushing):
    folder = tiny_model(family, tmp_path / "model")
    tied = family not in ("gpt_neox", "t5_gated")
    sites = (Site("embed"),) if tied else (Site("embed"), Site("head"))
    session = editcore.open(folder, registry_=Registry.of(pushing(*sites)))
    patch = session.edit_all([REQUEST], EditOptions("pushing"))
    assert set(patch.targets) <= set(session.checkpoint.entries)
    with session.patched(patch):
        live = logits(session)
    apply_on_disk(folder, [patch])
    assert torch.equal(logits(editcore.open(folder)), live)


def test_an_embedding_that_t5_s_files_hold_thrice_is_not_edited_once(tmp_path, pushing):
    folder = tiny_model("t5_gated", tmp_path / "model")
    session = editcore.open(folder, registry_=Registry.of(pushing(Site("embed"))))
    patch = session.edit_all([REQUEST], EditOptions("pushing"))
    assert list(patch.targets) == ["shared.weight"]
    tensors = load_file(folder / "model.safetensors")
    tensors |= {f"{stack}.embed_tokens.weight": tensors["shared.weight"].clone() for stack in ("encoder", "decoder")}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConflictError, match=r"stored copy of shared.weight") as caught:
        apply_on_disk(folder, [patch])
    assert "save_pretrained" in caught.value.hint
