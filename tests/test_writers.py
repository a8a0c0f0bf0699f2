"""Two processes that write one folder at the same moment."""

from pathlib import Path

from checks import writers


def test_of_two_writers_at_once_one_does_its_work_and_the_other_after_it_or_not_at_all(tmp_path: Path) -> None:
    seen = writers.race(tmp_path, sharded=True, rounds=6)
    assert seen.pop("loads") > 0
    assert seen.total() == 6
