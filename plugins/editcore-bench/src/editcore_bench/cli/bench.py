"""`editcore bench`: run a benchmark, show what it found, compare it with another."""

import click

from editcore_bench.cli.compare import compare
from editcore_bench.cli.judge import judge
from editcore_bench.cli.report import report
from editcore_bench.cli.run import run
from editcore_bench.cli.specs import specs


@click.group(invoke_without_command=True)
@click.pass_context
def bench(context: click.Context) -> None:
    """Measure editing methods on datasets: one command from a spec to a table and a page."""
    if context.invoked_subcommand is None:
        click.echo(context.get_help())
        context.exit(2)


for command in (run, report, compare, judge, specs):
    bench.add_command(command)
