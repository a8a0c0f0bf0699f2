"""Edit requests from the command line: one by options, or many as JSON lines."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from editcore.text.shell import quoted
from editcore_hooks import Case, ChatTemplate, EditRequest, UsageError
from editcore_hooks.requests import TargetPrefix

F = TypeVar("F", bound=Callable[..., Any])

_CHAT = (
    click.option("--chat", is_flag=True, help="Put the prompt into the model's chat template."),
    click.option("--system", help="System text of the chat template."),
)
_OPTIONS = (
    click.option("--prompt", help="Statement up to the new answer, with {} for the subject."),
    click.option("--subject", help="Subject of the fact."),
    click.option("--target", help="New answer after the prompt."),
    click.option("--target-true", help="Answer before the edit; required by preference metrics."),
    *_CHAT,
    click.option(
        "--target-prefix",
        type=click.Choice(get_args(TargetPrefix)),
        default="auto",
        show_default=True,
        help="Text between prompt and target; auto: a blank if the script uses blanks.",
    ),
    click.option(
        "--requests", metavar="FILE", help="File of requests, one JSON object a line; - reads standard input."
    ),
)


def request_options(function: F) -> F:
    """The options that `read_requests` takes."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def chat_options(function: F) -> F:
    """`--chat` and `--system`, which `chat_template` takes."""
    for option in reversed(_CHAT):
        function = option(function)
    return function


def chat_template(chat: bool, system: str | None) -> ChatTemplate | None:
    """The template that the two options ask for; a system text alone asks for one too."""
    return ChatTemplate(True, system) if chat or system else None


def read_requests(
    prompt: str | None,
    subject: str | None,
    target: str | None,
    target_true: str | None,
    chat: bool,
    system: str | None,
    target_prefix: TargetPrefix,
    requests: str | None,
) -> list[Case]:
    """The cases asked for. Raises `UsageError` when options are missing or mixed, or a file does not fit."""
    single = {"--prompt": prompt, "--subject": subject, "--target": target}
    if requests is not None:
        if any(single.values()) or target_true or chat or system or target_prefix != "auto":
            raise UsageError(
                "--requests excludes these options: its lines hold prompt, subject and target",
                hint=f"give --requests {quoted(requests)} only",
            )
        return _without_end_blanks(read_file(requests))
    for option, value in single.items():
        if value is None:
            raise UsageError(f"{option} is missing", hint="give --prompt, --subject and --target, or --requests FILE")
    template = chat_template(chat, system)
    assert prompt is not None
    assert subject is not None
    assert target is not None
    request = EditRequest(prompt, subject, target, target_true, "1", template, target_prefix)
    return _without_end_blanks([Case(request)])


def _without_end_blanks(cases: list[Case]) -> list[Case]:
    """The cases as they are. Raises `UsageError` where a target ends with a blank, which no model says before a word:
    its blanks belong to the word that follows."""
    for case in cases:
        for request in case.requests:
            target = request.target_new
            if target.endswith((" ", "\t", "\N{NO-BREAK SPACE}")):
                written = target.rstrip(" \t\N{NO-BREAK SPACE}")
                which = f" of the request {request.id!r}" if len(cases) > 1 else ""
                raise UsageError(
                    f"the target {target!r}{which} ends with a blank",
                    hint=f"write it without: {written!r}",
                )
    return cases


def read_file(name: str) -> list[Case]:
    """The cases of a file of JSON lines, `-` for standard input. Raises `UsageError`."""
    from editcore.cases.reading import read_cases

    path = Path(name)
    if name != "-" and not path.is_file():
        raise UsageError(f"there is no file {name}", hint="give a file of JSON lines, or - for standard input")
    if path.suffix.lower() == ".csv":
        hint = f"editcore datasets convert LAYOUT {quoted(name)} --to {quoted(f'{path.stem}.jsonl')}"
        raise UsageError(f"{name} is a table, and requests are one JSON object a line", hint=hint)
    try:
        if name == "-":
            cases = list(read_cases(sys.stdin, "standard input"))
        else:
            with path.open(encoding="utf-8") as lines:
                cases = list(read_cases(lines, path.name))
    except UnicodeDecodeError as error:
        raise UsageError(f"{name} is not UTF-8: {error.reason}", hint="save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"cannot read {name}: {error.strerror}", hint="check the path") from error
    if not cases:
        raise UsageError(
            f"{name} holds no request", hint='write one {"prompt": …, "subject": …, "target_new": …} a line'
        )
    return cases
