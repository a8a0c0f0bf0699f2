"""A rollout gives what whole forwards of the same rows give, in every family, with weights changed in between."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

import editcore
from editcore.models.running.batch import decoder_start, forward, forward_pair, pad
from editcore.models.running.rollout import rollout
from editcore.testing.tiny import FAMILIES, tiny_model
from editcore_hooks import Site

ITEMS = [((5, 6, 7, 8, 9), (10, 11)), ((12, 13), (14,)), ((15, 16, 17), ())]
MORE = torch.tensor([[20, 21, 22], [23, 24, 25], [26, 27, 28]])


@torch.no_grad()
def whole(model: torch.nn.Module, tokens: Tensor) -> Tensor:
    """The logits after each item and each of its `tokens`, one unpadded row at a time, (B, 1 + n, V)."""
    found = []
    for (prompt, given), more in zip(ITEMS, tokens.tolist(), strict=True):
        if model.config.is_encoder_decoder:
            row = [decoder_start(model), *given, *more]
            logits = forward_pair(model, pad([prompt]), pad([row]))
        else:
            logits = forward(model, pad([[*prompt, *given, *more]]))
        found.append(logits[0, -len(more) - 1 :])
    return torch.stack(found)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layer", [0, 2])
def test_it_reads_what_whole_rows_read(family: str, layer: int, tmp_path: Path) -> None:
    session = editcore.open(tiny_model(family, tmp_path / "model"))
    start = rollout(session.anatomy, ITEMS, [Site("mlp_out", layer)])
    weight = session.anatomy.parameter(Site("mlp_out", layer))[1]
    for _ in range(2):
        written = start()
        once = written.read(MORE[:, :1])
        twice = once.read(MORE[:, 1:])
        again = written.read(MORE)  # from the same beginning
        found = torch.cat([written.logits, once.logits, twice.logits], 1)
        expected = whole(session.model, MORE)
        torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
        torch.testing.assert_close(again.logits, expected[:, 1:], rtol=1e-3, atol=1e-4)
        with torch.no_grad():
            weight.add_(torch.ones_like(weight), alpha=0.05)
