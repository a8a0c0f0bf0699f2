"""The entry module: light, no torch."""

from typing import Any

from editcore_hooks import Dataset, hookimpl

EDITCORE_API = ">=1.0,<2"


@hookimpl
def editcore_register_datasets() -> list[type[Dataset]]:
    from editcore_bench.datasets.layouts import LAYOUTS

    return list(LAYOUTS)


@hookimpl
def editcore_register_commands(cli: Any) -> None:
    cli.add("bench", "editcore_bench.cli.bench:bench", "Run benchmarks of editing methods, and report them.")
    cli.add("easyedit", "editcore_bench.easyedit.cli:easyedit", "Read settings and results of EasyEdit.")
    cli.add("datasets", "editcore_bench.datasets.cli:datasets", "List datasets, and convert published files to cases.")
