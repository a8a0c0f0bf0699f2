"""Tokenise a prompt, run a model on it, read and replace what flows through it. Imports torch."""

from editcore.models.batch import Batch, Positions, align, forward, pad
from editcore.models.branches import branch
from editcore.models.chat import render_chat
from editcore.models.generation import sample
from editcore.models.repeated import repeated_logits
from editcore.models.resume import Recorded, Resumed, record, resume
from editcore.models.scoring import Item, TargetLogits, target_logits, target_logprobs
from editcore.models.spans import encode, encode_prompt, encode_request, token_index
from editcore.models.tokens import bare, decode, tokenise
from editcore.models.tracing import Place, Tap, Trace

__all__ = [
    "Batch",
    "Item",
    "Place",
    "Positions",
    "Recorded",
    "Resumed",
    "Tap",
    "TargetLogits",
    "Trace",
    "align",
    "bare",
    "branch",
    "decode",
    "encode",
    "encode_prompt",
    "encode_request",
    "forward",
    "pad",
    "record",
    "render_chat",
    "repeated_logits",
    "resume",
    "sample",
    "target_logits",
    "target_logprobs",
    "token_index",
    "tokenise",
]
