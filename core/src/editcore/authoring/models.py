"""Tokenise a prompt, run a model on it, read and replace what flows through it. Imports torch."""

from editcore.models.anatomy.mlp import Mlp, mlp_of, neurons
from editcore.models.running.batch import Batch, Positions, align, forward, pad
from editcore.models.running.branches import Branches, branch
from editcore.models.running.cached_logits import cached_logits
from editcore.models.running.generation import generate, sample
from editcore.models.running.resume import Recorded, Resumed, record, resume
from editcore.models.running.rewriting import as_given
from editcore.models.running.rollout import Written, rollout
from editcore.models.running.scoring import Item, TargetLogits, target_logits, target_logprobs
from editcore.models.running.states import mean_states
from editcore.models.running.tracing import Place, Tap, Trace
from editcore.models.tokens.chat import render_chat
from editcore.models.tokens.ends import end_ids, ended
from editcore.models.tokens.spans import encode, encode_prompt, encode_request, joined_target, token_index
from editcore.models.tokens.tokenising import bare, decode, tokenise

__all__ = [
    "Batch",
    "Branches",
    "Item",
    "Mlp",
    "Place",
    "Positions",
    "Recorded",
    "Resumed",
    "Tap",
    "TargetLogits",
    "Trace",
    "Written",
    "align",
    "as_given",
    "bare",
    "branch",
    "cached_logits",
    "decode",
    "encode",
    "encode_prompt",
    "encode_request",
    "end_ids",
    "ended",
    "forward",
    "generate",
    "joined_target",
    "mean_states",
    "mlp_of",
    "neurons",
    "pad",
    "record",
    "render_chat",
    "resume",
    "rollout",
    "sample",
    "target_logits",
    "target_logprobs",
    "token_index",
    "tokenise",
]
