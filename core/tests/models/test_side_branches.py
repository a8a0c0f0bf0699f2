"""Branches of one sort run as one: the sum is theirs, and a thousand patches are not a thousand products."""

from typing import Any

import pytest
import torch
from torch import nn

from editcore.models.anatomy.mlp import neurons
from editcore.models.running.side_branches import Branch, LowRankBranch, SideBranches

D = 6


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


def units(n: int, biased: bool, gated: bool) -> Any:
    gate = drawn(n, D + 2)[:, 2:] if gated else None
    return neurons(nn.GELU(), drawn(n, D), drawn(n, D + 1)[:, 1:], drawn(n) if biased else None, gate)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("biased", [(True, True), (True, False), (False, False)])
def test_units_joined_are_their_sum(gated: bool, biased: tuple[bool, bool]) -> None:
    some = [units(n, one, gated) for n, one in zip((2, 3), biased, strict=True)]
    x = drawn(4, D)
    joined = type(some[0]).joined(some)
    torch.testing.assert_close(joined(x), some[0](x) + some[1](x))
    assert (joined.biases is None) is (not any(biased))


def test_low_ranks_joined_are_their_sum() -> None:
    some = [LowRankBranch(drawn(5, r), drawn(r, D)) for r in (1, 2)]
    x = drawn(4, D)
    torch.testing.assert_close(LowRankBranch.joined(some)(x), some[0](x) + some[1](x))


def test_many_at_one_module_are_computed_as_one_and_others_by_themselves() -> None:
    module, branches, calls = nn.Linear(D, D), SideBranches(), []

    def alone(x: torch.Tensor) -> torch.Tensor:
        calls.append("alone")
        return 2 * x

    class Counted(LowRankBranch):
        def __call__(self, x: torch.Tensor) -> torch.Tensor:
            calls.append("joined")
            return super().__call__(x)

        @classmethod
        def joined(cls, several: Any) -> "Counted":
            made = LowRankBranch.joined(several)
            return cls(made.out, made.in_)

    x, some = drawn(4, D), [Counted(drawn(D, 1) * i, drawn(1, D)) for i in range(1, 9)]
    plain, expected = module(x), module(x) + 2 * x + sum(LowRankBranch.__call__(one, x) for one in some)
    for i, one in enumerate(some):
        branches.put(f"{i}", [Branch(module, module, one)])
    branches.put("9", [Branch(module, module, alone)])
    torch.testing.assert_close(module(x), expected)
    assert sorted(calls) == ["alone", "joined"]
    with branches.only(["3"]):
        torch.testing.assert_close(module(x), plain + LowRankBranch.__call__(some[3], x))
    for i in range(8):
        branches.take(f"{i}")
    branches.take("9")
    assert torch.equal(module(x), plain)
    assert not module._forward_hooks
