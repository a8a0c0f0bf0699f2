"""MeLLo on a model with facts: the model writes greedily, and the facts are those of the patches that are on it."""

from importlib.resources import files
from typing import Any, Final

from editcore.authoring.memories import attached
from editcore.authoring.models import as_given, encode_prompt, generate
from editcore_hooks import UsageError
from editcore_ike.demonstrations import joined
from editcore_ike.mello.loop import RETRIEVED, Answer, answer
from editcore_ike.memory import Facts

DEMONSTRATIONS: Final = files("editcore_ike.mello").joinpath("demonstrations.txt").read_text("utf-8")
"""Four questions, answered step by step, in our words."""


def ask(
    model: Any,
    tokenizer: Any,
    question: str,
    *,
    hops: int = 4,
    floor: float | None = None,
    new_tokens: int = 256,
    demonstrations: str = DEMONSTRATIONS,
) -> Answer:
    """Answer a question of at most `hops` steps with the edited facts.

    `model` and `tokenizer` are those of `editcore.load` or of an open session. The facts are those of the patches of
    `retrieval`, `ike-prompt` and `ike` on it. A subquestion gets the most similar fact, from a cosine of `floor` on
    (default: that of the patch; -1 as published: always). The model writes greedily, at most `new_tokens` tokens a hop.

    Raises `UsageError` without facts, and where the prompt is longer than the model reads.
    """
    memories = [memory for memory in attached(model) if isinstance(memory, Facts)]
    if not memories:
        raise UsageError(
            "there are no facts on this model",
            hint="apply a patch of --method retrieval, or load a folder that carries one",
        )
    longest = int(getattr(model.config.get_text_config(), "max_position_embeddings", 0) or 1 << 30)
    both = bool(model.config.is_encoder_decoder)

    def write(text: str) -> str:
        length = len(encode_prompt(tokenizer, text, encoder_decoder=both).ids)
        room = new_tokens if both else min(new_tokens, longest - length)
        if length > longest or room < 1:
            raise UsageError(
                f"the prompt of MeLLo has {length} tokens, but the model reads {longest}",
                hint="ask a model that reads more, or give fewer demonstrations",
            )
        return generate(model, tokenizer, [text], room, stop=RETRIEVED)[0]

    def retrieve(subquestion: str) -> str | None:
        best, found = -2.0, None
        for memory in memories:
            similar = memory.similar(subquestion)  # (N,)
            value, i = float(similar.max()), int(similar.argmax())
            if value >= (memory.rule.floor if floor is None else floor) and value > best:
                prompt, target, _ = memory.records[i]
                best, found = value, f"{joined(prompt, target)}."
        return found

    with as_given(model):  # the facts are retrieved for each step, not put before the whole
        return answer(question, write, retrieve, demonstrations, hops)
