"""SERAC as its users meet it: training first, edits out of the middle, other facts, received files."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import editcore
from editcore import EditOptions, EditRequest, Patch
from editcore.assets.store import AssetStore
from editcore.testing.training import opened, taught_cases
from editcore_hooks import UsageError
from editcore_serac.kind import ScopedKind

OPTIONS = EditOptions("serac")


@pytest.fixture(scope="module")
def session(gpt2_folder: Path, trained: AssetStore) -> editcore.Session:
    return editcore.open(gpt2_folder, assets=trained)


@pytest.fixture(scope="module")
def requests() -> list[EditRequest]:
    return [case.request for case in taught_cases()[:6]]


@pytest.fixture(scope="module")
def patches(session: editcore.Session, requests: list[EditRequest]) -> list[Patch]:
    return session.edit_each(requests, OPTIONS, measured=False)


def test_without_a_training_an_edit_is_refused(gpt2_folder, requests, tmp_path):
    with pytest.raises(UsageError, match="not trained") as caught:
        opened(gpt2_folder, tmp_path / "assets").edit_all(requests, OPTIONS, measured=False)
    assert "editcore train MODEL --method serac" in str(caught.value.hint)


def logits(session: editcore.Session, request: EditRequest) -> torch.Tensor:
    with torch.no_grad():
        found: torch.Tensor = session.model(torch.tensor([session.encode(request).prompt_ids])).logits[0, -1]
    return found


def test_taken_out_of_the_middle_the_others_answer_to_the_bit(session, requests, patches):
    bare = [logits(session, request) for request in requests]
    with session.patched(*patches):
        before = [logits(session, request) for request in requests]
        answers = session.generate([request.rendered().text for request in requests], 3)
    assert all(text.strip().startswith(request.target_new) for text, request in zip(answers, requests, strict=True))
    with session.patched(*patches[:2], *patches[3:]):
        after = [logits(session, request) for request in requests]
    assert all(torch.equal(before[i], after[i]) for i in range(6) if i != 2)
    assert not torch.equal(before[2], after[2])
    assert all(torch.equal(logits(session, request), found) for request, found in zip(requests, bare, strict=True))


def test_the_later_of_two_answers_and_the_earlier_returns(session, requests, patches):
    other = attrs.evolve(requests[0], target_new=requests[0].target_true)
    later = session.edit_all([other], OPTIONS, measured=False)
    prompt = [requests[0].rendered().text]
    with session.patched(patches[0], later):
        assert session.generate(prompt, 3)[0].strip().startswith(str(other.target_new))
    with session.patched(patches[0]):
        assert session.generate(prompt, 3)[0].strip().startswith(requests[0].target_new)
    with pytest.raises(UsageError, match="two requests answer"):
        session.edit_all([requests[0], other], OPTIONS, measured=False)
    changed = ScopedKind().diff(patches[0], later)
    assert any(requests[0].target_new in str(value) for value in changed.values())


@pytest.mark.parametrize(
    ("name", "changed", "message"),
    [
        ("starts", lambda value: value + 1, "starts"),
        ("keys", lambda value: value[:, 1:], "does not fit"),
        ("vectors", lambda value: value * torch.nan, "not finite"),
        ("spread", torch.zeros_like, "spread"),
        ("threshold", lambda value: 1.5, "threshold"),
    ],
)
def test_a_patch_whose_parts_do_not_fit_is_refused(patches, name, changed, message):
    payload = patches[0].core["payload"]
    data: dict[str, Any] = dict(payload["data"])
    parts = {key.removeprefix("payload/"): value for key, value in patches[0].tensors.items()}
    core = {"payload": {"data": data, "parts": parts}}
    target = data if name in data else parts
    target[name] = changed(target[name])
    kept = {"F32": torch.float32, "I64": torch.int64, "U8": torch.uint8, "I32": torch.int32}
    by_dtype = {value: key for key, value in kept.items()}
    core["payload"]["parts"] = {
        key: {"dtype": by_dtype[value.dtype], "shape": list(value.shape)} for key, value in parts.items()
    }
    fault = ScopedKind().check(core, {f"payload/{key}": value for key, value in parts.items()})
    assert fault is not None
    assert message in fault
