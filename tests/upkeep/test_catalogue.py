"""Six lines make an entry, and what does not fit is named."""

import pytest

from upkeep.catalogue import FILE, _row, entries, faults, page
from upkeep.distributions import ROOT

EXAMPLE = "\n".join(
    line.removeprefix("# ")
    for line in (ROOT / FILE).read_text("utf-8").partition("#\n")[2].splitlines()
    if line.startswith("# ")
)


def test_the_example_in_the_file_is_a_whole_entry() -> None:
    assert len(EXAMPLE.splitlines()) == 6
    ((name, entry),) = entries(EXAMPLE).items()
    assert list(faults(EXAMPLE)) == []
    assert f"[`{name}`]({entry['source']})" in _row(name, entry)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('license = "MIT"\n', "", "has no license"),
        ("https://", "http://", "no https address"),
        ("method nudge", "nudge", "offers 'nudge'"),
        ("editcore-nudge]", "editcore-rome]", "of this repository"),
        ("summary", "sumary", "unknown key sumary"),
    ],
)
def test_what_does_not_fit_is_named(old: str, new: str, reason: str) -> None:
    assert any(reason in fault for fault in faults(EXAMPLE.replace(old, new)))


def test_the_page_has_every_distribution() -> None:
    from upkeep.distributions import plugins

    text = page("")
    assert all(f"`{one.name}`" in text for one in plugins())
    assert text == (ROOT / "docs/catalogue.md").read_text("utf-8")
