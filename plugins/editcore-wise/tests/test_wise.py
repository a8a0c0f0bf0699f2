"""WISE as its users meet it: sequences, shards, merges, edits taken out of the middle, and files that cannot be."""

from pathlib import Path
from typing import Any

import pytest
import torch
from attrs import evolve

import editcore
from editcore import EditOptions, EditRequest, Patch
from editcore.patches.file.sealing import seal
from editcore.testing.tiny import tiny_model
from editcore_hooks import EditcoreError, Payload, RefusedFileError, UsageError
from editcore_wise.earlier import Open, replayed
from editcore_wise.kind import SideKind
from editcore_wise.masks import mask_of
from editcore_wise.payload import parts_of, rule_of
from editcore_wise.shards import Part, Rule, delta_of, shards_of, threshold

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot"),
    EditRequest("{} works as a", "Bo Quist", "poet"),
    EditRequest("{} works as a", "Cleo Tolland", "judge"),
]
RULE = Rule(1, (3, 4), 0.5, 2, 2, 1.0, True)


@pytest.fixture(scope="module")
def session(llama_folder: Path) -> editcore.Session:
    return editcore.open(llama_folder)


def options(**values: Any) -> EditOptions:
    counts = {"irrelevant_count": 4, "other_count": 4, "spare_alike": 4}
    cheap = {"layer": 1, "steps": 25, "context_templates": ["So. {}"], **counts}
    return EditOptions("wise", hparams=(("test", {**cheap, **values}),))


def in_sequence(session: editcore.Session, **values: Any) -> list[Patch]:
    """A patch of each request, made with those before it attached; all are taken off again."""
    patches: list[Patch] = []
    for request in REQUESTS:
        with session.patched(*patches):
            patches.append(session.edit_all([request], options(**values), measured=False))
    return patches


@pytest.fixture(scope="module")
def patches(session: editcore.Session) -> list[Patch]:
    return in_sequence(session)


def answers(session: editcore.Session) -> list[str]:
    texts: list[str] = session.generate([request.rendered().text for request in REQUESTS], 1)
    return [text.strip() for text in texts]


def test_in_sequence_edits_share_a_shard_and_all_are_answered(session: editcore.Session, patches: list[Patch]) -> None:
    names = [[part.name for part in parts_of(patch)] for patch in patches]
    assert names[0] == names[1] == names[2]
    with session.patched(*patches):
        assert answers(session) == [request.target_new for request in REQUESTS]


def test_the_entries_of_a_shard_are_those_of_its_mask_and_in_the_ball(patches: list[Patch]) -> None:
    shard = patches[0].core["payload"]["data"]["shards"][0]
    assert all(patch.core["payload"]["data"]["shards"][0] == shard for patch in patches)
    shape = rule_of(patches[0]).shape
    delta = delta_of([part for patch in patches for part in parts_of(patch)], shape)
    mask = mask_of(shape, shard["ratio"], shard["seed"])
    assert not bool((delta != 0)[~mask].any())
    assert bool((delta != 0)[mask].any())


def test_an_edit_sees_the_model_without_the_side_and_puts_the_side_back(
    session: editcore.Session, patches: list[Patch]
) -> None:
    with session.patched(patches[0]):
        before = answers(session)
        again = session.edit_all([REQUESTS[1]], options(), measured=False)
        assert answers(session) == before
    assert again.patch_id == patches[1].patch_id


def test_an_edit_of_a_model_that_opens_with_a_side_measures_the_base(llama_folder: Path, patches: list[Patch]) -> None:
    fresh = editcore.open(llama_folder)  # nothing is kept from an edit without the side
    with fresh.patched(patches[0]):
        again = fresh.edit_all([REQUESTS[1]], options(), measured=False)
    assert again.patch_id == patches[1].patch_id


def test_rows_of_one_batch_are_routed_each_by_itself(session: editcore.Session, patches: list[Patch]) -> None:
    prompts = [REQUESTS[0].rendered().text, "The capital of all there is"]
    plain = session.generate(prompts, 3)
    with session.patched(patches[0]):
        edited = session.generate(prompts, 3)
    assert edited[0].strip().startswith("pilot")
    assert edited[1] == plain[1]


def test_what_is_taken_out_of_the_middle_leaves_no_entry(session: editcore.Session, patches: list[Patch]) -> None:
    def logits() -> torch.Tensor:
        ids = torch.tensor([session.encode(REQUESTS[0]).prompt_ids])
        with torch.no_grad():
            found: torch.Tensor = session.model(ids).logits[0, -1]
        return found

    with session.patched(patches[0], patches[2]):
        expected = logits()
    for patch in patches:
        session.apply(patch)
    session.live.remove(patches[1].patch_id)
    assert torch.equal(logits(), expected)
    for i in (0, 2):
        session.live.remove(patches[i].patch_id)


@pytest.mark.thorough
def test_with_a_shard_each_the_others_answer_as_before(session: editcore.Session) -> None:
    patches = in_sequence(session, shard_edits=1, merge=0)
    assert len({part.name for patch in patches for part in parts_of(patch)}) == len(REQUESTS)
    with session.patched(*patches):
        assert answers(session) == [request.target_new for request in REQUESTS]


def test_a_patch_of_many_edits_goes_on_in_a_new_shard_when_one_is_full(session: editcore.Session) -> None:
    patch = session.edit_all(REQUESTS, options(shard_edits=2, steps=1), measured=False)
    assert [len(part.distances) for part in parts_of(patch)] == [2, 1]
    described = SideKind().describe(patch)
    assert (described["edits"], len(described["shards"])) == (3, 2)
    assert "its 3 edits go together" in SideKind().taken_back(patch)


def part(name: str, values: list[float], distances: list[float]) -> Part:
    return Part(name, torch.arange(len(values)), torch.tensor(values), torch.tensor(distances), min(distances))


def test_full_shards_are_merged_and_come_apart_when_a_patch_goes() -> None:
    a, b, c = part("a", [1.0, 2.0], [4.0, 6.0]), part("b", [3.0, -1.0], [2.0, 8.0]), part("c", [5.0], [3.0])
    found = shards_of([a, b, c], RULE)
    assert found.current
    assert found.thresholds.tolist() == [1.5, 1.0]  # the current shard, then the smaller of the two that are merged
    assert found.deltas[0].flatten().tolist()[:2] == [5.0, 0.0]
    assert found.deltas[1].flatten().tolist()[:2] == [2.0, 2.0]
    without = shards_of([a, c], RULE)
    assert without.deltas[1].flatten().tolist()[:2] == [1.0, 2.0]


@pytest.mark.parametrize(("retrieve", "merge", "k"), [(True, 2, 3), (True, 0, 5), (False, 2, 1)])
def test_without_retrieval_all_full_shards_are_one(retrieve: bool, merge: int, k: int) -> None:
    rule = Rule(1, (3, 4), 0.5, 1, merge, 0.53, retrieve)
    found = shards_of([part(name, [1.0], [1.0]) for name in "abcde"], rule)
    assert len(found.deltas) == k
    assert not found.current


@pytest.mark.parametrize(
    ("spared", "expected"),
    [(0.0, 7.0), (6.0, 7.0), (8.0, 8.0), (20.0, 8.8)],
    ids=["not measured", "below the share", "between", "at most 0.88"],
)
def test_spared_subjects_raise_the_threshold_within_bounds(spared: float, expected: float) -> None:
    one = evolve(part("a", [1.0], [10.0]), spared=spared)
    assert threshold([one], 0.7) == pytest.approx(expected)
    assert threshold([one], 0.95) == pytest.approx(9.5)
    assert threshold([evolve(one, spared=8.5), one], 0.7) <= 8.5


def test_replay_takes_one_edit_of_the_shard_and_those_of_others() -> None:
    shard = Open("s", 0, 0.2, torch.zeros(1, 1), torch.zeros(1, 1))
    prompts = [((1,), "s"), ((2,), "t"), ((3,), "u"), ((4,), "s")]
    own, others = replayed(prompts, shard, torch.Generator().manual_seed(0))
    assert own in ([(1,)], [(4,)])
    assert sorted(others) == [(2,), (3,)]


@pytest.mark.thorough
def test_replay_changes_the_edit_of_a_later_one_only(session: editcore.Session) -> None:
    first, second = (in_sequence(session, steps=2, shard_edits=1, replay=each)[:2] for each in (False, True))
    assert torch.equal(first[0].tensors["payload/values"], second[0].tensors["payload/values"])
    assert not torch.equal(first[1].tensors["payload/values"], second[1].tensors["payload/values"])


def test_two_targets_of_one_prompt_in_one_patch_are_refused(session: editcore.Session) -> None:
    other = EditRequest("{} works as a", "Ada Marlow", "poet")
    with pytest.raises(EditcoreError, match="two requests answer 'Ada Marlow works as a'"):
        session.edit_all([REQUESTS[0], other], options())


def test_a_second_edit_of_one_prompt_answers_and_the_first_returns(
    session: editcore.Session, patches: list[Patch]
) -> None:
    with session.patched(patches[0]):
        other = session.edit_all([EditRequest("{} works as a", "Ada Marlow", "baker")], options(), measured=False)
        with session.patched(other):
            assert answers(session)[0] == "baker"
        assert answers(session)[0] == "pilot"


def test_a_model_with_an_encoder_is_refused_with_the_reason(tmp_path: Path) -> None:
    session = editcore.open(tiny_model("t5", tmp_path))
    with pytest.raises(UsageError, match="beside an encoder that layer reads the answer alone"):
        session.edit_all(REQUESTS[:1], options(), measured=False)


def test_it_says_how_two_differ_and_cannot_be_folded(patches: list[Patch]) -> None:
    kind = SideKind()
    found = kind.diff(patches[0], patches[1])
    assert found["removed.Ada Marlow works as a"] == (["pilot"], None)
    (name,) = [part.name for part in parts_of(patches[0])]
    assert "shared, cosine" in found[f"shard.{name}"][1]
    assert not kind.folds()
    assert "the router is what spares the rest" in (kind.__doc__ or "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, parts: data.update(layer=-1), "its layer, shard_edits and merge"),
        (lambda data, parts: data.update(layer=True), "its layer, shard_edits and merge"),
        (lambda data, parts: data.pop("merge"), "its data are not"),
        (lambda data, parts: data.update(shape=[2**20, 2**20]), "larger than its index reaches"),
        (lambda data, parts: data.update(shape=[1, 1]), "an index outside of its matrix"),
        (lambda data, parts: data.update(act_ratio=float("nan")), "not finite|are not shares|NaN|JSON"),
        (lambda data, parts: data.update(density=0.0), "are not shares"),
        (lambda data, parts: data.update(shards=[]), "its shards do not each have"),
        (lambda data, parts: data.update(shards=data["shards"] * 2), "names a shard twice"),
        (lambda data, parts: data["shards"][0].update(name="../x"), "its shards do not each have"),
        (lambda data, parts: parts.update(index=parts["index"].flip(0)), "is not ascending"),
        (lambda data, parts: parts.update(index=parts["index"] - 2**30), "an index outside of its matrix"),
        (lambda data, parts: parts.update(index=parts["index"].long()), "does not fit its shards"),
        (lambda data, parts: parts.update(values=parts["values"][1:]), "does not fit its shards"),
        (lambda data, parts: parts.update(values=parts["values"] * torch.inf), "not finite"),
        (lambda data, parts: parts.update(starts=parts["starts"] + 1), "its starts do not divide"),
        (lambda data, parts: parts.update(distances=-parts["distances"]), "distances below 0"),
        (lambda data, parts: parts.update(distances=parts["distances"].repeat(2)), "does not fit its shards"),
        (lambda data, parts: parts.update(spared=-1 - parts["spared"]), "distances below 0"),
        (lambda data, parts: parts.update(spared=parts["spared"] * torch.nan), "not finite"),
        (lambda data, parts: parts.update(shard=parts["shard"] + 1), "are not divided among its shards"),
        (lambda data, parts: parts.update(more=parts["values"]), "its parts are not index"),
        (lambda data, parts: parts.update(offsets=parts["offsets"] + 1), "does not divide"),
    ],
)
def test_a_payload_that_cannot_be_is_refused(patches: list[Patch], change: Any, message: str) -> None:
    patch = patches[0]
    with pytest.raises((RefusedFileError, EditcoreError, ValueError), match=message):
        sealed(patch, change)


def test_a_matrix_that_is_not_the_models_is_refused(session: editcore.Session, patches: list[Patch]) -> None:
    wider = rule_of(patches[0]).shape
    patch = sealed(patches[0], lambda data, parts: data.update(shape=[wider[0], wider[1] + 1]))
    with pytest.raises(EditcoreError, match="needs a width in"):
        session.apply(patch)
    patch = sealed(patches[0], lambda data, parts: data.update(layer=99))
    with pytest.raises(EditcoreError, match="there is no layer 99"):
        session.apply(patch)


def sealed(patch: Patch, change: Any) -> Patch:
    """The patch with its payload changed."""
    data = dict(patch.core["payload"]["data"])
    data["shards"] = [dict(shard) for shard in data["shards"]]
    parts = {
        name.removeprefix("payload/"): t.clone() for name, t in patch.tensors.items() if name.startswith("payload/")
    }
    change(data, parts)
    about = {name: value for name, value in patch.about.items() if name != "state"}
    return seal({}, patch.about["base"], about, kind="memory", payload=Payload("wise.side", data, parts))
