"""The entry module: light, no torch."""

from typing import Any

from editcore_hooks import hookimpl

EDITCORE_API = ">=1.0,<2"


@hookimpl
def editcore_register_commands(cli: Any) -> None:
    cli.add("bench", "editcore_bench.cli.bench:bench", "Run benchmarks of editing methods, and report them.")
