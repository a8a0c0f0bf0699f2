"""`editcore bench specs`."""

import click

from editcore.authoring.commands import Output, with_output


@click.command()
@click.argument("name", required=False)
@with_output
def specs(out: Output, name: str | None) -> None:
    """List the shipped specs, or print the spec NAME as a start for your own."""
    from editcore_bench.spec.shipped import find_spec, shipped_specs

    if name is not None:
        out.print(find_spec(name).read_text(encoding="utf-8").rstrip())
        return
    found = shipped_specs()
    if out.as_json:
        out.json([{"name": one.name, "title": one.title, "about": one.about} for one in found])
    else:
        out.table(["name", "title", "about"], [[one.name, one.title, one.about] for one in found])
