"""Edit requests from the command line: one by options, or many as JSON lines."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from editcore_hooks import Case, ChatTemplate, EditRequest, UsageError

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.option("--prompt", help="The statement up to what changes, with {} where the subject stands."),
    click.option("--subject", help="What the fact is about."),
    click.option("--target", help="What the model shall say after the prompt."),
    click.option("--target-true", help="What it said so far; needed by preference metrics."),
    click.option("--chat", is_flag=True, help="Put the prompt into the model's chat template."),
    click.option("--system", help="System text of the chat template."),
    click.option("--requests", metavar="FILE", help="Many requests, one JSON object a line; - reads standard input."),
)


def request_options(function: F) -> F:
    """The options that `read_requests` takes."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def read_requests(
    prompt: str | None,
    subject: str | None,
    target: str | None,
    target_true: str | None,
    chat: bool,
    system: str | None,
    requests: str | None,
) -> list[Case]:
    """The cases asked for. Raises `UsageError` when options are missing or mixed, or a file does not fit."""
    single = {"--prompt": prompt, "--subject": subject, "--target": target}
    if requests is not None:
        if any(single.values()) or target_true or chat or system:
            raise UsageError(
                "--requests stands alone: its lines hold prompt, subject and target",
                hint=f"give --requests {requests} only",
            )
        return read_file(requests)
    for option, value in single.items():
        if value is None:
            raise UsageError(f"{option} is missing", hint="give --prompt, --subject and --target, or --requests FILE")
    template = ChatTemplate(True, system) if chat or system else None
    assert prompt is not None
    assert subject is not None
    assert target is not None
    return [Case(EditRequest(prompt, subject, target, target_true, id="1", template=template))]


def read_file(name: str) -> list[Case]:
    """The cases of a file of JSON lines, `-` for standard input. Raises `UsageError`."""
    from editcore.evaluation.cases import read_cases

    if name == "-":
        cases = list(read_cases(sys.stdin, "standard input"))
    else:
        path = Path(name)
        if not path.is_file():
            raise UsageError(f"there is no file {name}", hint="give a file of JSON lines, or - for standard input")
        with path.open(encoding="utf-8") as lines:
            cases = list(read_cases(lines, path.name))
    if not cases:
        raise UsageError(f"{name} holds no request", hint='write {"prompt": …, "subject": …, "target_new": …} a line')
    return cases
