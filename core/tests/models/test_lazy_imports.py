"""What the command line reads of models imports no torch."""

import subprocess
import sys

import pytest

LIGHT = (
    "",
    ".anatomy.families",
    ".anatomy.keys",
    ".anatomy.parameter_keys",
    ".loading.source",
    ".loading.weight_files",
)


@pytest.mark.parametrize("module", LIGHT)
def test_no_torch_is_imported(module):
    code = f"import sys, editcore.models{module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
