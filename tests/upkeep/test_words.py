"""The linter finds a phrase that is out wherever a person reads it, and nothing else."""

from pathlib import Path

import pytest

from upkeep.prose import prose
from upkeep.words import found, main


def words(path: Path) -> list[tuple[int, str]]:
    return [(line + offset, word) for line, text in prose(path) for offset, word in found(text)]


def test_comments_docstrings_and_messages_are_prose_and_code_is_not(tmp_path: Path) -> None:
    path = tmp_path / "module.py"
    path.write_text(
        '"""Says it\n\nanew."""\n\nsaid = {"said": None}\nif said is None:  # it gives\n    # way here\n'
        '    raise ValueError(f"{said}: an edit is said "\n        "to be gone on with")\n'
    )
    assert words(path) == [(3, "anew"), (6, "gives way"), (8, "said"), (9, "gone on with")]


def test_code_in_markdown_is_not_prose(tmp_path: Path) -> None:
    path = tmp_path / "page.md"
    path.write_text("`said` is a name.\n\n```\nsaid\n```\n\nIt is said. It goes on\nwith it.\n")
    assert words(path) == [(7, "said"), (7, "goes on with")]


@pytest.mark.parametrize("text", ["when there is none", "left behind", "unsaid", "a is None", "said-5.wav", "Dearborn"])
def test_other_uses_are_left_alone(text: str) -> None:
    assert list(found(text)) == []


def test_strings_of_tests_are_data(tmp_path: Path) -> None:
    (tmp_path / "tests").mkdir()
    path = tmp_path / "tests/test_it.py"
    path.write_text('def test_it() -> None:\n    """What is said."""\n    assert "it is said" == "it is said"\n')
    assert words(path) == [(2, "said")]


def test_the_report_names_file_line_and_what_to_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "page.md"
    path.write_text("Begin anew.\n")
    assert main([str(path)]) == 1
    assert capsys.readouterr().err == f"{path}:1: write 'again, from the start' instead of 'anew'\n"
