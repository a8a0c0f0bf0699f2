"""The model families that this repository knows by name. Each confirms what the structure of the model says."""

from typing import Final

from editcore.models.anatomy.families.falcon import Bloom, Falcon
from editcore.models.anatomy.families.gemma import Gemma, Gemma2, Gemma3, Gemma3Text
from editcore.models.anatomy.families.gpt import GPT2, GPTJ, GPTNeo, GPTNeoX
from editcore.models.anatomy.families.llama import Llama, Mistral, Phi3, Qwen2, Qwen3, Qwen3Next, Qwen35
from editcore.models.anatomy.families.opt import OPT, Phi
from editcore.models.anatomy.families.t5 import T5
from editcore_hooks import Architecture

ARCHITECTURES: Final[list[type[Architecture]]] = [
    GPT2,
    GPTNeo,
    GPTJ,
    GPTNeoX,
    Llama,
    Mistral,
    Qwen2,
    Qwen3,
    Qwen3Next,
    Qwen35,
    Phi3,
    Gemma,
    Gemma2,
    Gemma3,
    Gemma3Text,
    Phi,
    OPT,
    Falcon,
    Bloom,
    T5,
]
