"""Every family runs under traces: each site is read and overwritten where its table says it is."""

import pytest
import torch

from editcore.models.anatomy.model_map import Anatomy
from editcore.models.anatomy.stacks import AT_ROOT
from editcore.models.running.batch import forward, forward_pair, pad
from editcore.models.running.tracing import Tap, Trace
from editcore.testing.tiny import FAMILIES
from editcore_hooks import Site

SOURCE, TARGET = pad([[5, 6, 7, 8], [9, 10]]), pad([[0, 11, 12], [0, 13]])


@pytest.fixture(params=FAMILIES)
def anatomy(request, tiny):
    anatomy = Anatomy.of(tiny(request.param).model)
    yield anatomy
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in anatomy.model.modules())


def run(anatomy):
    with torch.no_grad():
        if "encoder" in anatomy.stacks:
            return forward_pair(anatomy.model, SOURCE, TARGET)
        return forward(anatomy.model, SOURCE)


def sites(anatomy):
    for stack, found in anatomy.stacks.items():
        yield from (Site(role, None if role in AT_ROOT else 1, stack) for role in (*found.roles, "block"))


def test_every_site_is_read(anatomy):
    places = list(sites(anatomy))
    with Trace(anatomy, dict.fromkeys(places, Tap(input=True, output=True))) as trace:
        logits = run(anatomy)
    for site in places:
        rows = TARGET if site.stack == "decoder" and "encoder" in anatomy.stacks else SOURCE
        read, made = trace.input(site), trace.output(site)
        assert read.shape[:2] == rows.ids.shape, site
        if site.role in ("mlp_in", "mlp_gate", "mlp_out", "attn_out", "head"):
            n_out, n_in = anatomy.weight(site).shape
            assert (read.shape[-1], made.shape[-1]) == (n_in, n_out), site
    head = trace.output(Site("head"))
    if anatomy.family in ("gemma2",):  # which caps its logits
        head = 30 * torch.tanh(head / 30)
    torch.testing.assert_close(head, logits)


def test_every_site_is_overwritten(anatomy):
    plain = run(anatomy)
    for site in sites(anatomy):
        # a constant would be taken away by the norm that follows in some families
        push = torch.linspace(-1, 1, 2048)
        with Trace(anatomy, {site: Tap(edit=lambda output, push=push: output + push[-output.shape[-1] :])}):
            edited = run(anatomy)
        assert (edited - plain).abs().max() > 1e-3, site


def test_a_decoder_is_cut_short_and_the_encoder_before_it(anatomy):
    first, last = Site("mlp_out", 0), Site("mlp_out", 2)
    with Trace(anatomy, {first: Tap(output=True)}, stop=True) as short:
        run(anatomy)
        pytest.fail("the pass went on")
    with Trace(anatomy, {first: Tap(output=True), last: Tap(output=True)}) as full:
        run(anatomy)
    assert torch.equal(short.output(first), full.output(first))
