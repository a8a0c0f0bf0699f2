"""Tiny models with random weights, one a family: for tests of anatomy, files and arithmetic, never of knowledge."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from editcore.testing.configurations import CONFIGURATIONS, WITH_STATE
from editcore_hooks import UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

FAMILIES: Final[tuple[str, ...]] = tuple(CONFIGURATIONS)
"""Every family that `tiny_model` can make. `gemma3` is a text model inside a multimodal one, `gemma3_text` that alone;
`falcon_new` has the block of Falcon 40B and later; `t5` is T5 1.0, `t5_gated` 1.1, with another MLP and a head."""
LINEAR_ATTENTION: Final[tuple[str, ...]] = tuple(each for each in WITH_STATE if each in CONFIGURATIONS)
"""Families with blocks that keep a state in place of keys and values, so no forward starts in the middle of a text."""


def tiny_model(family: str, folder: Path, *, seed: int = 0, n_layers: int = 3) -> Path:
    """Write a model of `family` into `folder`, as float32 with its tokenizer, and return the folder.

    Hidden size 32 and `n_layers` blocks (an encoder-decoder has one more in its encoder). The same seed gives the same
    bits. The global random state is not touched. Raises `UsageError` on an unknown family.
    """
    if family not in CONFIGURATIONS:
        raise UsageError(f"there is no tiny model of {family!r}", hint=f"choose one of {', '.join(FAMILIES)}")
    from editcore.models.loading.quiet import quiet
    from editcore.testing.tokenizers import TOKENIZERS

    make, style = CONFIGURATIONS[family]
    tokenizer = TOKENIZERS[style]()
    special = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    with quiet():
        model = _drawn(make(len(tokenizer), n_layers, special), seed)
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return Path(folder)


def _drawn(config: "PreTrainedConfig", seed: int) -> "PreTrainedModel":
    """A model with weights so wide that every part of it shows in the logits."""
    import torch
    from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, AutoModelForSeq2SeqLM

    auto: Any = AutoModelForCausalLM
    if hasattr(config, "vision_config"):
        auto = AutoModelForImageTextToText
    elif getattr(config, "is_encoder_decoder", False):
        auto = AutoModelForSeq2SeqLM
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model: PreTrainedModel = auto.from_config(config, dtype=torch.float32).eval().requires_grad_(False)
        if getattr(config, "scale_decoder_outputs", True) is False:
            # T5 1.1 is released with a head of its own, and transformers ties what is not stored twice
            model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone(), requires_grad=False)
        for parameter in model.parameters():
            if parameter.ndim == 1:  # biases, and norms, which start at 0 or 1
                parameter.add_(torch.randn_like(parameter), alpha=0.1)
            else:
                torch.nn.init.normal_(parameter, std=0.2)
    return model
