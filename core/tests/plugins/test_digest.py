"""The digest tells any two updates apart that are not the same to the last bit."""

import numpy
import pytest
import torch

from editcore.plugins.digest import digest
from editcore_hooks import Dense, LowRank, Payload, PluginError, Site, Sparse, Update

SITE, OTHER = Site("mlp_out", 0), Site("mlp_out", 1)


def update(delta, **rest):
    return Update({SITE: Dense(delta)}, **rest)


def test_equal_updates_have_one_digest_whatever_the_order_of_their_mappings():
    one = Update({SITE: Dense(torch.ones(2)), OTHER: Dense(torch.zeros(2))}, notes={"a": 1, "b": (2,)})
    two = Update({OTHER: Dense(torch.zeros(2)), SITE: Dense(torch.ones(2))}, notes={"b": [2], "a": 1})
    assert digest(one) == digest(two)


def test_a_view_and_a_copy_of_the_same_numbers_are_the_same():
    square = torch.arange(9.0).reshape(3, 3)
    assert digest(update(square.T)) == digest(update(square.T.clone(memory_format=torch.contiguous_format)))


@pytest.mark.parametrize(
    "other",
    [
        update(torch.zeros(2, 3), notes={"a": 1}),
        update(torch.zeros(3, 2)),
        update(torch.zeros(2, 3, dtype=torch.bfloat16)),
        update(torch.zeros(2, 3, dtype=torch.float64)),
        update(-torch.zeros(2, 3)),
        update(torch.full((2, 3), torch.nan)),
        Update({OTHER: Dense(torch.zeros(2, 3))}),
        Update({SITE: LowRank(torch.zeros(2, 1), torch.zeros(1, 3))}),
        update(torch.zeros(2, 3), state_increment={"key": torch.zeros(1)}),
        Update(payload=Payload("memory", {"k": "v"})),
        Update(payload=Payload("memory", tensors={"k": torch.zeros(1)})),
    ],
)
def test_any_difference_shows(other):
    assert digest(other) != digest(update(torch.zeros(2, 3)))


@pytest.mark.parametrize(("one", "two"), [(1, 1.0), (1, True), ("1", 1), (["ab", "c"], ["a", "bc"]), ([[], 1], [[1]])])
def test_values_of_different_types_or_nesting_differ(one, two):
    assert digest({"a": one}) != digest({"a": two})


def test_integer_indices_and_numpy_arrays_are_hashed():
    sparse = Update({SITE: Sparse(torch.tensor([[0], [1]]), torch.ones(1))})
    assert digest(sparse) != digest(Update({SITE: Sparse(torch.tensor([[1], [0]]), torch.ones(1))}))
    assert digest(numpy.zeros(2)) != digest(numpy.zeros(2, dtype="float32"))


def test_what_is_no_value_is_refused():
    with pytest.raises(PluginError, match="returned 'object'"):
        digest(Update(notes={"x": object()}))
