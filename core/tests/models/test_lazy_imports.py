"""The package is named without torch, and every name it promises is there."""

import subprocess
import sys

import pytest

import editcore.models


@pytest.mark.parametrize("module", ["", ".families", ".keys", ".source", ".weight_files", ".parameter_keys"])
def test_no_torch_is_imported(module):
    code = f"import sys, editcore.models{module}; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_promised_name_is_there():
    for name in editcore.models.__all__:
        assert getattr(editcore.models, name) is not None
    assert set(editcore.models.__all__) == set(editcore.models._MODULE_OF)


def test_another_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'utils'"):
        editcore.models.utils  # noqa: B018
