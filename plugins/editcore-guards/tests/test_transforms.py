"""RECT and PRUNE against plain maths, alone and on top of other patches."""

import math
import types

import pytest
import torch
from torch import Tensor

import editcore
from editcore import EditOptions, EditRequest
from editcore.models.tokens.spans import encode_request
from editcore.plugins.registry import Registry
from editcore_guards import hooks
from editcore_guards.dense import dense
from editcore_guards.hparams import PruneHparams
from editcore_guards.prune import directions_above, limited, prune, shrink, spectral_norm
from editcore_guards.rect import masked, rect, smaller
from editcore_hooks import (
    Dense,
    EditMethod,
    Location,
    LowRank,
    NoHparams,
    Payload,
    Rows,
    Site,
    Sparse,
    Update,
    UsageError,
    hookimpl,
)

SITE = Site("mlp_out", 1)
SHAPE = torch.Size([6, 9])


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def low_rank(r: int, size: float = 1.0, seed: int = 0) -> LowRank:
    return LowRank(size * drawn(SHAPE[0], r, seed=seed), drawn(r, SHAPE[1], seed=seed + 1))


@pytest.mark.parametrize("keep", [0.1, 0.4, 0.9, 1.0])
def test_rect_keeps_the_entries_with_the_largest_relative_change(keep: float) -> None:
    delta, weight = drawn(*SHAPE), drawn(*SHAPE, seed=5)
    found = masked(delta, weight, keep)
    n = delta.numel()
    ranked = sorted(range(n), key=lambda i: -abs(float(delta.flatten()[i])) / (abs(float(weight.flatten()[i])) + 1e-8))
    dropped = math.floor(round((1 - keep) * n, 6))
    kept = set(ranked[: n - dropped + 1]) if dropped else set(range(n))
    assert set(found.flatten().nonzero()[:, 0].tolist()) == kept
    assert torch.equal(found[found != 0], delta[found != 0])


def test_rect_writes_what_takes_fewer_bytes() -> None:
    few = torch.zeros(10, 10, dtype=torch.float64)
    few[2, 3] = 1.5
    made = smaller(few)
    assert isinstance(made, Sparse)
    assert torch.equal(dense(made, few.shape), few)
    assert isinstance(smaller(drawn(10, 10)), Dense)


@pytest.mark.parametrize(
    "update",
    [
        low_rank(2),
        Dense(drawn(*SHAPE)),
        Rows(torch.tensor([4, 1]), drawn(2, SHAPE[1])),
        Sparse(torch.tensor([[0, 5], [8, 1]]), drawn(2)),
    ],
    ids=["low_rank", "dense", "rows", "sparse"],
)
def test_every_kind_of_update_is_read_as_the_matrix_that_it_is(update: object) -> None:
    wanted = torch.zeros(SHAPE, dtype=torch.float64)
    match update:
        case LowRank(out, in_):
            wanted = out.float().double() @ in_.float().double()
        case Dense(delta):
            wanted = delta.float().double()
        case Rows(index, values):
            wanted[index] = values.float().double()
        case Sparse(index, values):
            wanted[index[0], index[1]] = values.float().double()
    torch.testing.assert_close(dense(update, SHAPE), wanted)  # type: ignore[arg-type]


def plain_prune(delta: Tensor, largest: float, base: float) -> Tensor:
    u, s, vt = torch.linalg.svd(delta, full_matrices=False)
    f = [math.log(x, base) - math.log(largest, base) + largest if x > largest else x for x in s.tolist()]
    return u @ torch.diag(torch.tensor([min(a, b) for a, b in zip(f, s.tolist(), strict=True)])).double() @ vt


@pytest.mark.parametrize("base", [math.e, 1.5])
@pytest.mark.parametrize("before", [None, drawn(*SHAPE, seed=9)], ids=["alone", "after others"])
@pytest.mark.parametrize("update", [low_rank(3, 4.0), Dense(4 * drawn(*SHAPE))], ids=["low_rank", "dense"])
def test_prune_shrinks_the_sum_as_a_whole_svd_does(update: LowRank | Dense, before: Tensor | None, base: float) -> None:
    largest = 3.0
    found, n = limited(update, before, SHAPE, largest, base)
    rest = torch.zeros(SHAPE, dtype=torch.float64) if before is None else before
    whole = dense(update, SHAPE) + rest
    torch.testing.assert_close(dense(found, SHAPE) + rest, plain_prune(whole, largest, base), rtol=1e-4, atol=1e-4)
    assert n == int((torch.linalg.svdvals(whole) > largest).sum()) > 0
    assert type(found) is type(update)


def test_prune_leaves_an_update_below_the_limit_to_the_bit() -> None:
    update = low_rank(2, 0.01)
    found, n = limited(update, None, SHAPE, 3.0, math.e)
    assert (found, n) == (update, 0)


def test_a_shrunk_value_is_never_larger_than_it_was() -> None:
    s = torch.tensor([0.11, 0.5, 5.0, 1e4], dtype=torch.float64)
    assert bool((shrink(s, 0.1, 1.2) <= s).all())  # s_max · ln α < 1: the logarithm alone would raise the first two
    assert float(shrink(torch.tensor(10.0), 0.1, math.e)) == pytest.approx(math.log(100) + 0.1)


@pytest.mark.parametrize("shape", [(4, 7), (7, 4)])
def test_directions_are_those_of_the_svd(shape: tuple[int, int]) -> None:
    delta = drawn(*shape)
    u, s, v = directions_above(delta, 1.0)
    wanted = torch.linalg.svdvals(delta)
    torch.testing.assert_close(s.sort(descending=True).values, wanted[wanted > 1.0])
    torch.testing.assert_close(delta @ v, u * s)
    assert spectral_norm(delta) == pytest.approx(float(wanted[0]))


class Large(EditMethod):
    """Writes a rank-one update of ten times the weight's own norm."""

    name = "large"
    Hparams = NoHparams

    @hookimpl
    def editcore_locate(self, session, requests, state):  # type: ignore[no-untyped-def]
        return Location((SITE,))

    @hookimpl
    def editcore_compute_update(self, session, requests, location, state):  # type: ignore[no-untyped-def]
        weight = session.anatomy.weight(SITE)
        ids = encode_request(session.tokenizer, requests[0]).ids
        out = torch.randn(weight.shape[0], 1, generator=torch.Generator().manual_seed(sum(ids)))
        in_ = torch.ones(1, weight.shape[1])
        size = 2 * float(torch.linalg.matrix_norm(weight, 2)) / float(out.norm() * in_.norm())
        return Update({SITE: LowRank(out * size, in_)})


MODULE = types.ModuleType("large")
MODULE.editcore_register_methods = hookimpl(lambda: [Large])  # type: ignore[attr-defined]
REGISTRY = Registry.of(hooks, MODULE)
REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("{} lives in", "Bo Quist", "Oslo", id="2"),
]


@pytest.fixture(params=["gpt2", "llama"])
def session(request: pytest.FixtureRequest) -> editcore.Session:
    return editcore.open(request.getfixturevalue(f"{request.param}_folder"), registry_=REGISTRY)


def test_both_are_opted_into_by_name_and_recorded(session: editcore.Session) -> None:
    plain = session.edit_all(REQUESTS[:1], EditOptions("large"))
    made = session.edit_all(REQUESTS[:1], EditOptions("large", transforms=("rect:keep=0.25", "prune:base=2")))
    assert [(record["name"], record["hparams"]) for record in made.about["transforms"]] == [
        ("rect", {"keep": 0.25}),
        ("prune", {"base": 2.0}),
    ]
    assert plain.about["transforms"] == []
    assert made.patch_id != plain.patch_id
    weight = session.anatomy.weight(SITE)
    kept = made.about["notes"][0]["rect"][str(SITE)]
    assert kept == weight.numel() - int(0.75 * weight.numel()) + 1


def test_edits_in_sequence_are_pruned_as_their_sum(session: editcore.Session) -> None:
    weight = session.anatomy.weight(SITE).clone().double()
    largest = float(torch.linalg.matrix_norm(weight, 2))
    options = EditOptions("large", transforms=("prune",))
    first = session.edit_all(REQUESTS[:1], options)
    with session.patched(first):
        second = session.edit_all(REQUESTS[1:], options)
        plain = session.edit_all(REQUESTS[1:], EditOptions("large"))
        with session.patched(plain):
            whole = session.anatomy.weight(SITE).double() - weight
        with session.patched(second):
            found = session.anatomy.weight(SITE).double() - weight
    torch.testing.assert_close(found, plain_prune(whole, largest, math.e), rtol=1e-3, atol=1e-4)
    assert float(torch.linalg.matrix_norm(found, 2)) < float(torch.linalg.matrix_norm(whole, 2))


def test_an_update_without_weights_is_refused(session: editcore.Session) -> None:
    update = Update(payload=Payload("toy"))
    for transform in (lambda: rect(session, update, 0.4), lambda: prune(session, update, PruneHparams().base)):
        with pytest.raises(UsageError, match="changes weights") as caught:
            transform()
        assert caught.value.hint
