"""Models that an old transformers reads wrongly, and says nothing."""

import sys
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

from packaging.version import Version

from editcore_hooks import RefusedFileError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

MASKED: Final = "5.15"
"""First transformers in which layers with a state heed the mask of a row that is alone in its batch."""


def heeds_masks() -> bool:
    """Whether the installed transformers is one of these."""
    return Version(version("transformers")) >= Version(MASKED)


def refuse_if_misread(model: "PreTrainedModel", name: str) -> None:
    """Raises `RefusedFileError` for a model with a state in place of keys and values, under transformers before 5.15:
    there padding on the left of a single row is read as text, so that a fact is edited with what nobody wrote."""
    if heeds_masks():
        return
    modules = {type(module).__module__ for module in model.modules()}
    if any(hasattr(sys.modules.get(each), "apply_mask_to_padding_states") for each in modules):
        raise RefusedFileError(
            f"transformers {version('transformers')} reads padding as text in {name}, a {model.config.model_type}",
            hint=f'pip install "transformers>={MASKED}"',
        )
