"""MEMOIR as its users meet it: rows, other prompts, edits out of the middle, contradictions, received files."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest, Patch
from editcore.patches.file.sealing import seal
from editcore_hooks import EditcoreError, Payload, RefusedFileError
from editcore_memoir.fingerprints import pack, unpack
from editcore_memoir.kind import ResidualKind

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", "baker", id="1"),
    EditRequest("{} lives in", "Bo Quist", "Cairo", id="2"),
    EditRequest("{} works as a", "Cleo Tolland", "poet", id="3"),
]
OTHER = EditRequest("The job of {} is that of a", "Dan Quist", "miner")


def options(**values: Any) -> EditOptions:
    # far above what other prompts reach: which prompts an edit answers does not hang on rounding
    cheap = {"layer": 2, "context_count": 0, "background": 4, "others": ("Eve Quist",), "threshold": 0.8, "steps": 12}
    return EditOptions("memoir", hparams=(("test", {**cheap, **values}),))


@pytest.fixture(scope="module")
def session(llama_folder: Path) -> editcore.Session:
    return editcore.open(llama_folder)


@pytest.fixture(scope="module")
def patches(session: editcore.Session) -> list[Patch]:
    return session.edit_each(REQUESTS, options(), measured=False)


def logits(session: editcore.Session, request: EditRequest) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = session.model(torch.tensor([session.encode(request).prompt_ids])).logits[0, -1]
    return found


def answers(session: editcore.Session) -> list[str]:
    texts: list[str] = session.generate([request.rendered().text for request in REQUESTS], 1)
    return [text.strip() for text in texts]


def test_edits_answer_alone_together_and_in_one_patch_and_other_prompts_keep_their_bits(session, patches):
    plain = logits(session, OTHER)
    wanted = [request.target_new for request in REQUESTS]
    with session.patched(*patches):
        assert answers(session) == wanted
        assert torch.equal(logits(session, OTHER), plain)
    whole = session.edit_all(REQUESTS, options(), measured=False)
    with session.patched(whole):
        assert answers(session) == wanted
        assert torch.equal(logits(session, OTHER), plain)


def test_what_a_patch_wrote_goes_with_it_to_the_bit(session, patches):
    with session.patched(patches[0], patches[2]):
        wanted = [logits(session, request) for request in REQUESTS]
    with session.patched(*patches), session.live.only([patches[0].patch_id, patches[2].patch_id]):
        found = [logits(session, request) for request in REQUESTS]
    assert all(torch.equal(one, two) for one, two in zip(found, wanted, strict=True))


def test_a_later_edit_is_trained_beside_what_the_earlier_wrote(session, patches):
    alone = session.edit_all([REQUESTS[2]], options(), measured=False)
    with session.patched(patches[0]):
        beside = session.edit_all([REQUESTS[2]], options(), measured=False)
        with session.patched(beside):
            assert answers(session)[0] == "pilot"
            assert answers(session)[2] == "poet"
    assert torch.equal(alone.tensors["payload/masks"], beside.tensors["payload/masks"])
    assert not torch.equal(alone.tensors["payload/matrix"], beside.tensors["payload/matrix"])


def test_of_two_that_contradict_each_other_the_later_answers_and_the_earlier_returns(session, patches):
    other = attrs.evolve(REQUESTS[0], target_new="judge")
    with session.patched(patches[0]):
        later = session.edit_all([other], options(), measured=False)
        with session.patched(later):
            assert answers(session)[0] == "judge"
        assert answers(session)[0] == "pilot"
    with pytest.raises(EditcoreError, match=r"two requests answer 'Ada Marlow works as a'"):
        session.edit_all([REQUESTS[0], other], options())
    assert ResidualKind().diff(patches[0], later)["changed.Ada Marlow works as a"] == (["pilot"], ["judge"])


def test_patches_that_recognise_prompts_otherwise_are_one_memory(session, patches):
    mean = session.edit_all([REQUESTS[1]], options(token="mean", permutation=4), measured=False)
    with session.patched(patches[0], mean, patches[2]):
        assert answers(session) == [request.target_new for request in REQUESTS]


def test_a_published_threshold_is_absolute(session):
    patch = session.edit_all(REQUESTS[:1], options(threshold=0.9, unit="absolute", steps=1), measured=False)
    assert patch.tensors["payload/thresholds"].tolist() == pytest.approx([0.9])
    assert patch.about["notes"][0]["converged"] is False


@pytest.mark.parametrize("d", [1, 8, 13])
def test_masks_are_packed_and_unpacked(d):
    masks = torch.rand(3, d, generator=torch.Generator().manual_seed(d)) < 0.5
    packed = pack(masks)
    assert packed.shape == (3, -(-d // 8))
    assert torch.equal(unpack(packed, d), masks)


def test_it_says_what_it_holds(patches):
    parts = patches[0].core["payload"]["parts"]
    described = ResidualKind().describe(patches[0])
    assert described["edits"] == 1
    assert described["place"] == "decoder.2.mlp_out"
    assert str(parts["mean"]["shape"][0]) in described["columns"]
    assert ResidualKind().taken_back(patches[0]).startswith("its edit goes, with all that it wrote")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, parts: data.pop("token"), "its data are not layer"),
        (lambda data, parts: data.update(layer=-1), "not numbers from 0"),
        (lambda data, parts: data.update(active=True), "not numbers from 0"),
        (lambda data, parts: data.update(stack="tail"), "how a prompt is recognised"),
        (lambda data, parts: parts.update(thresholds=parts["thresholds"] + 1), "its thresholds are not above 0"),
        (lambda data, parts: parts.update(thresholds=parts["thresholds"] * 0), "its thresholds are not above 0"),
        (lambda data, parts: parts.update(thresholds=parts["thresholds"].double()), "its part thresholds"),
        (lambda data, parts: data.update(active=10**6), "of .* columns"),
        (lambda data, parts: data.update(active=data["active"] - 1), "columns each"),
        (lambda data, parts: parts.update(masks=parts["masks"].repeat(2, 1)), "its part masks does not fit"),
        (lambda data, parts: parts.update(masks=parts["masks"] ^ 1), "columns each"),
        (lambda data, parts: parts.update(columns=parts["columns"].flip(0)), "not those of its masks"),
        (lambda data, parts: parts.update(columns=parts["columns"] - 1), "not those of its masks"),
        (lambda data, parts: parts.update(columns=parts["columns"][1:]), "its part matrix does not fit"),
        (lambda data, parts: parts.update(matrix=parts["matrix"] / 0), "not finite"),
        (lambda data, parts: parts.update(mean=parts["mean"] * torch.nan), "not finite"),
        (lambda data, parts: parts.update(mean=parts["mean"][:-9]), "its part masks does not fit"),
        (lambda data, parts: parts.pop("mean"), "its parts are not"),
        (lambda data, parts: parts.update(offsets=parts["offsets"] + 1), "does not divide"),
    ],
)
def test_a_payload_that_cannot_be_is_refused(patches, change, message):
    patch = patches[0]
    data = dict(patch.core["payload"]["data"])
    parts = {name.removeprefix("payload/"): tensor.clone() for name, tensor in patch.tensors.items()}
    change(data, parts)
    with pytest.raises((RefusedFileError, EditcoreError, ValueError), match=message):
        seal({}, patch.about["base"], dict(patch.about), kind="memory", payload=Payload("memoir.residual", data, parts))
