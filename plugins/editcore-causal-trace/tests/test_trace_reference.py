"""Causal tracing against a plain one: one row, one restoration and one whole forward at a time, with bare hooks."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import editcore
from editcore import EditRequest
from editcore.testing.tiny import FAMILIES, LINEAR_ATTENTION, tiny_model
from editcore_causal_trace import trace as traced_module
from editcore_causal_trace.facts import Fact, read_facts
from editcore_causal_trace.hparams import TraceHparams
from editcore_causal_trace.trace import KINDS, SEVERED, noise_level, trace_fact, window_of
from editcore_hooks import Site, UsageError

REQUESTS = [
    EditRequest("The mother of {} is named", "Ada Marlow", "Eve", id="1"),
    EditRequest("{} works as a", "Bo Quist", "pilot", id="2"),
]
SAMPLES = 2
WINDOW = 2
HPARAMS = TraceHparams(samples=SAMPLES, window=WINDOW)
DECODERS = [family for family in FAMILIES if not family.startswith("t5") and family not in LINEAR_ATTENTION]
Edit = Callable[[Tensor], Tensor]


@contextmanager
def hooked(edits: dict[nn.Module, Edit]) -> Iterator[None]:
    """Each module returns what its edit makes of its output, the hidden states of one row (T, d)."""

    def hook(edit: Edit) -> Any:
        def run(module: nn.Module, args: Any, output: Any) -> Any:
            first = output[0] if isinstance(output, tuple) else output
            changed = edit(first.reshape(-1, first.shape[-1]).clone()).reshape(first.shape)
            return (changed, *output[1:]) if isinstance(output, tuple) else changed

        return run

    handles = [module.register_forward_hook(hook(edit)) for module, edit in edits.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


class Plain:
    def __init__(self, session: editcore.Session, fact: Fact, noise: float) -> None:
        self.session, self.fact, self.n_layers = session, fact, session.anatomy.n_layers
        generator = torch.Generator().manual_seed(session.seed)
        width = session.anatomy.module(Site("embed")).weight.shape[1]
        self.epsilon = noise * torch.randn(SAMPLES, len(fact.subject), width, generator=generator)
        self.clean = self.states({})
        self.corrupted = [self.states(self.embed(sample)) for sample in range(SAMPLES)]

    def module(self, role: Any, layer: int) -> nn.Module:
        return self.session.anatomy.module(Site(role, layer))

    def embed(self, sample: int) -> dict[nn.Module, Edit]:
        def add(output: Tensor) -> Tensor:
            output[list(self.fact.subject)] += self.epsilon[sample]
            return output

        return {self.session.anatomy.module(Site("embed")): add}

    def states(self, edits: dict[nn.Module, Edit]) -> dict[nn.Module, Tensor]:
        """What every block and part returns, (T, d)."""
        found: dict[nn.Module, Tensor] = {}

        def keep(module: nn.Module) -> Edit:
            def edit(output: Tensor) -> Tensor:
                found[module] = output.clone()
                return output

            return edit

        parts = [self.module(role, i) for role in ("block", "mlp_out", "attn_out") for i in range(self.n_layers)]
        self.probability({**edits, **{module: keep(module) for module in parts}})
        return found

    @torch.no_grad()
    def probability(self, edits: dict[nn.Module, Edit]) -> float:
        with hooked(edits):
            logits = self.session.model(input_ids=torch.tensor([self.fact.ids]), use_cache=False).logits
        return float(logits[0, -1].float().softmax(-1)[self.fact.answer])

    def restored(self, kind: str, token: int, layer: int) -> float:
        total = 0.0
        for sample in range(SAMPLES):
            edits = self.embed(sample)
            if kind in ("mlp", "attn"):
                role = "mlp_out" if kind == "mlp" else "attn_out"
                for i in range(max(0, layer - 1), min(self.n_layers, layer + 1)):
                    edits[self.module(role, i)] = self.put(token, self.clean[self.module(role, i)])
            else:
                edits[self.module("block", layer)] = self.put(token, self.clean[self.module("block", layer)])
            if kind in SEVERED:
                role = "mlp_out" if kind == "state-no-mlp" else "attn_out"
                for i in range(layer + 1, self.n_layers):
                    edits[self.module(role, i)] = self.put(token, self.corrupted[sample][self.module(role, i)])
            total += self.probability(edits) / SAMPLES
        return total

    @staticmethod
    def put(token: int, values: Tensor) -> Edit:
        def edit(output: Tensor) -> Tensor:
            output[token] = values[token]
            return output

        return edit


@pytest.fixture(params=DECODERS)
def session(request: pytest.FixtureRequest, tmp_path: Path) -> editcore.Session:
    return editcore.open(tiny_model(request.param, tmp_path))


def test_every_restoration_is_that_of_a_plain_forward(session: editcore.Session) -> None:
    (fact,) = read_facts(session, REQUESTS[:1])
    noise = noise_level(session, [fact], 3.0)
    found = trace_fact(session, fact, noise, HPARAMS, (*KINDS, *SEVERED))
    plain = Plain(session, fact, noise)
    assert found.high == pytest.approx(plain.probability({}), abs=1e-5)
    low = sum(plain.probability(plain.embed(sample)) for sample in range(SAMPLES)) / SAMPLES
    assert found.low == pytest.approx(low, abs=1e-5)
    for kind in (*KINDS, *SEVERED):
        for token in (fact.subject[-1], len(fact.ids) - 1):
            wanted = torch.tensor([plain.restored(kind, token, layer) for layer in range(plain.n_layers)])
            torch.testing.assert_close(found.restored[kind][token], wanted, rtol=1e-3, atol=2e-6)
    assert float(found.effects("state").abs().max()) > 1e-4
    assert float(found.restored["state"][-1, -1]) == pytest.approx(found.high, rel=1e-4)  # all comes back


@pytest.mark.parametrize("request_", REQUESTS, ids=["inside", "in front"])
def test_a_token_before_the_subject_or_inside_it_has_the_effect_of_a_plain_forward(
    llama_folder: Path, request_: EditRequest
) -> None:
    session = editcore.open(llama_folder)
    (fact,) = read_facts(session, [request_])
    found, plain = trace_fact(session, fact, 0.5, HPARAMS), Plain(session, fact, 0.5)
    for kind in KINDS:
        for token in (0, fact.subject[0]):
            wanted = torch.tensor([plain.restored(kind, token, layer) for layer in range(plain.n_layers)])
            torch.testing.assert_close(found.restored[kind][token], wanted, rtol=1e-3, atol=2e-6)


def test_numbers_do_not_depend_on_how_many_restorations_share_a_forward(
    llama_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    session = editcore.open(llama_folder)
    (fact,) = read_facts(session, REQUESTS[1:])
    together = trace_fact(session, fact, 0.5, HPARAMS, (*KINDS, *SEVERED))
    monkeypatch.setattr(traced_module, "TOKENS_PER_BATCH", 1)
    alone = trace_fact(session, fact, 0.5, HPARAMS, (*KINDS, *SEVERED))
    for kind, values in together.restored.items():
        torch.testing.assert_close(alone.restored[kind], values, rtol=1e-4, atol=1e-6)


def test_the_noise_is_that_of_the_seed(llama_folder: Path) -> None:
    def effects(seed: int) -> Tensor:
        session = editcore.open(llama_folder, seed=seed)
        torch.manual_seed(int(torch.seed()) % 1000)  # the global generator must not matter
        (fact,) = read_facts(session, REQUESTS[1:])
        return trace_fact(session, fact, 0.5, HPARAMS).restored["state"]

    assert torch.equal(effects(1), effects(1))
    assert not torch.equal(effects(1), effects(2))


def test_the_noise_level_is_a_multiple_of_the_spread_of_subject_embeddings(gpt2_folder: Path) -> None:
    session = editcore.open(gpt2_folder)
    facts = read_facts(session, REQUESTS)
    tokens = [fact.ids[i] for fact in facts for i in fact.subject]
    embeddings = session.model.transformer.wte.weight[tokens]
    assert noise_level(session, facts, 3.0) == pytest.approx(3 * float(embeddings.flatten().std()))


def test_a_window_is_cut_at_the_ends_of_the_model() -> None:
    assert [list(window_of(layer, 4, 5)) for layer in range(5)] == [
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 3],
        [1, 2, 3, 4],
        [2, 3, 4],
    ]
    assert list(window_of(3, 1, 5)) == [3]
    assert [TraceHparams().window_in(n) for n in (2, 8, 12, 48, 96)] == [1, 2, 2, 10, 10]


def test_a_model_with_an_encoder_is_refused(tmp_path: Path) -> None:
    session = editcore.open(tiny_model("t5", tmp_path))
    with pytest.raises(UsageError, match="encoder") as caught:
        read_facts(session, REQUESTS)
    assert caught.value.hint
