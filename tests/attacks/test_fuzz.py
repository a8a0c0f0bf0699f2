"""A few hundred mutated patch files and some folders; `make check` reads twenty thousand."""

from checks import fuzz, fuzz_folders


def test_mutated_files_are_refused_or_valid_and_every_command_takes_those_that_are() -> None:
    outcomes = fuzz.count(400)
    assert sum(n for what, n in outcomes.items() if what.startswith(("bytes: ", "content: "))) == 400
    # A fuzzer whose files all die at the first hash would find nothing.
    assert outcomes["content: read as valid"] >= 30
    assert outcomes["content: refused: RefusedFileError"] >= 30
    for form in ("low_rank", "groups", "dense", "sparse", "rows", "xor", "replace", "ffn_units"):
        assert outcomes[f"valid with {form}"], form
    for command in ("inspect", "verify", "diff", "apply", "squash", "export", "annotate", "revert"):
        assert any(what.startswith(f"{command}: ") for what in outcomes), command


def test_folders_with_mutated_records_are_refused_or_in_order() -> None:
    outcomes = fuzz_folders.count(30)
    for record in fuzz_folders.RECORDS:
        assert sum(n for what, n in outcomes.items() if what.startswith(record)) == 10 * fuzz_folders.MET
