"""A prompt as the user's turn of a chat, with the subject still in sight."""

from typing import TYPE_CHECKING

from jinja2 import TemplateError

from editcore_hooks import ChatTemplate, Rendered, UsageError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PRIVATE_USE = range(0xE000, 0xF900)


def render_chat(tokenizer: "PreTrainedTokenizerBase", prompt: Rendered, template: ChatTemplate) -> Rendered:
    """Put the prompt into the tokenizer's chat template, up to where the model answers.

    The subject is followed through the template by two marks around it, not searched for: a system message may hold
    the same words. Raises `UsageError` without a template, or when the template changes the prompt.
    """
    text = _apply(tokenizer, prompt.text, template)
    if prompt.start is None or prompt.end is None:
        return Rendered(text, None, None)
    opening, closing = _unused_marks(prompt.text + text)
    marked = (
        f"{prompt.text[: prompt.start]}{opening}{prompt.text[prompt.start : prompt.end]}{closing}"
        f"{prompt.text[prompt.end :]}"
    )
    traced = _apply(tokenizer, marked, template)
    start, end = traced.find(opening), traced.find(closing) - 1
    if traced.replace(opening, "").replace(closing, "") != text or traced.count(opening) != 1 or start < 0:
        raise UsageError(
            f"the chat template does not repeat the prompt {prompt.text!r} as it is", hint="leave out the template"
        )
    return Rendered(text, start, end)


def turn_ends(tokenizer: "PreTrainedTokenizerBase") -> frozenset[int]:
    """The special token that the chat template puts after the model's answer; empty without one.

    The settings of a model do not always list it as an end of text.
    """
    if not tokenizer.chat_template:
        return frozenset()
    mark = chr(_PRIVATE_USE[0])
    messages = [{"role": "user", "content": "a"}, {"role": "assistant", "content": mark}]
    try:
        text = str(tokenizer.apply_chat_template(messages, tokenize=False))
    except (ValueError, TemplateError):
        return frozenset()
    after = tokenizer(text.partition(mark)[2].lstrip(), add_special_tokens=False, verbose=False)["input_ids"]
    return frozenset(after[:1]) & frozenset(tokenizer.all_special_ids)


def _apply(tokenizer: "PreTrainedTokenizerBase", content: str, template: ChatTemplate) -> str:
    system = [] if template.system is None else [{"role": "system", "content": template.system}]
    messages = [*system, {"role": "user", "content": content}]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    except (ValueError, TemplateError) as error:
        message = f"this tokenizer cannot put the prompt into a chat: {str(error).splitlines()[0].rstrip('.')}"
        raise UsageError(message, hint="leave out the template, or its system message") from error
    return str(text)


def _unused_marks(text: str) -> tuple[str, str]:
    unused = (chr(code) for code in _PRIVATE_USE if chr(code) not in text)
    return next(unused), next(unused)
