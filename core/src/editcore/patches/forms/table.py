"""The closed table of forms: the one place that knows which there are. What each answers is in `form`."""

from collections.abc import Mapping
from typing import Any, Final

from editcore.patches.forms.bits import Bits
from editcore.patches.forms.dense import DENSE
from editcore.patches.forms.form import Form
from editcore.patches.forms.low_rank import LOW_RANK
from editcore.patches.forms.replace import REPLACE
from editcore.patches.forms.rows import ROWS
from editcore.patches.forms.sparse import SPARSE
from editcore.patches.forms.xor import XOR
from editcore_hooks import RefusedFileError

UPGRADE: Final = "pip install --upgrade editcore"

FORMS: Final[Mapping[str, Form]] = {form.name: form for form in (LOW_RANK, DENSE, SPARSE, ROWS, XOR, REPLACE)}

EXCLUSIVE: Final[Mapping[str, Bits]] = {name: form for name, form in FORMS.items() if isinstance(form, Bits)}
"""Forms that say what the bits become, not what is added: each excludes every other patch on its tensor."""

SPELLINGS: Final = (DENSE, ROWS, SPARSE)
"""Forms that say a delta element by element, in the order in which equally small ones are taken."""


def form_named(form: Any, what: str = "it") -> Form:
    """The form of that name; a form is itself. Raises `RefusedFileError` for any other; `what` has it."""
    if isinstance(form, Form):
        return form
    if not isinstance(form, str) or form not in FORMS:
        raise RefusedFileError(f"{what} has form {form!r}: this version of editcore does not read it", hint=UPGRADE)
    return FORMS[form]
