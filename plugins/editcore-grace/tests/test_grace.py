"""GRACE as its users meet it: rows, generation, contradictions, and edits that are taken out of the middle."""

from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest, Patch
from editcore.patches.file.sealing import seal
from editcore_grace.codebook import Codebook
from editcore_grace.kind import CodebookKind
from editcore_hooks import EditcoreError, Payload, RefusedFileError, Site

FIRST = ("Ada", "Bo", "Cleo", "Dan", "Eve")
LAST = ("Marlow", "Quist", "Tolland")
JOBS = ("pilot", "poet", "judge", "miner", "baker")
MANY = [
    EditRequest("{} works as a", f"{first} {last}", JOBS[(i + j) % 5], id=f"{first} {last}")
    for i, first in enumerate(FIRST)
    for j, last in enumerate(LAST)
]


@pytest.fixture(scope="module")
def session(llama_folder: Path) -> editcore.Session:
    return editcore.open(llama_folder)


@pytest.fixture(scope="module")
def patches(session: editcore.Session) -> list[Patch]:
    return session.edit_each(MANY, options(), measured=False)


def options(**values: Any) -> EditOptions:
    return EditOptions("grace", hparams=(("test", {"layer": 1, "steps": 60, **values}),))


def answers(session: editcore.Session) -> list[str]:
    texts: list[str] = session.generate([request.rendered().text for request in MANY], 3)
    return texts


def test_edits_are_made_together_and_each_is_a_patch(session: editcore.Session, patches: list[Patch]) -> None:
    assert len({patch.patch_id for patch in patches}) == len(MANY)
    with session.patched(*patches):
        found = answers(session)
    assert [text.strip(" .") for text in found] == [request.target_new for request in MANY]


def test_taken_out_of_the_middle_in_any_order_the_others_answer_to_the_bit(
    session: editcore.Session, patches: list[Patch]
) -> None:
    def logits(request: EditRequest) -> torch.Tensor:
        ids = torch.tensor([session.encode(request).prompt_ids])
        with torch.no_grad():
            found: torch.Tensor = session.model(ids).logits[0, -1]
        return found

    plain = [logits(request) for request in MANY]
    for patch in patches:
        session.apply(patch)
    before = [logits(request) for request in MANY]
    gone = [7, 2, 11]
    for i in gone:
        session.live.remove(patches[i].patch_id)
    for i, request in enumerate(MANY):
        assert torch.equal(logits(request), plain[i] if i in gone else before[i])
    for patch in patches:
        if patch.patch_id in session.live.ids:
            session.live.remove(patch.patch_id)


def test_of_two_that_contradict_each_other_the_later_answers_and_the_earlier_returns(session: editcore.Session) -> None:
    one, two = (EditRequest("{} works as a", "Ada Marlow", job) for job in ("pilot", "poet"))
    first, second = (session.edit_all([request], options(), measured=False) for request in (one, two))
    prompt = one.rendered().text
    with session.patched(first, second):
        assert session.generate(prompt, 1).strip() == "poet"
        with session.live.only([first.patch_id]):
            assert session.generate(prompt, 1).strip() == "pilot"
    with session.patched(second, first):
        assert session.generate(prompt, 1).strip() == "pilot"
    with pytest.raises(EditcoreError, match=r"two requests answer 'Ada Marlow works as a'"):
        session.edit_all([one, two], options())


def test_a_published_radius_is_absolute(session: editcore.Session) -> None:
    patch = session.edit_all(MANY[:1], options(radius=1.0, unit="absolute", steps=1), measured=False)
    assert patch.tensors["payload/radii"].tolist() == [1.0]


def test_what_does_not_converge_is_noted(session: editcore.Session) -> None:
    patch = session.edit_all(MANY[:1], options(steps=1, lr=1e-4), measured=False)
    assert patch.about["notes"][0]["converged"] is False


def test_a_thousand_entries_decide_in_one_step() -> None:
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(1000, 16, generator=generator)
    site = Site("mlp_out", 0)
    parts = [
        Codebook(site, "last", True, key[None], key[None], torch.tensor([0.01]), [str(i)]) for i, key in enumerate(keys)
    ]
    joined = Codebook.joined(parts)
    seen: Any = type("Seen", (), {"inputs": None, "at_last": lambda self, _: keys[[3, 999, 3]] + 1e-4})()
    assert joined.decide(seen).tolist() == [3, 999, 3]


def test_it_says_what_it_holds_and_how_it_differs(patches: list[Patch]) -> None:
    kind = CodebookKind()
    described = kind.describe(patches[0])
    assert described == {"entries": 1, "place": "decoder.1.mlp_out", "replaces": "the last prompt token"}
    found = kind.diff(patches[0], patches[1])
    assert found["removed.Ada Marlow works as a"] == (["pilot"], None)
    assert found["added.Ada Quist works as a"] == (None, ["poet"])
    assert not any(name.startswith("conflict.") for name in found)


def test_entries_whose_balls_overlap_are_shown_as_conflicts(session: editcore.Session) -> None:
    wide = {"radius": 9.0, "steps": 1}
    one, two = (session.edit_all([request], options(**wide), measured=False) for request in MANY[:2])
    assert CodebookKind().diff(one, two)["conflict.Ada Marlow works as a"] == ("pilot", "Ada Quist works as a poet")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, parts: data.update(layer=-1), "its layer is not a number"),
        (lambda data, parts: data.pop("expand"), "its data are not role"),
        (lambda data, parts: parts.update(radii=parts["radii"] * 0), "radii that are not above 0"),
        (lambda data, parts: parts.update(keys=parts["keys"] * torch.nan), "not finite"),
        (lambda data, parts: parts.update(values=parts["values"].repeat(2, 1)), "a row for each of 1 texts"),
        (lambda data, parts: parts.update(offsets=parts["offsets"] + 1), "does not divide"),
        (lambda data, parts: parts.update(text=parts["text"] | 128), "does not hold UTF-8"),
    ],
)
def test_a_payload_that_cannot_be_is_refused(patches: list[Patch], change: Any, message: str) -> None:
    patch = patches[0]
    data = dict(patch.core["payload"]["data"])
    parts = {name.removeprefix("payload/"): tensor.clone() for name, tensor in patch.tensors.items()}
    change(data, parts)
    with pytest.raises((RefusedFileError, EditcoreError, ValueError), match=message):
        seal({}, patch.about["base"], dict(patch.about), kind="memory", payload=Payload("grace.codebook", data, parts))
