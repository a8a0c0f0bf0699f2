"""The entry module: light, no torch."""

from typing import Any

from editcore_hooks import hookimpl

EDITCORE_API = ">=1.0,<2"


@hookimpl
def editcore_register_commands(cli: Any) -> None:
    cli.add("ability", "editcore_lm_eval.cli:ability", "Run tasks of lm-evaluation-harness with and without patches.")
