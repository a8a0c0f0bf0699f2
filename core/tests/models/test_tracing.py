"""What flows through a model can be read, replaced and cut short; no hook stays."""

import pytest
import torch
from torch import nn

from editcore.models.anatomy.model_map import Anatomy
from editcore.models.anatomy.stacks import AT_ROOT
from editcore.models.running.batch import forward, pad
from editcore.models.running.tracing import Tap, Trace
from editcore_hooks import Site

BATCH = pad([[5, 6, 7, 8], [9, 10]])


def sites(anatomy):
    return [Site(role) if role in AT_ROOT else Site(role, 1) for role in (*anatomy.roles, "block")]


def hooks(model):
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


@pytest.fixture
def anatomy(model):
    yield Anatomy.of(model)
    assert hooks(model) == 0


def test_every_site_is_read(anatomy):
    places = sites(anatomy)
    with Trace(anatomy, dict.fromkeys(places, Tap(input=True, output=True))) as trace:
        logits = forward(anatomy.model, BATCH)
    d, f, V = anatomy.hidden_size, anatomy.mlp_width, anatomy.model.config.vocab_size
    widths = {"mlp_in": (d, f), "mlp_gate": (d, f), "mlp_out": (f, d), "head": (d, V)}
    for site in places:
        width_in, width_out = widths.get(site.role, (d, d))
        assert trace.output(site).shape == (2, 4, width_out), site
        assert trace.input(site).shape == ((2, 4) if site.role == "embed" else (2, 4, width_in)), site
    torch.testing.assert_close(trace.output(Site("head")), logits)


def test_reading_changes_nothing(anatomy):
    plain = forward(anatomy.model, BATCH)
    with Trace(anatomy, dict.fromkeys(sites(anatomy), Tap(input=True, output=True))):
        assert torch.equal(forward(anatomy.model, BATCH), plain)


def test_every_site_is_overwritten(anatomy):
    plain = forward(anatomy.model, BATCH)
    for site in sites(anatomy):
        with Trace(anatomy, {site: Tap(output=True, edit=lambda output: output + 1)}) as trace:
            edited = forward(anatomy.model, BATCH)
        assert not torch.allclose(edited, plain), site
        with Trace(anatomy, {site: Tap(output=True)}) as untouched:
            forward(anatomy.model, BATCH)
        torch.testing.assert_close(trace.output(site), untouched.output(site) + 1)


def test_an_edit_is_what_the_next_module_sees(anatomy):
    after, norm = Site("block", 2), Site("final_norm")
    with Trace(anatomy, {after: Tap(edit=torch.zeros_like), norm: Tap(input=True)}) as trace:
        forward(anatomy.model, BATCH)
    assert trace.input(norm).abs().max() == 0


def test_a_stop_ends_the_pass_before_what_comes_later(anatomy):
    reached = []
    later = anatomy.module(Site("block", 2)).register_forward_pre_hook(lambda *_: reached.append(True))
    site = Site("mlp_out", 1)
    with Trace(anatomy, {site: Tap(input=True)}, stop=True) as trace:
        forward(anatomy.model, BATCH)
        reached.append("went on")
    later.remove()
    assert reached == []
    with Trace(anatomy, {site: Tap(input=True)}) as full:
        forward(anatomy.model, BATCH)
    assert torch.equal(trace.input(site), full.input(site))


def test_a_stop_waits_for_every_place(anatomy):
    first, last = Site("mlp_out", 0), Site("mlp_out", 2)
    with Trace(anatomy, {last: Tap(input=True, output=True), first: Tap(output=True)}, stop=True) as trace:
        forward(anatomy.model, BATCH)
    assert trace.output(first).shape == trace.output(last).shape == (2, 4, anatomy.hidden_size)


def test_no_hook_stays_after_an_exception(anatomy):
    with pytest.raises(ZeroDivisionError), Trace(anatomy, {Site("mlp_out", 0): Tap(edit=lambda output: 1 / 0)}):
        forward(anatomy.model, BATCH)
    assert hooks(anatomy.model) == 0
    with pytest.raises(KeyError, match="mine"), Trace(anatomy, {Site("block", 0): Tap(input=True)}, stop=True):
        raise KeyError("mine")
    assert hooks(anatomy.model) == 0


def test_traces_nest_and_each_catches_its_own_stop(anatomy):
    outer_site, inner_site = Site("mlp_out", 2), Site("mlp_out", 0)
    with Trace(anatomy, {outer_site: Tap(input=True)}, stop=True) as outer:
        with Trace(anatomy, {inner_site: Tap(input=True)}, stop=True) as inner:
            forward(anatomy.model, BATCH)
        assert inner.input(inner_site).shape == (2, 4, anatomy.mlp_width)
        with pytest.raises(KeyError):
            outer.input(outer_site)
        forward(anatomy.model, BATCH)
        pytest.fail("the outer trace did not stop")
    assert outer.input(outer_site).shape == (2, 4, anatomy.mlp_width)


def test_a_stop_of_the_outer_trace_ends_the_inner_block_and_its_own(anatomy):
    near, far = Site("mlp_out", 0), Site("head")
    with Trace(anatomy, {near: Tap(input=True)}, stop=True) as outer:
        with Trace(anatomy, {far: Tap(input=True)}, stop=True):
            forward(anatomy.model, BATCH)
        pytest.fail("the inner trace caught what was not its own")
    assert outer.input(near).shape == (2, 4, anatomy.mlp_width)


def test_gradients_flow_through_an_edit_and_a_kept_output(anatomy):
    delta = torch.zeros(anatomy.hidden_size, requires_grad=True)
    site, after = Site("mlp_out", 0), Site("block", 2)
    with Trace(
        anatomy, {site: Tap(edit=lambda output: output + delta), after: Tap(output=True)}, detach=False
    ) as trace:
        loss = forward(anatomy.model, BATCH).square().mean()
    (of_loss,) = torch.autograd.grad(loss, delta, retain_graph=True)
    (of_output,) = torch.autograd.grad(trace.output(after).square().mean(), delta)
    assert of_loss.abs().max() > 0
    assert of_output.abs().max() > 0


def test_what_is_kept_has_no_graph_unless_asked_for(anatomy):
    delta = torch.zeros(anatomy.hidden_size, requires_grad=True)
    taps = {Site("mlp_out", 0): Tap(output=True, edit=lambda output: output + delta)}
    with Trace(anatomy, taps) as trace:
        forward(anatomy.model, BATCH)
    assert not trace.output(Site("mlp_out", 0)).requires_grad


class Block(nn.Module):
    """Returns a tuple, and is called by keyword."""

    def forward(self, hidden_states, scale=1.0):
        return hidden_states * scale, "weights", None


def test_tuples_and_keyword_inputs():
    block, x = Block(), torch.ones(2, 3)
    with Trace(None, {block: Tap(input=True, output=True, edit=lambda output: output + 1)}) as trace:
        result = block(scale=2.0, hidden_states=x)
    assert result[1:] == ("weights", None)
    assert result[0].tolist() == torch.full((2, 3), 3.0).tolist()
    assert torch.equal(trace.input(block), x)
    assert torch.equal(trace.output(block), result[0])


def test_a_site_needs_an_anatomy():
    with pytest.raises(ValueError, match="needs the anatomy"):
        Trace(None, {Site("head"): Tap(input=True)})


def test_what_a_family_adds_to_in_place_is_kept_as_it_came_out(tiny):
    anatomy = Anatomy.of(tiny("falcon").model)
    site = Site("mlp_out", 0)
    with Trace(anatomy, {site: Tap(input=True, output=True)}) as trace:
        forward(anatomy.model, BATCH)
    torch.testing.assert_close(trace.output(site), trace.input(site) @ anatomy.weight(site).T)


def test_rows_that_a_family_flattens_come_and_go_as_rows(tiny):
    anatomy = Anatomy.of(tiny("opt").model)
    site, seen = Site("mlp_out", 1), []
    plain = forward(anatomy.model, BATCH)

    def edit(output):
        seen.append(output.shape)
        return output + torch.nn.functional.one_hot(torch.tensor(3), 4)[None, :, None]

    with Trace(anatomy, {site: Tap(input=True, edit=edit)}) as trace:
        edited = forward(anatomy.model, BATCH)
    assert seen == [(2, 4, anatomy.hidden_size)]
    assert trace.input(site).shape == (2, 4, anatomy.mlp_width)
    assert torch.equal(edited[:, :3], plain[:, :3])
    assert not torch.allclose(edited[:, 3], plain[:, 3])
