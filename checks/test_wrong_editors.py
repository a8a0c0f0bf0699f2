"""Editors that are wrong on purpose are caught by the metrics that are there for them, and not by all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from checks.metrics import Table, outcomes

METRICS = ("tf.exact@1", "pref.es@1", "damage.ppl@1", "gen1.strict@1", "gen1.over@1", "gen1.loc.near@1")


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Table]:
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("EDITCORE_CACHE", str(Path(tmp_path_factory.mktemp("cache"))))
        yield outcomes(4, METRICS)


def test_the_right_editor_writes_the_facts(table: Table) -> None:
    assert table["right"]["tf.exact@1"].value >= 0.75
    assert not any(one.caught for one in table["right"].values())


def test_who_does_nothing_harms_nothing_and_writes_nothing(table: Table) -> None:
    nothing = table["nothing"]
    assert (nothing["gen1.strict@1"].value, nothing["gen1.loc.near@1"].value) == (0, 1)
    assert nothing["damage.ppl@1"].value == pytest.approx(1, abs=1e-6)
    assert nothing["gen1.strict@1"].caught


def test_teacher_forcing_does_not_see_who_writes_everywhere_or_without_an_end(table: Table) -> None:
    for name in ("everywhere", "endless"):
        assert table[name]["tf.exact@1"].value >= 0.75, name
        assert not table[name]["tf.exact@1"].caught, name
    assert table["endless"]["gen1.over@1"].value > 3


def test_broken_language_is_damage(table: Table) -> None:
    assert table["noise"]["damage.ppl@1"].value > 2
    assert table["noise"]["gen1.strict@1"].value < 0.5


def test_another_subject_is_not_the_one_asked_for(table: Table) -> None:
    assert table["other-subject"]["gen1.strict@1"].value < 0.5
