"""Logits of the same items, call after call, are those of the whole forward with the weights as they are by then."""

import pytest
import torch
from torch import nn
from torch.func import functional_call

from editcore.models.anatomy.model_map import Anatomy
from editcore.models.running.cached_logits import cached_logits
from editcore.models.running.scoring import target_logits
from editcore.models.running.tracing import Tap, Trace
from editcore.testing.tiny import FAMILIES
from editcore_hooks import Site

# ragged in prompts and in targets; one prompt is longer than a sliding window
ITEMS = (((5, 6, 7), (8,)), (tuple(range(5, 29)), (9, 10, 11)), ((12,), (13, 14)))


class Called(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, run):
        return run()


@pytest.fixture(params=FAMILIES)
def anatomy(request, tiny):
    return Anatomy.of(tiny(request.param).model)


@pytest.mark.parametrize("layers", [(0,), (1, 2)], ids=str)
def test_two_steps_in_a_row_have_logits_and_gradients_of_the_whole_forward(anatomy, layers):
    sites = [Site("mlp_out", layer) for layer in layers]
    names = [anatomy.parameter(site)[0] for site in sites]
    leaves = [anatomy.parameter(site)[1].detach().clone().requires_grad_() for site in sites]
    called = Called(anatomy.model)
    again = cached_logits(anatomy, ITEMS, sites)

    def run(logits):
        swapped = {f"model.{name}": leaf for name, leaf in zip(names, leaves, strict=True)}
        with torch.enable_grad():
            found = functional_call(called, swapped, (logits,))
            loss = nn.functional.cross_entropy(found.logits, found.labels)
        return found, torch.autograd.grad(loss, leaves)

    for _ in range(2):
        (found, gradients), (whole, wanted) = run(again), run(lambda: target_logits(anatomy.model, ITEMS))
        torch.testing.assert_close(found.logits, whole.logits, rtol=0, atol=2e-5)
        assert torch.equal(found.labels, whole.labels)
        assert torch.equal(found.item, whole.item)
        for gradient, expected in zip(gradients, wanted, strict=True):
            assert expected.norm() > 1e-4
            torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-5)
        with torch.no_grad():
            for leaf, gradient in zip(leaves, gradients, strict=True):
                leaf -= 0.5 * gradient / gradient.norm()


def test_what_lies_below_the_sites_is_run_once(anatomy):
    stack = "encoder" if "encoder" in anatomy.stacks else "decoder"
    again = cached_logits(anatomy, ITEMS, [Site("mlp_out", 2)])
    with torch.no_grad(), Trace(anatomy, {Site("mlp_out", 1, stack): Tap(input=True)}) as trace:
        again()
    with pytest.raises(KeyError):
        trace.input(Site("mlp_out", 1, stack))


@pytest.mark.parametrize("role", ["embed", "mlp_out"])
def test_nothing_is_kept_that_a_site_reaches(tiny, role):
    """The embedding is below every block, and in T5 the encoder's too; an encoder that changes is run again."""
    anatomy = Anatomy.of(tiny("t5").model)
    site = Site("embed") if role == "embed" else Site(role, 1, "encoder")
    name, parameter, _ = anatomy.parameter(site)
    again = cached_logits(anatomy, ITEMS, [site])
    swapped = {f"model.{name}": parameter.detach() * 1.1}
    with torch.no_grad():
        plain = again().logits
        found = functional_call(Called(anatomy.model), swapped, (again,)).logits
        wanted = functional_call(Called(anatomy.model), swapped, (lambda: target_logits(anatomy.model, ITEMS),)).logits
    assert torch.equal(found, wanted)
    assert not torch.equal(found, plain)


@pytest.mark.parametrize("alike", [False, True])
def test_what_a_tap_does_at_a_site_may_change_from_step_to_step(anatomy, alike):
    site = Site("mlp_out", 1)
    items = [((5, 6, 7, 8), (9,)), ((5, 6, 7, 10), (11, 12))] if alike else list(ITEMS)
    shift = torch.zeros(anatomy.widths(site)[1], requires_grad=True)

    def edit(output):  # at the second column of each row
        return output + (torch.arange(output.shape[1]) == 1)[:, None].to(output) * shift

    again = cached_logits(anatomy, items, [site], owners=range(len(items)))
    for step in range(2):
        results = []
        for run in (again, lambda: target_logits(anatomy.model, items)):
            with torch.enable_grad(), Trace(anatomy, {site: Tap(edit=edit)}):
                found = run()
                loss = nn.functional.cross_entropy(found.logits, found.labels)
                results.append((found.logits.detach(), *torch.autograd.grad(loss, shift)))
        for one, other in zip(*results, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-3, atol=2e-5)
        with torch.no_grad():
            shift += 3.0 + step
