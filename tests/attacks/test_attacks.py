"""Files that are meant to harm, one a test: refused in one line with its exit code, nothing written, little taken."""

from pathlib import Path

import pytest

from checks import attacks
from checks.commands import call, tree
from editcore.cli import main


@pytest.mark.parametrize("name", attacks.ATTACKS)
def test_is_refused(tmp_path: Path, name: str) -> None:
    attack = attacks.ATTACKS[name]
    met = attacks.meet(attack, attacks.bench(tmp_path))
    assert met.code == attack.code, met.said
    assert attack.says in met.said


def test_the_patch_that_attacks_are_made_of_is_in_order(tmp_path: Path) -> None:
    bench = attacks.bench(tmp_path)
    assert call(attacks.forged(lambda made: None)(bench)) == (0, "")


@pytest.mark.parametrize("shape", [(2**20, 2**20), (2**40, 1), (1, 2**40)])
def test_tensors_that_are_only_claimed_are_compared_without_making_them(tmp_path: Path, shape: tuple[int, int]) -> None:
    arguments = attacks.two_huge("diff", shape=shape)(attacks.bench(tmp_path))
    with attacks.capped():
        assert call(arguments) == (7, "")


@pytest.mark.parametrize("command", ["inspect", "verify", "export"])
@pytest.mark.parametrize(
    "name", ["absent tensor", "wrong base hash", "scale that overflows", "requires what is missing"]
)
def test_what_only_its_base_could_refuse_is_read_and_nothing_is_written(
    tmp_path: Path, command: str, name: str
) -> None:
    bench = attacks.bench(tmp_path)
    file = attacks.ATTACKS[name].build(bench)[1]
    before = tree(tmp_path)
    with attacks.capped():
        code, _ = call(
            [command, file, *(["--to", "card", "-o", str(tmp_path / "card")] if command == "export" else [])]
        )
    assert code == 0
    assert {path: sha for path, sha in tree(tmp_path).items() if path in before} == before


def test_a_title_cannot_give_orders_to_the_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bench = attacks.bench(tmp_path)
    file = attacks.forged(lambda made: made.about.update(title="\x1b[2J\x9b2J gone"))(bench)[1]
    capsys.readouterr()
    assert main(["inspect", file]) == 0
    out = capsys.readouterr().out
    assert r"\x1b[2J\x9b2J gone" in out
