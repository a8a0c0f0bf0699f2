"""Decision, answer and loss match plain ones, written from the paper's equations with loops."""

import math

import pytest
import torch
from torch import Tensor

from editcore.authoring.memories import Seen
from editcore_hooks import Site
from editcore_serac.learner import scope_loss
from editcore_serac.memory import Entry, Scoped, answer
from editcore_serac.nets import Nets

D, P, R, N, B, S = 6, 4, 5, 7, 9, 3
SITE = Site("block", 0)


@pytest.fixture
def nets() -> Nets:
    torch.manual_seed(0)
    nets = Nets(D, P, R)
    nets.collect(torch.randn(20, 2 * D), torch.randn(20, D))
    return nets.requires_grad_(False)


@pytest.fixture
def entries() -> list[Entry]:
    torch.manual_seed(1)
    return [
        Entry(f"prompt {i % 5}", torch.randn(P), torch.randn(i % 3 + 2, R), torch.randn(i % 3 + 1, D)) for i in range(N)
    ]


def rows() -> Seen:
    torch.manual_seed(2)
    states = 3 * torch.randn(B, S, D)
    last = torch.tensor([i % S for i in range(B)])
    return Seen(states, states, torch.arange(S)[None] <= last[:, None], last)


def plain_decision(nets: Nets, entries: list[Entry], states: Tensor, last: int, threshold: float) -> str | None:
    """The prompt of the edit with the highest g(z, x), if that is above the threshold."""
    f = torch.cat([states[last], sum(states[: last + 1]) / (last + 1)])
    e = torch.stack(
        [sum((f[j] - nets.centre[j]) / nets.spread[j] * nets.project[j, k] for j in range(2 * D)) for k in range(P)]
    )
    latest = {entry.prompt: entry for entry in entries}
    scores = {prompt: math.exp(-sum(float(x) ** 2 for x in entry.vector - e)) for prompt, entry in latest.items()}
    best = max(scores, key=lambda prompt: scores[prompt])
    return best if scores[best] > threshold else None


@pytest.mark.parametrize("threshold", [0.02, 0.5])
def test_the_decision_is_the_papers(nets, entries, threshold):
    seen = rows()
    memory = Scoped(SITE, SITE, nets.kept(), entries, threshold, None)
    found = [memory.entries[i].prompt if i >= 0 else None for i in memory.decide(seen).tolist()]
    wanted = [plain_decision(nets, entries, seen.outputs[b], int(seen.last[b]), threshold) for b in range(B)]
    assert found == wanted
    assert None in found
    assert memory.decide(seen.rows(torch.tensor([4]))).tolist() == memory.decide(seen)[4:5].tolist()


def test_the_threshold_of_one_half_is_a_squared_distance_of_ln_2(nets):
    seen = rows().rows(torch.tensor([0]))
    e = nets.encode(torch.cat([seen.at_last(seen.outputs), seen.mean(seen.outputs)], -1))[0]
    for distance, wanted in ((math.log(2) * 0.99, 0), (math.log(2) * 1.01, -1)):
        away = torch.zeros(P)
        away[1] = distance**0.5
        one = Entry("x", e + away, torch.zeros(2, R), torch.zeros(1, D))
        assert int(Scoped(SITE, SITE, nets.kept(), [one], 0.5, None).decide(seen)) == wanted


def test_of_one_prompt_the_latest_counts_and_the_earlier_is_kept(nets, entries):
    memories = [Scoped(SITE, SITE, nets.kept(), [entry], 0.5, None) for entry in entries]
    joined = Scoped.joined(memories)
    assert [entry.prompt for entry in joined.entries] == [f"prompt {i}" for i in (2, 3, 4, 0, 1)]
    assert joined.entries[-1] is entries[6]
    assert Scoped.joined(memories[:6]).entries[-1] is not entries[6]


def test_the_answer_is_a_mixture_of_the_targets_rows_and_the_rows_own_state(nets, entries):
    states, entry = rows().outputs[3], entries[2]
    found = answer(states, nets.query, entry)
    for s in range(S):
        centred = states[s] - states[s].mean()
        n = centred / (centred.square().mean() + 1e-5).sqrt()
        weights = [math.exp(float((n @ nets.query) @ key) / math.sqrt(R)) for key in entry.keys]
        shares = [weight / sum(weights) for weight in weights]
        slots = [*entry.values, states[s]]
        torch.testing.assert_close(found[s], sum(share * slot for share, slot in zip(shares, slots, strict=True)))


def test_the_loss_of_the_scope_is_the_balanced_cross_entropy():
    own, other = torch.tensor([0.1, 0.5]), torch.tensor([0.2, 1.0, 3.0])
    g = [math.exp(-float(x)) for x in own], [math.exp(-float(x)) for x in other]
    wanted = sum(-math.log(x) for x in g[0]) / 2 + sum(-math.log(1 - x) for x in g[1]) / 3
    assert float(scope_loss(own, other)) == pytest.approx(wanted, abs=1e-4)
    assert math.isfinite(float(scope_loss(own, torch.zeros(1))))
