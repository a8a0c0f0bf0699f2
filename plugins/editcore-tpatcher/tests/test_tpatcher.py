"""T-Patcher as its users meet it: neurons a token, single edits taken out of several."""

from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
from editcore import EditcoreError, EditOptions, EditRequest
from editcore.authoring.models import mlp_of
from editcore_hooks import Location, Site, State
from editcore_keyvalue.contexts import made_up
from editcore_tpatcher.hooks import TPatcher
from editcore_tpatcher.hparams import TPatcherHparams
from editcore_tpatcher.losses import memory_loss, silent_margin
from editcore_tpatcher.memory import EARLIER, folded, other_states
from editcore_tpatcher.neurons import Neurons

REQUESTS = [
    EditRequest("{} works as a", "Ada Marlow", "pilot", id="1"),
    EditRequest("{} lives in", "Bo Quist", "Lima", id="2"),
    EditRequest("The job of {} is that of a", "Cleo Tolland", "poet", id="3"),
]
LONG = EditRequest("{} lives in", "Bo Quist", "Quito and Lima and Rome", id="long")
CHEAP = {
    "layer": 2, "steps": 100, "first_check": 50, "check_every": 10, "memory_corpus": "bundled", "memory_tokens": 128,
    "others": ("Eve Quist", "Dan Marlow"),
}  # fmt: skip


def options(**values: Any) -> EditOptions:
    return EditOptions("t-patcher", tune=False, hparams=(("test", {**CHEAP, **values}),))


def logprobs(session: editcore.Session) -> list[float]:
    asked = [(r.rendered().text, r.target_new, None, "auto") for r in REQUESTS]
    return [score.sum for score in session.score_targets(asked)]  # type: ignore[arg-type]


@pytest.fixture(params=["gpt2", "llama"])
def session(request: pytest.FixtureRequest) -> editcore.Session:
    return editcore.open(request.getfixturevalue(f"{request.param}_folder"))


def test_each_mistaken_token_gets_a_neuron_up_to_the_most(session: editcore.Session) -> None:
    counts = []
    for most in (5, 1):
        patch = session.edit_all([LONG], options(most_neurons=most, steps=20))
        counts.append(len(next(tensor for name, tensor in patch.tensors.items() if name.endswith("keys"))))
        assert patch.about["notes"][0]["tokens"] == sorted(patch.about["notes"][0]["tokens"])
    assert counts[0] > 1 == counts[1]


def test_an_edit_that_holds_already_gets_one_neuron(session: editcore.Session) -> None:
    said = session.generate("Bo Quist lives in", 1).strip()
    patch = session.edit_all([EditRequest("{} lives in", "Bo Quist", said)], options(steps=20))
    assert patch.about["notes"][0]["neurons"] == 1


def test_any_edit_comes_out_and_leaves_the_others_to_the_bit(session: editcore.Session) -> None:
    patches: list[editcore.Patch] = []
    for request in REQUESTS:
        with session.patched(*patches):
            patches.append(session.edit_all([request], options()))
    with session.patched(*patches):
        every = logprobs(session)
    with session.patched(patches[2], patches[0]):
        two = logprobs(session)
    with session.patched(patches[0], patches[2]):
        assert logprobs(session) == two
    assert every[1] > two[1] + 1


def test_the_memory_of_earlier_edits_is_bounded() -> None:
    increments = [{"states.1": torch.full((3, 2), float(i))} for i in range(EARLIER)]
    kept = folded(increments)["states.1"]
    assert kept.shape == (EARLIER, 2)
    assert float(kept[-1, 0]) == EARLIER - 1
    assert folded([]) == {}


def test_a_neuron_begins_with_pre_activation_one_and_adds_nothing(session: editcore.Session) -> None:
    mlp = mlp_of(session.anatomy, Site("block", 1))
    queries = torch.randn(2, mlp.hidden_size, generator=torch.Generator().manual_seed(0))
    neurons = Neurons.at(mlp, queries, TPatcherHparams(), torch.Generator())
    torch.testing.assert_close(neurons.before(queries).diagonal(), torch.ones(2))
    assert not neurons.added(queries).any()


def test_the_silent_margin_follows_the_activation(session: editcore.Session) -> None:
    mlp = mlp_of(session.anatomy, Site("block", 1))
    assert silent_margin(mlp, TPatcherHparams()) == (-5 if mlp.gated else -3)
    assert silent_margin(mlp, TPatcherHparams(silent_margin=-1.5)) == -1.5


def test_a_memory_that_fires_far_too_much_has_a_finite_loss() -> None:
    at = torch.full((4, 1), 200.0, requires_grad=True)
    loss = memory_loss(at, torch.zeros(1, 1), -3.0, TPatcherHparams())
    loss.backward()  # type: ignore[no-untyped-call]
    assert bool(loss.isfinite())
    assert at.grad is not None
    assert bool((at.grad > 0).all())


def test_another_place_is_refused(session: editcore.Session) -> None:
    with pytest.raises(EditcoreError, match="to an MLP"):
        TPatcher().editcore_compute_update(session, REQUESTS[:1], Location((Site("mlp_in", 1),)), State(""))


def test_other_subjects_are_made_up_if_none_are_named(llama_folder: Path) -> None:
    session = editcore.open(llama_folder)
    names = made_up(session, 4)
    assert 0 < len(names) <= 4
    assert names == made_up(session, 4)
    mlp = mlp_of(session.anatomy, Site("block", 1))
    states = other_states(session, REQUESTS[0], mlp, TPatcherHparams(other_count=4))
    assert len(states) >= len(names)
    named = other_states(session, REQUESTS[0], mlp, TPatcherHparams(others=("Ada Marlow", "Eve Quist")))
    (encoded,) = [session.encode(EditRequest("{} works as a", "Eve Quist", "pilot"))]
    assert encoded.subject is not None
    assert len(named) == len(encoded.ids) - 1 - encoded.subject[-1]
