"""`python -m editcore_demo.train --shape gpt2 --out DIR` makes a demo model from nothing."""

from pathlib import Path

import click

from editcore.authoring.sources import settle


@click.command()
@click.option("--shape", type=click.Choice(["gpt2", "llama", "t5"]), default="gpt2", show_default=True)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, help="Folder for the model.")
@click.option(
    "--steps", type=click.IntRange(1), default=None, help="Steps of about 1024 tokens.  [default: 3000; 4000 for t5]"
)
@click.option(
    "--seed",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    help="Seed of weights and packing; the world has its own.",
)
@click.option("--threads", type=click.IntRange(1), default=2, show_default=True)
def main(shape: str, out: Path, steps: int | None, seed: int, threads: int) -> None:
    """Train a small model on the world, save it in 16 bits with its cases, and print what it knows."""
    settle()  # before torch is loaded
    import torch

    from editcore_demo.training.loop import Schedule
    from editcore_demo.training.run import make
    from editcore_demo.training.shapes import SHAPES

    torch.set_num_threads(threads)
    chosen = SHAPES[shape]
    schedule = Schedule(steps or chosen.steps, chosen.learning_rate, seed=seed)
    make(shape, out, schedule, say=lambda line: click.echo(line))


if __name__ == "__main__":
    main()
