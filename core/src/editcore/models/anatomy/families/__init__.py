"""The model families that this repository knows by name. Each confirms what the structure of the model says."""

from typing import Final

from editcore.models.anatomy.families import falcon, gemma, gpt, llama, opt, t5
from editcore_hooks import Architecture

ARCHITECTURES: Final[list[type[Architecture]]] = [
    *gpt.ARCHITECTURES,
    *llama.ARCHITECTURES,
    *gemma.ARCHITECTURES,
    *opt.ARCHITECTURES,
    *falcon.ARCHITECTURES,
    *t5.ARCHITECTURES,
]
