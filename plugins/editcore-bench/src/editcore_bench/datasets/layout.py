"""Shared code of the loaders of published layouts: record by record, to cases with ids of their own."""

from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any, ClassVar

from attrs import frozen

from editcore_bench.datasets.record import Record
from editcore_bench.datasets.stream import records
from editcore_hooks import Case, Dataset, RefusedFileError, UsageError, hparam


@frozen
class LayoutHparams:
    skip: bool = hparam(False, help="skip records that do not fit, and report them, instead of refusing the file")


class Layout(Dataset):
    """A published file layout. Its sample is written for this package and lies in `samples`."""

    Hparams: ClassVar[type] = LayoutHparams

    @classmethod
    def sample(cls) -> str:
        return (files("editcore_bench.datasets") / "samples" / f"{cls.name}.json").read_text("utf-8")

    def case(self, record: Record, id: str) -> Case | None:
        """The case of a record, or None when there is nothing to edit, which `leave_out` says.

        Raises `RefusedFileError` or `UsageError` when the record does not fit.
        """
        raise NotImplementedError

    def read(self, path: Path) -> Iterator[Case]:
        """The cases of a file, streamed. Raises `RefusedFileError` naming record and key, `UsageError` without a file.

        A case is called by the layout and the record's `case_id`, else its number.
        """
        self.left_out.clear()
        seen: dict[str, int] = {}
        for number, value in records(path):
            try:
                case = self._fitted(value, f"{path.name}, record {number}", number)
                if case is not None and case.request.id in seen:
                    before = seen[case.request.id]
                    raise RefusedFileError(f"{path.name}, record {number}: 'case_id' is that of record {before}")
            except RefusedFileError as error:
                if not self.hparams.skip:
                    raise
                self.left_out.append(error.message)
                continue
            if case is not None:
                seen[case.request.id] = number
                yield case

    def leave_out(self, record: Record, why: str) -> None:
        """Note that a record, or a part of it, has no place in the cases."""
        self.left_out.append(f"{record.where}: {why}")

    def _fitted(self, value: Any, where: str, number: int) -> Case | None:
        record = Record.of(value, where)
        for key in self.keys:
            if key not in record.value:
                raise record.misfit(key, f"there, as in every record of {self.name}", self._other(record))
        known_by = record.value.get("case_id", number)
        if not isinstance(known_by, (str, int)):
            raise record.misfit("case_id", "a number or a text")
        try:
            return self.case(record, f"{self.name}-{known_by}")
        except UsageError as error:
            raise RefusedFileError(f"{where}: {error.message}", hint=error.hint) from error

    def _other(self, record: Record) -> str:
        from editcore_bench.datasets.layouts import LAYOUTS  # which imports this module

        fitting = [layout for layout in LAYOUTS if record.value.keys() >= set(layout.keys)]
        closest = max(fitting, key=lambda layout: len(layout.keys), default=None)
        return (
            f"editcore datasets show {self.name}"
            if closest is None
            else f"read it as {closest.name}, whose keys it has"
        )
