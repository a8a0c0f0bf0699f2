"""Neutral text: plain English in the manner of letters, manuals and reports, written for this purpose.

Nothing in it is a fact that someone would edit. To change a passage is to change `damage.ppl@1` and `damage.kl@1`.
Where a model never saw such English, its loss on it says little: then text of its own world is given, in a file.
"""

import hashlib
from pathlib import Path
from typing import Final

from attrs import frozen

from editcore_hooks import UsageError

NEUTRAL: Final = "neutral"
"""The `about` of a row of such text: it has no prompt and no continuation."""
PASSAGES: Final = (
    "The kitchen was quiet when she came down. Somebody had left the window open overnight, and the curtain was "
    "damp along its lower edge. She filled the kettle, set out two cups, and waited for the water to boil.",
    "Before you replace the filter, switch the pump off at the wall and let the pressure drop. Loosen both screws by "
    "half a turn, lift the cover straight up, and keep the rubber ring; it can be used again if it is not torn.",
    "Attendance fell a little in the second half of the year, mostly on weekday evenings. The committee does not think "
    "that the price of tickets was the reason, and proposes to look at the bus timetable first.",
    "If two numbers have the same remainder when they are divided by a third, then their difference can be divided by "
    "that third number without a remainder. The converse holds as well, and the proof is a single line.",
    "Thank you for your letter. We are sorry to hear that the parcel arrived late and that one corner of the box was "
    "crushed. A replacement was sent this morning; please keep the old one until the driver asks for it.",
    "It had rained for three days, and the path along the river could not be used. They went over the hill instead, "
    "slowly, because the older dog was tired, and reached the farm a little after dark.",
    "Mix the flour with the salt, rub in the butter until it looks like coarse sand, and add only as much cold water "
    "as the dough needs. Let it rest for half an hour before you roll it out.",
    "The function reads one line at a time, removes the blanks at both ends, and skips the line when nothing is left. "
    "It returns a list of the remaining lines in the order in which they were found.",
    "Some of the speakers argued that the new rule was too strict, others that it came too late. In the end it was "
    "agreed to try it for one season and to ask the members again afterwards.",
    "When the lamp turns green the machine is ready. Place the paper with the printed side down, close the lid, and "
    "press the large button once. If nothing happens, check that the tray is pushed in all the way.",
)


@frozen
class NeutralText:
    """Passages, and the sha256 of the file that they are from; None for those of this module."""

    passages: tuple[str, ...]
    sha256: str | None = None


OURS: Final = NeutralText(PASSAGES)


def read_neutral(path: Path) -> NeutralText:
    """One passage a line, each read once. Raises `UsageError` when there is no such file, or nothing in it."""
    if not path.is_file():
        raise UsageError(f"there is no file {path}", hint="name a text file with one neutral passage a line")
    data = path.read_bytes()
    try:
        lines = [line.strip() for line in data.decode("utf-8").splitlines()]
    except UnicodeDecodeError as error:
        raise UsageError(f"{path.name} is not UTF-8 text: {error.reason}") from None
    passages = tuple(dict.fromkeys(line for line in lines if line))
    if not passages:
        raise UsageError(f"{path.name} is empty", hint="write one neutral passage a line")
    return NeutralText(passages, hashlib.sha256(data).hexdigest())
