"""MELO as its users meet it: blocks, routing, edits out of the middle, contradictions, T5, received files."""

from pathlib import Path

import attrs
import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest, Patch
from editcore.patches.file.sealing import seal
from editcore.testing.tiny import tiny_model
from editcore_hooks import EditcoreError, Payload, RefusedFileError
from editcore_melo.kind import RoutedKind
from editcore_melo.method import portions

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", "baker", id="1"),
    EditRequest("{} lives in", "Bo Quist", "Cairo", id="2"),
    EditRequest("{} works as a", "Cleo Tolland", "poet", id="3"),
]
OTHER = EditRequest("The job of {} is that of a", "Dan Quist", "miner")


def options(**values) -> EditOptions:
    chosen = {"layer": 1, "background": 8, "others": ("Eve Quist", "Dan Marlow"), **values}
    return EditOptions("melo", hparams=(("test", chosen),))


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


def test_edits_answer_and_other_prompts_keep_their_bits(session, patches):
    plain = logits(session, OTHER)
    with session.patched(*patches):
        assert answers(session) == [request.target_new for request in REQUESTS]
        assert torch.equal(logits(session, OTHER), plain)


def test_edits_of_a_patch_share_blocks_as_told(session):
    shared = session.edit_all(REQUESTS, options(edits_per_block=2, steps=1), measured=False)
    assert shared.tensors["payload/block"].tolist() == [0, 0, 1]
    assert RoutedKind().describe(shared)["blocks"] == 2
    assert portions([0] * 20 + [1] * 20 + [2]) == [(0, 20), (20, 40), (40, 41)]


def test_a_block_answers_to_the_bit_whatever_other_blocks_there_are(session, patches):
    with session.patched(*patches):
        before = [logits(session, request) for request in REQUESTS]
    with session.patched(patches[0], patches[2]):
        after = [logits(session, request) for request in REQUESTS]
    assert torch.equal(before[0], after[0])
    assert torch.equal(before[2], after[2])
    assert torch.equal(after[1], logits(session, REQUESTS[1]))


def test_of_two_that_contradict_each_other_the_later_answers_and_the_earlier_returns(session, patches):
    other = attrs.evolve(REQUESTS[0], target_new="judge")
    later = session.edit_all([other], options(), measured=False)
    with session.patched(patches[0], later):
        assert answers(session)[0] == "judge"
        with session.live.only([patches[0].patch_id]):
            assert answers(session)[0] == "pilot"
    with pytest.raises(EditcoreError, match=r"two requests answer 'Ada Marlow works as a'"):
        session.edit_all([REQUESTS[0], other], options())
    assert RoutedKind().diff(patches[0], later)["changed.Ada Marlow works as a"] == (["pilot"], ["judge"])


def test_a_published_radius_is_absolute(session):
    patch = session.edit_all(REQUESTS[:1], options(radius=75.0, unit="absolute", steps=1), measured=False)
    assert patch.tensors["payload/radii"].tolist() == [75.0]
    assert patch.about["notes"][0]["converged"] is False


def test_the_last_block_has_none_after_it(session):
    with pytest.raises(EditcoreError, match="no block runs after"):
        session.edit_all(REQUESTS[:1], options(layer=session.anatomy.n_layers - 1))


def test_an_encoder_decoder_gets_blocks_in_both(tmp_path):
    session = editcore.open(tiny_model("t5", tmp_path))
    patch = session.edit_all(REQUESTS[:1], options(layer=0, steps=10, others=()), measured=False)
    assert {stack for _, _, stack in patch.core["payload"]["data"]["sites"]} == {"encoder", "decoder"}
    asked = [(REQUESTS[0].rendered().text, "pilot", None, "auto"), (OTHER.rendered().text, "pilot", None, "auto")]
    before = [score.sum for score in session.score_targets(asked)]
    with session.patched(patch):
        after = [score.sum for score in session.score_targets(asked)]
    assert after[0] > before[0] + 1
    assert after[1] == before[1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, parts: data.pop("rank"), "its data are not layer"),
        (lambda data, parts: data.update(layer=-1), "names no block"),
        (lambda data, parts: data.update(rank=True), "its rank"),
        (lambda data, parts: data.update(rank=3), "factors of its blocks"),
        (lambda data, parts: data.update(sites=[]), "not matrices of blocks"),
        (lambda data, parts: data.update(sites=[["embed", 2, "decoder"]]), "not matrices of blocks"),
        (lambda data, parts: data.update(sites=[["mlp_in", 2, "decoder"]] * 2), "each once"),
        (lambda data, parts: data.update(sites=[["mlp_in", 1, "decoder"]]), "run before the block"),
        (lambda data, parts: data.update(sites=[["mlp_in", 2, "decoder"]]), "its parts are not"),
        (lambda data, parts: parts.update(radii=parts["radii"] * 0), "radii that are not above 0"),
        (lambda data, parts: parts.update(keys=parts["keys"] * torch.nan), "not finite"),
        (lambda data, parts: parts.update(keys=parts["keys"].repeat(2, 1)), "its keys"),
        (lambda data, parts: parts.update(block=parts["block"] + 1), "do not use its blocks"),
        (lambda data, parts: parts.update({"0.in": parts["0.in"].repeat(2, 1, 1)}), "factors of its blocks"),
        (lambda data, parts: parts.update({"0.out": parts["0.out"] / 0}), "not finite"),
        (lambda data, parts: parts.update(offsets=parts["offsets"] + 1), "does not divide"),
    ],
)
def test_a_payload_that_cannot_be_is_refused(patches, change, message):
    patch = patches[0]
    data = dict(patch.core["payload"]["data"])
    parts = {name.removeprefix("payload/"): tensor.clone() for name, tensor in patch.tensors.items()}
    change(data, parts)
    with pytest.raises((RefusedFileError, EditcoreError, ValueError), match=message):
        seal({}, patch.about["base"], dict(patch.about), kind="memory", payload=Payload("melo.routed", data, parts))
