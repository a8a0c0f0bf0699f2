"""A resumed forward gives the logits and gradients of the whole one, at every step, on every family."""

import copy

import pytest
import torch

from editcore.models.anatomy.model_map import Anatomy
from editcore.models.running.batch import align, forward, pad
from editcore.models.running.resume import keeps_columns, record, resume
from editcore.models.running.tracing import Tap, Trace
from editcore.testing.tiny import FAMILIES, LINEAR_ATTENTION
from editcore_hooks import Site, UsageError

# ragged: a row whose whole prefix is padding, one that ends where the tail begins, one longer than a sliding window
ROWS = [list(range(5, 29)), [12, 13, 14], [15, 16, 17, 18], [21, 22, 23, 24, 25]]
SPLITS = [19, 0, 3, 1]
DECODERS = tuple(family for family in FAMILIES if not family.startswith("t5"))


@pytest.fixture(params=DECODERS)
def laid_out(request, tiny):
    batch, start = align(ROWS, SPLITS)
    return Anatomy.of(tiny(request.param).model), batch, start


@pytest.fixture(params=[family for family in DECODERS if family not in LINEAR_ATTENTION])
def with_prefix(request, tiny):
    batch, start = align(ROWS, SPLITS)
    return Anatomy.of(tiny(request.param).model), batch, start


def real(batch, start=0):
    """Row and column of every token from column `start` on."""
    rows, columns = batch.mask.bool()[:, start:].nonzero(as_tuple=True)
    return rows, columns + start


@pytest.mark.parametrize("layer", [0, 2])
def test_logits_are_those_of_the_whole_forward(laid_out, layer):
    anatomy, batch, start = laid_out
    rows, columns = real(batch, start)
    whole = forward(anatomy.model, batch)[rows, columns]
    resumed = resume(anatomy, batch, layer, start)
    tail = columns - resumed.start
    for _ in range(2):  # a cache that grew would make the second step wrong without a word
        torch.testing.assert_close(resumed.forward()[rows, tail], whole, rtol=0, atol=2e-5)
        torch.testing.assert_close(resumed.forward((rows, tail)), whole, rtol=0, atol=2e-5)


@pytest.mark.parametrize("role", ["mlp_out", "attn_out", "block"])
def test_an_edit_has_the_gradient_of_the_whole_forward_at_every_step(laid_out, role):
    anatomy, batch, start = laid_out
    rows, columns = real(batch, start)
    if role not in (*anatomy.roles, "block"):
        pytest.skip("linear attention: no one place has the output of attention")
    site, d = Site(role, 1), anatomy.hidden_size
    resumed = resume(anatomy, batch, site.layer, start)
    tail, edited = columns - resumed.start, start - resumed.start
    delta = torch.zeros(d)
    for step in range(2):
        delta = delta + 0.1 * (step + 1)
        whole = _gradient(anatomy, site, start, delta, lambda: forward(anatomy.model, batch)[rows, columns])
        rest = _gradient(anatomy, site, edited, delta, lambda: resumed.forward()[rows, tail])
        torch.testing.assert_close(rest, whole, rtol=1e-4, atol=1e-4)
        assert whole.norm() > 1e-3


def test_some_rows_go_on_alone(laid_out):
    anatomy, batch, start = laid_out
    resumed, index = resume(anatomy, batch, 1, start), torch.tensor([3, 0])
    rows, columns = real(batch.rows(index), start)
    some = resumed.rows(index).forward((rows, columns - resumed.start))
    torch.testing.assert_close(some, forward(anatomy.model, batch)[index[rows], columns], rtol=0, atol=2e-5)


def test_the_first_pass_is_seen_by_traces(laid_out):
    anatomy, batch, start = laid_out
    site = Site("mlp_out", 1)
    with Trace(anatomy, {site: Tap(input=True)}) as once:
        resumed = resume(anatomy, batch, 1, start)
    with Trace(anatomy, {site: Tap(input=True)}) as whole, torch.no_grad():
        forward(anatomy.model, batch)
    rows, columns = real(batch, start)
    found = once.input(site)[rows, columns - resumed.start]
    torch.testing.assert_close(found, whole.input(site)[rows, columns], rtol=0, atol=1e-5)


def test_a_recorded_batch_goes_on_from_any_block_and_column(with_prefix):
    anatomy, batch, start = with_prefix
    recorded, whole = record(anatomy, batch), forward(anatomy.model, batch)
    for layer in range(anatomy.n_layers + 1):  # the last: final norm and head alone
        for column in (0, start - 1, start):
            at = real(batch, column)
            found = recorded.at(layer, column).forward((at[0], at[1] - column))
            torch.testing.assert_close(found, whole[at], rtol=0, atol=2e-5)


def test_what_a_trace_replaced_is_recorded(with_prefix):
    anatomy, batch, start = with_prefix
    noise = {Site("embed"): Tap(edit=lambda output: output + 0.5)}
    with Trace(anatomy, noise):
        recorded, whole = record(anatomy, batch), forward(anatomy.model, batch)
    at = real(batch, start)
    found = recorded.at(2, start).forward((at[0], at[1] - start))
    torch.testing.assert_close(found, whole[at], rtol=0, atol=2e-5)
    assert not torch.allclose(whole, forward(anatomy.model, batch))


def test_a_trace_sees_its_own_batch_alone_on_a_model_that_was_never_run(tiny):
    batch, _ = align(ROWS, SPLITS)
    anatomy, seen = Anatomy.of(copy.deepcopy(tiny("llama").model)), []
    with Trace(anatomy, {Site("embed"): Tap(edit=lambda output: seen.append(output.shape[:2]) or output)}):
        record(anatomy, batch)
    assert seen == [batch.ids.shape]


def test_what_enters_a_block_can_be_replaced_at_the_skipped_block_below(with_prefix):
    anatomy, batch, start = with_prefix
    at = real(batch, start)
    recorded = record(anatomy, batch)
    below = Site("block", 1)
    with Trace(anatomy, {below: Tap(edit=lambda output: _add_at(output, start, torch.tensor(1.0)))}):
        whole = forward(anatomy.model, batch)[at]
    with Trace(anatomy, {below: Tap(edit=lambda output: _add_at(output, 0, torch.tensor(1.0)))}):
        found = recorded.at(2, start).forward((at[0], at[1] - start))
    torch.testing.assert_close(found, whole, rtol=0, atol=2e-5)
    assert not torch.allclose(whole, forward(anatomy.model, batch)[at])


def test_a_hook_on_the_block_below_that_stays_changes_it_once(with_prefix):
    anatomy, batch, start = with_prefix
    at = real(batch, start)
    plain = forward(anatomy.model, batch)[at]
    with Trace(anatomy, {Site("block", 1): Tap(edit=lambda output: output * 1.5)}):
        whole = forward(anatomy.model, batch)[at]
        onward = resume(anatomy, batch, 1).onward(2)
        torch.testing.assert_close(onward.forward()[at], whole, rtol=0, atol=2e-5)
        for resumed in (resume(anatomy, batch, 2, start), record(anatomy, batch).at(2, start)):
            for _ in range(2):
                found = resumed.forward((at[0], at[1] - start))
                torch.testing.assert_close(found, whole, rtol=0, atol=2e-5)
        torch.testing.assert_close(forward(anatomy.model, batch)[at], whole)
    assert not torch.allclose(whole, plain)


def test_nothing_is_left_on_the_model(with_prefix):
    anatomy, batch, start = with_prefix
    resume(anatomy, batch, 2, start).forward()
    record(anatomy, batch).at(2, start).forward()
    for module in anatomy.model.modules():
        assert "forward" not in vars(module)  # nobody but accelerate puts one there
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_an_edit_below_the_layer_has_no_effect_and_above_it_has(laid_out):
    anatomy, batch, start = laid_out
    resumed = resume(anatomy, batch, 1, start)
    plain = resumed.forward()
    for layer, changes in ((0, False), (1, True), (2, True)):
        with Trace(anatomy, {Site("mlp_out", layer): Tap(edit=lambda output: output + 1)}):
            assert (not torch.equal(resumed.forward(), plain)) == changes


def test_without_a_prefix_the_blocks_above_are_resumed(laid_out):
    anatomy, batch, _ = laid_out
    at = real(batch)
    torch.testing.assert_close(
        resume(anatomy, batch, 2).forward(at), forward(anatomy.model, batch, at), rtol=0, atol=2e-5
    )


def test_a_model_with_an_encoder_has_no_prefix(tiny):
    batch, start = align(ROWS, SPLITS)
    with pytest.raises(UsageError, match="has an encoder"):
        resume(Anatomy.of(tiny("t5").model), batch, 1, start)


@pytest.mark.parametrize("family", LINEAR_ATTENTION)
def test_linear_attention_keeps_no_columns_and_cannot_be_recorded(family, tiny):
    anatomy, (batch, start) = Anatomy.of(tiny(family).model), align(ROWS, SPLITS)
    assert not keeps_columns(anatomy)
    assert resume(anatomy, batch, 1, start).start == 0
    with pytest.raises(UsageError, match=r"linear attention.*no forward can start in the middle"):
        record(anatomy, batch)


@pytest.mark.parametrize("family", LINEAR_ATTENTION)
def test_linear_attention_reads_a_padded_row_as_that_row_alone(family, tiny):
    """What is padded on the left goes into no state."""
    model, (batch, start) = tiny(family).model, align(ROWS, SPLITS)
    together = forward(model, batch)
    for i, (row, at) in enumerate(zip(ROWS, SPLITS, strict=True)):
        alone = forward(model, pad([row]))[0]
        begin = start - at
        torch.testing.assert_close(together[i, begin : begin + len(row)], alone, rtol=0, atol=2e-5)


def _gradient(anatomy, site, column, delta, logits):
    """d/dδ of the mean log-probability of token 3, with δ added at one column of every row."""
    delta = delta.clone().requires_grad_()

    with torch.enable_grad(), Trace(anatomy, {site: Tap(edit=lambda output: _add_at(output, column, delta))}):
        loss = logits().log_softmax(-1)[:, 3].mean()
    return torch.autograd.grad(loss, delta)[0]


def _add_at(output, column, delta):
    """δ on one column of `output` (B, T, d)."""
    return torch.cat([output[:, :column], output[:, column : column + 1] + delta, output[:, column + 1 :]], dim=1)


@torch.no_grad()
def test_a_batch_goes_on_layer_by_layer_as_the_blocks_are_by_then(laid_out):
    """What enters a higher layer is that of the whole forward, with an edit that was put on in between."""
    anatomy, batch, _ = laid_out
    rows, columns = real(batch)
    last = anatomy.n_layers - 1
    resumed = resume(anatomy, batch, 0, through=0)
    with Trace(anatomy, {Site("mlp_out", 0): Tap(edit=lambda output: output + 0.1)}):
        whole = forward(anatomy.model, batch)[rows, columns]
        with Trace(anatomy, {Site("mlp_out", last): Tap(input=True)}) as reached:
            resumed = resumed.onward(last)
        with Trace(anatomy, {Site("mlp_out", last): Tap(input=True)}) as wanted:
            forward(anatomy.model, batch)
    torch.testing.assert_close(
        reached.input(Site("mlp_out", last))[rows, columns],
        wanted.input(Site("mlp_out", last))[rows, columns],
        rtol=0,
        atol=2e-5,
    )
    torch.testing.assert_close(resumed.forward()[rows, columns], whole, rtol=0, atol=2e-5)


@torch.no_grad()
def test_the_head_alone_is_left_above_the_last_block(laid_out):
    anatomy, batch, start = laid_out
    rows, columns = real(batch, start)
    whole = forward(anatomy.model, batch)[rows, columns]
    resumed = resume(anatomy, batch, anatomy.n_layers, start)
    torch.testing.assert_close(resumed.forward((rows, columns - resumed.start)), whole, rtol=0, atol=2e-5)


def test_a_batch_with_a_prefix_does_not_go_on(with_prefix):
    anatomy, batch, start = with_prefix
    with pytest.raises(ValueError, match="cannot continue at layer"):
        resume(anatomy, batch, 0, start).onward(1)
