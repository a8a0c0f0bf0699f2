"""Cases to train on: each once, each readable, each with other words, and layouts by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from attrs import define, field

import editcore
from editcore.plugins.registry import registry
from editcore.session.talk import Progress, Silence
from editcore.training.data import read_data, usable
from editcore.training.picture import draw, require_picture
from editcore_hooks import Case, EditRequest, UsageError


@define
class Listening:
    """Keeps the messages."""

    said: list[str] = field(factory=list)

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def progress(self, label: str, total: int) -> Iterator[Progress]:
        with Silence().progress(label, total) as progress:
            yield progress


ADA = Case(EditRequest("{} works as a", "Ada Marlow", "pilot"), rephrases=("The job of Ada Marlow is that of a",))
BO = Case(EditRequest("{} works as a", "Bo Quist", "poet"))
LONG = Case(EditRequest("{} works as a", "Bo " * 400 + "Quist", "poet"))


def test_cases_are_made_complete_by_the_model_and_this_is_said(llama_folder: Path) -> None:
    talk = Listening()
    session = editcore.open(llama_folder, talk=talk)
    found = usable(session, [ADA, BO, BO, LONG])
    assert found[0] == ADA
    assert [case.request for case in found] == [ADA.request, BO.request]
    assert len(found[1].rephrases) == 2
    assert all(text.endswith(" Bo Quist works as a") for text in found[1].rephrases)
    assert any("left out 1 of 3 cases" in text for text in talk.said)
    assert any("1 of 2 cases have no rephrase" in text for text in talk.said)
    assert usable(editcore.open(llama_folder), [ADA, BO]) == found


def test_a_dataset_is_named_with_its_layout(tmp_path: Path) -> None:
    pytest.importorskip("editcore_bench")
    layout = "counterfact"
    path = tmp_path / "sample.json"
    path.write_text(registry().dataset(layout).sample(), encoding="utf-8")
    assert len(read_data(registry(), f"{layout}:{path}")) > 0
    for wrong in ("nothing.jsonl", f"{layout}:{tmp_path / 'none.json'}"):
        with pytest.raises(UsageError, match="there is no file"):
            read_data(registry(), wrong)


def test_learning_curves_are_drawn_alike_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curve = [{"step": i, "losses": {"loss": 1 / i}, "figures": {"edit": i / 3}} for i in (1, 2, 3)]
    for name in ("a.svg", "b.svg"):
        draw(curve, require_picture(str(tmp_path / name)), "mend on $MODEL")
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "edit" in (tmp_path / "a.svg").read_text()
    for wrong in ("a.gif", str(tmp_path / "a.svg"), "no/folder/a.png"):
        with pytest.raises(UsageError):
            require_picture(wrong)
