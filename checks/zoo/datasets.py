"""Dataset layouts: an honest one, and those that break one rule each."""

import csv
import json

from attrs import evolve

from editcore_hooks import Case, Dataset, EditRequest, Probe, RefusedFileError

SAMPLE = (
    '{"question": "Ada Marlow works as a", "subject": "Ada Marlow", "answer": "pilot"}\n'
    '{"question": "Bo Quist lives in", "subject": "Bo Quist", "answer": "Cairo"}\n'
)


class Lines(Dataset):
    name = "toy-lines"
    summary = "one question a line"
    files = "*.jsonl"
    keys = ("question", "subject", "answer")

    @classmethod
    def sample(cls):
        return SAMPLE

    def read(self, path):
        lines = [line for line in path.read_text("utf-8").splitlines() if line.strip()]
        if not lines:
            raise RefusedFileError(f"{path.name} is empty", hint="write one object a line")
        for number, line in enumerate(lines, 1):
            yield self.case(self.record(line, f"line {number}"), f"toy-{number}")

    def record(self, line, where):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise RefusedFileError(f"{where} is not JSON", hint="write one object a line") from error
        if not isinstance(record, dict):
            raise RefusedFileError(f"{where} is no object", hint="write one object a line")
        for key in self.keys:
            if not isinstance(record.get(key), str):
                raise self.misfit(where, key)
        return record

    def misfit(self, where, key):
        return RefusedFileError(f"{where}: {key!r} should be a text", hint="correct it")

    def case(self, record, id):
        return Case(EditRequest(record["question"], record["subject"], record["answer"], id=id))


class ShowsNoSample(Lines):
    @classmethod
    def sample(cls):
        return ""


class CountsItsReadings(Lines):
    readings = 0

    def read(self, path):
        CountsItsReadings.readings += 1
        return super().read(path)

    def case(self, record, id):
        return super().case(record, f"{id}-{self.readings}")


class CallsAllAlike(Lines):
    def case(self, record, id):
        return super().case(record, "toy")


class InventsAFacet(Lines):
    def case(self, record, id):
        return evolve(super().case(record, id), locality={"weather": (Probe("It is", ("raining",)),)})


class FillsIn(Lines):
    """Takes what is missing to be the subject."""

    def record(self, line, where):
        record = json.loads(line) if line.startswith("{") and line.endswith("}") else None
        if not isinstance(record, dict):
            raise RefusedFileError(f"{where} is no object", hint="write one object a line")
        known = record.get("subject") or record.get("question", "").partition(" works")[0].partition(" lives")[0]
        return {"question": f"{known} is a", "answer": "pilot", **record, "subject": known}


class SaysNoKey(Lines):
    def misfit(self, where, key):
        return RefusedFileError(f"{where} does not fit", hint="correct it")


class FallsOverText(Lines):
    def record(self, line, where):
        record = json.loads(line)
        for key in self.keys:
            if not isinstance(record, dict) or not isinstance(record.get(key), str):
                raise self.misfit(where, key)
        return record


class Table(Lines):
    """The same as CSV with a header."""

    name = "toy-table"
    files = "*.csv"
    required = Lines.keys

    @classmethod
    def sample(cls):
        first = '"Ada Marlow, as people know, works as a",Ada Marlow,pilot'
        return f"question,subject,answer\n{first}\nBo Quist lives in,Bo Quist,Cairo\n"

    def read(self, path):
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            for key in self.required:
                if key not in (rows.fieldnames or ()):
                    raise self.misfit(path.name, key)
            for number, row in enumerate(rows, 1):
                yield self.case(row, f"toy-{number}")


class FillsAColumn(Table):
    """Takes an answer that is missing to be a pilot."""

    required = ("question", "subject")

    def case(self, record, id):
        return super().case({"answer": "pilot", **record}, id)
