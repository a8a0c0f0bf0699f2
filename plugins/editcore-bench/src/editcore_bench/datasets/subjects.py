"""Finds the subject in a prompt that does not mark it."""

import re

from editcore_bench.datasets.record import Record
from editcore_hooks import escape


def marked(record: Record, prompt_key: str, subject_key: str) -> tuple[str, str]:
    """The prompt of a record with `{}`, and the subject as the prompt spells it.

    Of several occurrences the last is marked, the one nearest to what the model has to say. A whole word comes before
    a part of one, the same letters before other cases. Raises `RefusedFileError` when the subject is not there.
    """
    prompt, subject = record.text(prompt_key), record.text(subject_key)
    literal = re.escape(subject)
    for pattern in (rf"(?<!\w){literal}(?!\w)", rf"(?i)(?<!\w){literal}(?!\w)", literal, rf"(?i){literal}"):
        found = list(re.finditer(pattern, prompt))
        if found:
            start, end = found[-1].span()
            return f"{escape(prompt[:start])}{{}}{escape(prompt[end:])}", prompt[start:end]
    raise record.misfit(prompt_key, f"a text with the subject {subject!r} in it")
