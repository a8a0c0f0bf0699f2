"""Prompt templates: one `{}` marks the subject, `{{` and `}}` are braces."""

import re

from attrs import frozen

from editcore_hooks.errors import UsageError

_TOKEN = re.compile(r"\{\{|\}\}|\{\}|\{")


@frozen
class Rendered:
    """A text and the character range `[start, end)` of the subject in it; both are None when no `{}` was there."""

    text: str
    start: int | None
    end: int | None


def render(prompt: str, subject: str) -> Rendered:
    """Put `subject` at the `{}` of `prompt`. Raises `UsageError` on two placeholders or a lone `{`."""
    pieces: list[str] = []
    start: int | None = None
    length = position = 0
    for match in _TOKEN.finditer(prompt):
        pieces.append(prompt[position : match.start()])
        length += match.start() - position
        position = match.end()
        match match.group():
            case "{}":
                if start is not None:
                    raise UsageError(f"the prompt {prompt!r} has more than one {{}}", hint="mark the subject once")
                start = length
                piece = subject
            case "{":
                raise UsageError(f"the prompt {prompt!r} has a lone brace", hint="write {{ for a brace")
            case brace:
                piece = brace[0]
        pieces.append(piece)
        length += len(piece)
    pieces.append(prompt[position:])
    return Rendered("".join(pieces), start, None if start is None else start + len(subject))


def escape(text: str) -> str:
    """Write plain text as a prompt template: `render` gives it back."""
    return text.replace("{", "{{").replace("}", "}}")


def mark_subject(prompt: str, subject: str) -> str:
    """Give `prompt` its `{}`: as it is when present, else in place of the only occurrence of `subject`.

    Raises `UsageError` when the subject is empty, absent, or there more than once.
    """
    if not subject.strip():
        raise UsageError("the subject is empty", hint="name the thing that the fact is about")
    if render(prompt, subject).start is not None:
        return prompt
    literal = escape(subject)
    count = prompt.count(literal)
    if count != 1:
        where = "does not occur in" if count == 0 else f"occurs {count} times in"
        raise UsageError(f"the subject {subject!r} {where} the prompt {prompt!r}", hint="mark it with {}")
    return prompt.replace(literal, "{}")
