"""A few hundred mutated files of cases, settings and assets; `make check` reads ten thousand of each."""

from checks import fuzz_texts


def test_mutated_texts_are_refused_in_one_line_or_valid() -> None:
    outcomes = fuzz_texts.count(200)
    assert sum(outcomes.values()) == 600
    for kind in ("cases", "settings", "asset"):
        assert outcomes[f"{kind}: read as valid"] >= 20, outcomes
        assert sum(n for what, n in outcomes.items() if what.startswith(f"{kind}: refused")) >= 60, outcomes
