"""An id is cut to its beginning in one place, so that one can be looked for by what another message shows."""

import re
from pathlib import Path

import editcore
from editcore.text.ids import short, titled

ID = "0123456789abcdef" * 4
FILE_NAMES = "shards.py"  # a name on disk has digits of its own, whatever people are shown


def test_a_patch_is_named_by_twelve_characters_and_its_title() -> None:
    assert short(ID) == "0123456789ab"
    assert titled(ID, "") == "0123456789ab"
    assert titled(ID, "Ada lives in Rome") == "0123456789ab (Ada lives in Rome)"


def test_no_other_module_cuts_an_id_itself() -> None:
    sources = Path(editcore.__file__).parent.rglob("*.py")
    cutting = {path.name for path in sources if re.search(r"\[:12\]", path.read_text("utf-8"))}
    assert cutting == {FILE_NAMES}
