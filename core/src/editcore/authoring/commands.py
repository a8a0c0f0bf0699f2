"""Parts for a plugin's command: options, output, patches and cases named on the command line."""

from editcore.cli.bars import Progress
from editcore.cli.inspect import show
from editcore.cli.model import model_options, open_session
from editcore.cli.options import with_output
from editcore.cli.output import Output
from editcore.cli.patch_files import load_patches
from editcore.cli.requests import read_file
from editcore.text.shell import quoted

__all__ = [
    "Output",
    "Progress",
    "load_patches",
    "model_options",
    "open_session",
    "quoted",
    "read_file",
    "show",
    "with_output",
]
