"""`python -m editcore_demo.split --out FILE` writes cases to train editors on, none of them about a bundled fact."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import click

from editcore_demo import cases as bundled
from editcore_demo.world import World, make_world
from editcore_demo.world.cases import cases

SEED: Final = 1
"""Another seed than that of the bundled cases: other prompts, other new targets."""


def training_cases(folder: Path | None = None) -> list[dict[str, Any]]:
    """A case for each fact of the world that no bundled case edits, with what asks of such a fact left out.

    `folder` is a model that the training script made, whose own cases are then the ones held apart.
    """
    world = make_world()
    apart = bundled() if folder is None else bundled(folder=folder)
    facts = {(case["subject"], case["target_true"]) for case in apart}
    sentences = {text for case in apart for text in _prompts(world, case)}
    return list(_without(cases(world, seed=SEED, knows=lambda *_: True), facts, sentences))


def _prompts(world: World, case: dict[str, Any]) -> Iterator[str]:
    """Every sentence that the fact of a bundled case can be asked by."""
    relation = case["id"].split("-")[1]
    for template in (*world.trained(case["subject"], relation), *world.held_out(case["subject"], relation)):
        yield template.replace("{}", case["subject"])


def _without(rows: list[dict[str, Any]], facts: set[tuple[str, str]], sentences: set[str]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if (row["subject"], row["target_true"]) in facts or row["prompt"].replace("{}", row["subject"]) in sentences:
            continue
        facets = {
            facet: [probe for probe in probes if probe["prompt"].rpartition(". ")[2] not in sentences]
            for facet, probes in row["locality"].items()
        }
        yield {**row, "locality": facets, "portability": {}}


@click.command()
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="File for the cases.")
@click.option("--model", type=click.Path(file_okay=False, path_type=Path), help="Folder of a model made by training.")
def main(out: Path, model: Path | None) -> None:
    """Write the training cases of the demo's world, one JSON object a line."""
    rows = training_cases(model)
    out.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    click.echo(f"{out}  {len(rows)} cases")


if __name__ == "__main__":
    main()
