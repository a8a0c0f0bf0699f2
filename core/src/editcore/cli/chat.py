"""`editcore chat`: talk to a model with its patches, to its base, or to both side by side."""

import re
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches

if TYPE_CHECKING:
    from editcore.serving.engine import Engine

HELP = "/base, /stack and /both choose who answers; /new begins again; /quit ends"
_COMMAND = re.compile(r"/\w*")
"""What is meant as a command; a question may begin with a path."""
SIDES = {"base": (False,), "stack": (True,), "both": (False, True)}


@click.command()
@click.argument("model", metavar="FOLDER")
@click.option("--patch", "patches", multiple=True, metavar="PATCH", help="Also apply this patch, in memory.")
@click.option("--both", is_flag=True, help="Answer as the base and with the patches, side by side.")
@click.option("--system", help="System message.")
@click.option("--max-new-tokens", default=128, show_default=True, type=click.IntRange(min=1))
@model_options
@with_output
def chat(
    out: Output,
    model: str,
    patches: tuple[str, ...],
    both: bool,
    system: str | None,
    max_new_tokens: int,
    **options: Any,
) -> None:
    """Talk to FOLDER, one line a turn. A model without a chat template continues each line as it is."""
    from editcore.serving.engine import Engine

    loaded = load_patches(out, patches)
    session = open_session(out, model, **options)
    for patch in loaded:
        session.apply(patch)
    talk = _Talk(Engine(session), system, max_new_tokens)
    side = "both" if both else "stack"
    out.say(HELP)
    for line in _lines():
        command = line.removeprefix("/")
        if line.startswith("/") and command in ("quit", "new", *SIDES):
            if command == "quit":
                return
            side = side if command == "new" else command
            talk.forget()
            continue
        if _COMMAND.fullmatch(line):
            out.say(f"there is no command {line}: {HELP}")
            continue
        answers = [(stack, talk.answer(line, stack)) for stack in SIDES[side]]
        if out.as_json:
            out.json({"user": line, **{"stack" if stack else "base": text for stack, text in answers}})
        elif side == "both":
            out.table(["base", "with patches"], [[text.strip() for _, text in answers]])
        else:
            out.print(answers[0][1].strip())


class _Talk:
    """The conversations with the base and with the patches, each with its own answers."""

    def __init__(self, engine: "Engine", system: str | None, max_new_tokens: int) -> None:
        self.engine, self.system, self.max_new_tokens = engine, system, max_new_tokens
        self.turns: dict[bool, list[dict[str, str]]] = {}

    def forget(self) -> None:
        self.turns.clear()

    def answer(self, line: str, stack: bool) -> str:
        """The answer of one side, which remembers it."""
        from editcore.serving.engine import Wish

        wish = Wish(max_tokens=self.max_new_tokens, stack=stack)
        if not getattr(self.engine.session.tokenizer, "chat_template", None):
            return self.engine.reply(self.engine.ids_of_text(line), wish).text
        first = [{"role": "system", "content": self.system}] if self.system is not None else []
        turns = self.turns.setdefault(stack, first)
        turns.append({"role": "user", "content": line})
        text = self.engine.reply(self.engine.ids_of_chat(turns), wish).text
        turns.append({"role": "assistant", "content": text})
        return text


def _lines() -> Iterator[str]:
    """What the user writes, without empty lines, up to the end of the input."""
    while True:
        if sys.stdin.isatty():
            click.echo("> ", nl=False, err=True)
        line = sys.stdin.readline()
        if not line:
            return
        if line.strip():
            yield line.strip()
