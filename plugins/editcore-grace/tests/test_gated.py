"""Defer and the memory network as their users meet them: several patches, what is told of them, and refusals."""

from pathlib import Path
from typing import Any

import pytest

import editcore
from editcore import EditOptions, EditRequest, Patch
from editcore.patches.file.sealing import seal
from editcore_grace.gated.kind import GatedKind
from editcore_hooks import EditcoreError, Payload

ADA, BO = (EditRequest("{} works as a", name, job) for name, job in (("Ada Marlow", "pilot"), ("Bo Quist", "poet")))


@pytest.fixture(scope="module")
def session(llama_folder: Path) -> editcore.Session:
    return editcore.open(llama_folder)


def edit(session: editcore.Session, *requests: EditRequest, method: str = "defer", **values: Any) -> Patch:
    chosen = {"layer": 1, "steps": 30, "others": 4, "passages": 4, **values}
    return session.edit_all(list(requests), EditOptions(method, hparams=(("test", chosen),)), measured=False)


@pytest.fixture(scope="module")
def patch(session: editcore.Session) -> Patch:
    return edit(session, ADA)


def said(session: editcore.Session, request: EditRequest) -> str:
    return str(session.generate(request.rendered().text, 1)).strip()


def test_of_two_patches_each_answers_its_prompt_and_the_earlier_of_one_prompt_returns(
    session: editcore.Session, patch: Patch
) -> None:
    other = edit(session, EditRequest("{} works as a", "Ada Marlow", "judge"))
    second = edit(session, BO)
    with session.patched(patch, second):
        assert (said(session, ADA), said(session, BO)) == ("pilot", "poet")
    with session.patched(patch, other):
        assert said(session, ADA) == "judge"
        with session.live.only([patch.patch_id]):
            assert said(session, ADA) == "pilot"


def test_facts_of_one_call_share_a_memory_network(session: editcore.Session) -> None:
    both = edit(session, ADA, BO, method="memory-network", slots=8)
    with session.patched(both):
        assert (said(session, ADA), said(session, BO)) == ("pilot", "poet")
    assert both.tensors["payload/keys"].shape[0] == 8
    assert "2 edits share one gate and go together" in GatedKind().taken_back(both)


def test_it_tells_what_it_holds_and_what_did_not_converge(session: editcore.Session, patch: Patch) -> None:
    assert GatedKind().describe(patch) == {
        "edits": 1, "form": "defer", "place": "decoder.1.mlp_out", "replaces": "the last prompt token",
    }  # fmt: skip
    short = edit(session, BO, steps=1, lr=1e-4)
    assert short.about["notes"][0]["converged"] is False
    assert GatedKind().diff(patch, short)["removed.Ada Marlow works as a"] == (["pilot"], None)
    with pytest.raises(EditcoreError, match="two requests answer"):
        edit(session, ADA, EditRequest("{} works as a", "Ada Marlow", "judge"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data, parts: data.update(form="other"), "its data are not form"),
        (lambda data, parts: data.update(layer=-1), "its layer is not a number"),
        (lambda data, parts: parts.pop("up"), "its parts are not keys"),
        (lambda data, parts: parts.update(up=parts["up"][:, 1:]), "does not fit the others"),
        (lambda data, parts: parts.update(keys=parts["keys"].repeat(2, 1)), "its gate has not one key"),
        (lambda data, parts: parts.update(bias=parts["bias"] / 0), "not finite"),
        (lambda data, parts: parts.update(constant=parts["constant"][None]), "is not F32 of 1 dimensions"),
    ],
)
def test_a_payload_that_cannot_be_is_refused(patch: Patch, change: Any, message: str) -> None:
    data = dict(patch.core["payload"]["data"])
    parts = {name.removeprefix("payload/"): tensor.clone() for name, tensor in patch.tensors.items()}
    change(data, parts)
    with pytest.raises((EditcoreError, ValueError), match=message):
        seal({}, patch.about["base"], dict(patch.about), kind="memory", payload=Payload("grace.gated", data, parts))
