"""The tokens that end an answer: end of text or, in a chat, the end of the model's turn."""

from typing import TYPE_CHECKING, Final

from jinja2 import TemplateError

from editcore_hooks import ChatTemplate

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_REPLY: Final = "\ue000"
"""Stands for the model's reply: a text that no template writes."""


def end_ids(tokenizer: "PreTrainedTokenizerBase", template: ChatTemplate | None = None) -> tuple[int, ...]:
    """The id that ends an answer to a prompt with this template; () where the tokenizer has none.

    The chat template shows what stands after a reply. One that writes no special token there, or takes no reply, leaves
    the end of text.
    """
    if template is not None and template.chat:
        others = {tokenizer.unk_token_id, tokenizer.bos_token_id}
        special = set(tokenizer.all_special_ids) - others | {tokenizer.eos_token_id}
        after = tokenizer(_after_reply(tokenizer, template), add_special_tokens=False).input_ids
        if (end := next((token for token in after if token in special), None)) is not None:
            return (int(end),)
    return () if tokenizer.eos_token_id is None else (int(tokenizer.eos_token_id),)


def ended(
    target: tuple[int, ...],
    tokenizer: "PreTrainedTokenizerBase",
    template: ChatTemplate | None = None,
    eos: bool | None = None,
) -> tuple[int, ...]:
    """The ids of a target with the id that ends the answer, if it has none yet. `eos` None: in a chat only."""
    if eos is False or (eos is None and not (template is not None and template.chat)):
        return target
    end = end_ids(tokenizer, template)
    return target if target[len(target) - len(end) :] == end else target + end


def _after_reply(tokenizer: "PreTrainedTokenizerBase", template: ChatTemplate) -> str:
    system = [] if template.system is None else [{"role": "system", "content": template.system}]
    turns = [*system, {"role": "user", "content": "?"}, {"role": "assistant", "content": _REPLY}]
    try:
        text = str(tokenizer.apply_chat_template(turns, tokenize=False))
    except (ValueError, TemplateError):  # it has no template, or one for questions alone
        return ""
    return text.partition(_REPLY)[2]
