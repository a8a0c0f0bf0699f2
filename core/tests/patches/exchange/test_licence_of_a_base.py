"""The model card of a base comes from anywhere: it gives a licence in one line, or none."""

import tracemalloc
from pathlib import Path

import pytest

from editcore.patches.checkpoint.identity import license_of

BOMB = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 9)]
    + ["license: *a8"]
)


@pytest.mark.parametrize(
    ("front", "licence"),
    [
        ("license: apache-2.0", "apache-2.0"),
        ("license: [mit, cc0-1.0]", "mit, cc0-1.0"),
        ("license: other\nlicense_name: mine", "mine"),
        ("license: other", "other"),
        (r'license: "mine \ud83d\ude00"', "mine 😀"),
        (r'license: "mine \ud83d"', None),
        ('license: "mit\u202e\\nid  0"', "mit id 0"),
        ("license: " + "x" * 5000, "x" * 200),
        ("license: 3", None),
        ("license: {a: b}", None),
        ("license:", None),
        ("license: " + "[" * 20_000, None),
        (BOMB, None),
        ("other: 1", None),
        ("- a list", None),
        ("license: [", None),
    ],
)
def test_the_licence_in_the_front_matter(tmp_path: Path, front: str, licence: str | None) -> None:
    (tmp_path / "README.md").write_text(f"---\n{front}\n---\n# A model\n", encoding="utf-8")
    assert license_of(tmp_path) == licence


def test_a_card_without_front_matter_or_none_at_all(tmp_path: Path) -> None:
    assert license_of(tmp_path) is None
    (tmp_path / "README.md").write_bytes(b"# A model\xff\n")
    assert license_of(tmp_path) is None


def test_a_bomb_takes_no_memory(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text(f"---\n{BOMB}\n---\n")
    tracemalloc.start()
    license_of(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000
