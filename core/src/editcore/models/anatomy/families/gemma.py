"""Gemma. Embeddings are scaled by √d where they are read; the head is tied to them.

From Gemma 2 on a norm stands *after* attention and MLP too, before their outputs are added to the residual:
`h + norm(down_proj(…))`. `mlp_out` is the down-projection, as everywhere, and its output is what comes before that
norm, so a change of it is not the change of the residual.
"""

from collections.abc import Mapping
from typing import ClassVar, Final

from editcore.models.anatomy.families.llama import Llama


class Gemma(Llama):
    name = "gemma"
    summary = "Gemma 1: gated MLP, tied head"


class Gemma2(Gemma):
    name = "gemma2"
    summary = "Gemma 2: a norm after attention and MLP too, logits capped"


class Gemma3Text(Gemma):
    name = "gemma3_text"
    summary = "Gemma 3, text alone: a norm after attention and MLP too"


class Gemma3(Gemma):
    """The text model inside the multimodal one; the vision tower has no sites.

    The files say `language_model.model.layers`, the modules of transformers 5 `model.language_model.layers`; some
    conversions keep the modules' names.
    """

    name = "gemma3"
    summary = "Gemma 3 with a vision tower: the text model inside"
    blocks = "model.language_model.layers"
    parts: ClassVar[Mapping[str, str]] = {
        **Gemma.parts,
        "final_norm": "model.language_model.norm",
        "embed": "model.language_model.embed_tokens",
    }
    prefixes = ("model.language_model.", "language_model.model.", "language_model.", "model.")


ARCHITECTURES: Final = [Gemma, Gemma2, Gemma3, Gemma3Text]
