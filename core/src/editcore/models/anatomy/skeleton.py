"""The modules of a model without its weights: what is where, and what stores its weight which way round."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from editcore.models.loading.quiet import quiet
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def skeleton(folder: Path) -> "PreTrainedModel":
    """The language model that the config.json of `folder` describes, on the meta device and never quantised.

    Raises `UsageError` when transformers knows none.
    """
    import transformers
    from transformers import AutoConfig, AutoModelForCausalLM, AutoModelForSeq2SeqLM

    with quiet(), torch.device("meta"):
        config = AutoConfig.from_pretrained(folder)
        auto = AutoModelForSeq2SeqLM if config.is_encoder_decoder else AutoModelForCausalLM
        try:
            return auto.from_config(config)  # type: ignore[no-any-return, no-untyped-call]
        except ValueError as error:
            raise UsageError(
                f"transformers {transformers.__version__} has no language model for {folder}",
                hint="editcore export PATCH --to merged",
            ) from error
