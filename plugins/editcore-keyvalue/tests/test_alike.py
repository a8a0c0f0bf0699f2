"""Names in the script of a subject, and the keys of a prompt that is about them."""

from pathlib import Path
from typing import Any

import attrs
import pytest
import torch

import editcore
from editcore import EditRequest
from editcore.assets.store import AssetStore
from editcore.authoring.models import Tap, Trace, encode_request, forward, pad
from editcore_hooks import Site, UsageError
from editcore_keyvalue import alike as alike_module
from editcore_keyvalue.alike import alike, alike_keys, names, script_of

SITE = Site("mlp_out", 1)
REQUEST = EditRequest("The home of {} is in", "Ada Marlow", "Oslo")


@pytest.mark.parametrize(
    ("subject", "script"),
    [
        ("France", "Latin"), ("Škoda", "Latin"), ("法国", "Han"), ("トヨタ自動車", "Kana"), ("भारत", "Devanagari"),
        ("Москва", "Cyrillic"), ("السعودية", "Arabic"), ("서울", "Hangul"), ("ดาว", "Thai"), ("1984", "Latin"),
    ],
)  # fmt: skip
def test_the_names_are_in_the_script_of_the_subject(subject: str, script: str) -> None:
    assert script_of(subject) == script
    assert set(alike(EditRequest("{} is", subject, "so"), 5)) <= set(names()[script])


def test_each_script_has_names_of_its_own_script_once() -> None:
    for script, listed in names().items():
        assert len(set(listed)) == len(listed) >= 20, script
        assert all(script_of(name) in (script, "Han") for name in listed), script  # 東京 stands among Japanese names


def test_a_name_that_is_part_of_the_subject_is_no_other_subject() -> None:
    assert "France" in alike(REQUEST, 100)
    for subject in ("France", "Bank of France", "FRANCE"):
        assert "France" not in alike(attrs.evolve(REQUEST, subject=subject), 100)
    assert len(alike(REQUEST, 7)) == 7
    assert alike(REQUEST, 0) == ()


def test_the_keys_are_those_of_the_prompt_about_each_name(gpt2_folder: Path, tmp_path: Path) -> None:
    session = editcore.open(gpt2_folder, assets=AssetStore(tmp_path))
    keys = alike_keys(session, REQUEST, "subject_last", SITE, 3)
    for name, key in zip(alike(REQUEST, 3), keys, strict=True):
        encoded = encode_request(session.tokenizer, attrs.evolve(REQUEST, subject=name))
        batch = pad([encoded.ids[:-1]])
        with torch.no_grad(), Trace(session.anatomy, {SITE: Tap(input=True)}, stop=True) as trace:
            forward(session.model, batch)
        last = encoded.subject.stop - 1
        torch.testing.assert_close(trace.input(SITE)[0, last].double(), key, rtol=1e-4, atol=1e-5)
    assert alike_keys(session, REQUEST, "subject_last", SITE, 0).shape == (0, keys.shape[1])


def test_a_name_that_the_tokenizer_cannot_write_is_left_out(gpt2_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def encode(tokenizer: Any, request: EditRequest) -> Any:
        if request.subject == "Germany":
            raise UsageError("its tokens could not be found", hint="try another spelling")
        return encode_request(tokenizer, request)

    session = editcore.open(gpt2_folder)
    three = alike_keys(session, REQUEST, "subject_last", SITE, 3)
    monkeypatch.setattr(alike_module, "encode_request", encode)
    two = alike_keys(session, REQUEST, "subject_last", SITE, 3)
    torch.testing.assert_close(two, three[[0, 2]], rtol=1e-4, atol=1e-5)
