"""`editcore bench`: run a benchmark, show what it found, compare it with another."""

import click

from editcore_bench.cli.compare import compare
from editcore_bench.cli.judge import judge
from editcore_bench.cli.report import report
from editcore_bench.cli.run import run
from editcore_bench.cli.specs import specs


@click.group(no_args_is_help=False)
def bench() -> None:
    """Measure editing methods on datasets: one command from a spec to a table and a page."""


for command in (run, report, compare, judge, specs):
    bench.add_command(command)
