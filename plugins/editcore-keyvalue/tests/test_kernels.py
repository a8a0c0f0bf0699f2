"""Quicker kernels give what the model's own give, and leave nothing behind."""

from pathlib import Path

import pytest
import torch

import editcore
from editcore.models.running.batch import forward, pad
from editcore.testing.tiny import tiny_model
from editcore_hooks import UsageError
from editcore_keyvalue.kernels import quick_kernels

IDS = [[5, 6, 7, 8, 9], [10, 11, 12]]


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("bfloat16", 1e-1)])
@pytest.mark.parametrize("family", ["gpt2", "llama"])
def test_logits_are_those_of_the_model(family: str, dtype: str, tolerance: float, tmp_path: Path) -> None:
    session = editcore.open(tiny_model(family, tmp_path / "model"), dtype=dtype)
    with torch.no_grad():
        plain = forward(session.model, pad(IDS))
        with quick_kernels(session.anatomy):
            quick = forward(session.model, pad(IDS))
    torch.testing.assert_close(quick, plain, rtol=tolerance, atol=tolerance)
    for module in session.model.modules():
        assert "forward" not in vars(module)


def test_an_exception_leaves_nothing_either(tmp_path: Path) -> None:
    session = editcore.open(tiny_model("gpt2", tmp_path / "model"))
    with pytest.raises(UsageError), quick_kernels(session.anatomy):
        session.encode(editcore.EditRequest("no mark", "Ada Marlow", "pilot"))
    assert not any("forward" in vars(module) for module in session.model.modules())
