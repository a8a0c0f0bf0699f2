"""Checks of a dataset layout: its sample becomes cases, and a record that does not fit is refused by its key."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from editcore.cases.reading import parse_case
from editcore.cases.writing import case_to_json
from editcore.plugins.hparams import from_mapping
from editcore.testing.declared_checks import DeclaredChecks
from editcore_hooks import Case, Dataset, EditcoreError


class DatasetChecks(DeclaredChecks):
    """On the layout's own sample, a JSON list, an object a line, or CSV with a header."""

    dataset: ClassVar[str]

    @property
    def cls(self) -> type[Dataset]:
        return self.known.dataset(self.dataset)

    def read(self, text: str, folder: Path) -> list[Case]:
        """The cases of a file with this text."""
        path = folder / f"sample.{'csv' if _table(self.cls.sample()) else 'json'}"
        path.write_text(text, "utf-8")
        return list(self.cls(from_mapping(self.cls.Hparams, self.hparams)).read(path))

    def without(self, key: str) -> str:
        """The sample without a key in its first record, or without a column. Override it for another sort of file."""
        sample = self.cls.sample()
        found = _table(sample) or _records(sample)
        if found is None:
            pytest.skip("its sample is neither JSON records nor CSV: override `without(key)`")
        records, text = found
        assert key in records[0], f"`keys` names {key!r}, which the sample has not"
        return text(records, key)

    def test_it_has_a_sample_that_it_reads(self, tmp_path: Path) -> None:
        assert self.cls.sample().strip(), "it has no sample: `sample()` gives a small file in this layout"
        cases = self.read(self.cls.sample(), tmp_path)
        assert cases, "the sample gives no case"
        assert all(isinstance(case, Case) for case in cases)

    def test_two_readings_agree(self, tmp_path: Path) -> None:
        one, other = (self.read(self.cls.sample(), tmp_path) for _ in range(2))
        assert one == other

    def test_cases_have_ids_of_their_own(self, tmp_path: Path) -> None:
        ids = [case.request.id for case in self.read(self.cls.sample(), tmp_path)]
        assert all(ids), "a case has no id"
        assert len(set(ids)) == len(ids), "two cases have one id"

    def test_cases_survive_a_file(self, tmp_path: Path) -> None:
        for case in self.read(self.cls.sample(), tmp_path):
            row = json.loads(json.dumps(case_to_json(case), allow_nan=False))
            assert case_to_json(parse_case(row, "sample")) == row

    def test_a_record_without_a_key_is_refused(self, tmp_path: Path) -> None:
        assert self.cls.keys, "`keys` names no key that every record has"
        for key in self.cls.keys:
            text = self.without(key)
            refusal = _refusal(lambda text=text: self.read(text, tmp_path))  # type: ignore[misc]
            assert refusal is not None, f"a record without {key!r} is read"
            assert isinstance(refusal, EditcoreError), f"without {key!r}: {type(refusal).__name__}: {refusal}"
            assert key in str(refusal), f"the refusal of a record without {key!r} does not name it"

    def test_a_file_of_something_else_is_refused(self, tmp_path: Path) -> None:
        for what, text in (("half an object", '{"a": '), ("a number", "7"), ("an empty file", "")):
            refusal = _refusal(lambda text=text: self.read(text, tmp_path))  # type: ignore[misc]
            assert isinstance(refusal, EditcoreError), f"{what}: {refusal!r} in place of an EditcoreError"


def _refusal(call: Callable[[], Any]) -> Exception | None:
    try:
        call()
    except Exception as error:
        return error
    return None


Records = list[dict[str, Any]]
Sort = tuple[Records, Callable[[Records, str], str]]
"""Records, and what writes them without a key as a file of the same sort."""


def _records(sample: str) -> Sort | None:
    """Those of a JSON list or of lines of JSON, whose first record loses the key; None for another text."""
    written: Callable[[Records], str] = json.dumps
    try:
        whole = json.loads(sample)
    except json.JSONDecodeError:
        try:
            whole, written = [json.loads(line) for line in sample.splitlines() if line.strip()], _lines
        except json.JSONDecodeError:
            return None
    if not isinstance(whole, list) or not whole or not isinstance(whole[0], dict):
        return None
    return whole, lambda records, key: written([_less(records[0], key), *records[1:]])


def _lines(records: Records) -> str:
    return "".join(f"{json.dumps(one)}\n" for one in records)


def _table(sample: str) -> Sort | None:
    """Those of a table with a header, which loses the column; None for another text."""
    if not sample.strip() or sample.lstrip()[0] in "[{":
        return None
    try:
        dialect = csv.Sniffer().sniff(sample, delimiters=",;\t")
    except csv.Error:
        return None

    def written(records: Records, key: str) -> str:
        file = io.StringIO(newline="")
        writer = csv.DictWriter(file, list(_less(records[0], key)), dialect=dialect)
        writer.writeheader()
        writer.writerows(_less(one, key) for one in records)
        return file.getvalue()

    return list(csv.DictReader(io.StringIO(sample, newline=""), dialect=dialect)), written


def _less(record: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != key}
