"""States that a new neuron must not fire on: ordinary text, other subjects in the same prompt, and earlier edits.

A state is what the MLP of the edited block reads at one token, (d,). Those of ordinary text are an asset, collected
once for a model; those of earlier edits are at most `EARLIER`, the latest, so that the cost of an edit does not grow.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import evolve, frozen
from torch import Tensor

from editcore.authoring.assets import Identity
from editcore.authoring.models import Item, Mlp, Tap, Trace, encode_request, target_logits
from editcore_hooks import Asset, EditRequest
from editcore_keyvalue.contexts import made_up
from editcore_keyvalue.corpus import Corpus, take
from editcore_keyvalue.reading import choose
from editcore_tpatcher.hparams import TPatcherHparams

if TYPE_CHECKING:
    from editcore_hooks import Session

KIND: Final = "ffn_inputs"
OWNER: Final = "editcore-tpatcher"
EARLIER: Final = 2048
HELD_OUT: Final = 8
"""Every eighth state is held out: it shows when training should end."""


@frozen(eq=False)
class Memory:
    """States to stay silent on, (N, d), and those held out for the end of training, (H, d); float32."""

    trained: Tensor
    held_out: Tensor
    asset: Asset


def folded(increments: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """The states of earlier edits, (n, d) by the name of their part, the latest `EARLIER` of them."""
    names = dict.fromkeys(name for each in increments for name in each)
    return {name: torch.cat([each[name] for each in increments if name in each])[-EARLIER:] for name in names}


def memory_of(
    session: "Session",
    request: EditRequest,
    mlp: Mlp,
    layer: int,
    earlier: Tensor | None,
    hparams: TPatcherHparams,
) -> Memory:
    """All that the neurons of `request` must stay silent on."""
    bank, asset = text_states(session, mlp, layer, hparams)
    own = [other_states(session, request, mlp, hparams)] if hparams.others or hparams.other_count else []
    own += [] if earlier is None else [earlier.to(bank)]
    held = torch.arange(len(bank), device=bank.device) % HELD_OUT == 0
    return Memory(torch.cat([bank[~held], *own]), bank[held], asset)


def text_states(session: "Session", mlp: Mlp, layer: int, hparams: TPatcherHparams) -> tuple[Tensor, Asset]:
    """The states of ordinary text, (N, d), collected from the unedited model once and then kept."""
    corpus = _corpus(session, hparams)
    parameters = {
        "layer": layer,
        "tokens": hparams.memory_tokens,
        "corpus": corpus.identity,
        "seed": session.seed if corpus.seeded else 0,
        "tokenizer_sha256": session.tokenizer_sha256,
    }
    identity = Identity(KIND, OWNER, session.weights_root, parameters)
    asset = session.assets.find(identity)
    if asset is None:
        session.say(f"no memory of layer {layer} yet: reading {hparams.memory_tokens:,} tokens {corpus.words}")
        with session.assets.lock(identity), session.at_base():
            asset = session.assets.put(identity, {"states": _collect(session, mlp, corpus, hparams.memory_tokens)})
    return session.assets.load(asset)["states"].to(session.device), asset


def other_states(session: "Session", request: EditRequest, mlp: Mlp, hparams: TPatcherHparams) -> Tensor:
    """The states of `request` with other subjects, from the last token of the subject on, (n, d)."""
    given = [other for other in hparams.others if other.strip() != request.subject.strip()]
    names = given or made_up(session, hparams.other_count)
    if not names:
        return torch.zeros(0, mlp.hidden_size, device=session.device)
    rows = [encode_request(session.tokenizer, evolve(request, subject=name)) for name in names]
    states = read_states(session, mlp, [(row.prompt_ids, row.target_ids) for row in rows])
    begins = [0 if row.subject is None else row.subject[-1] for row in rows]
    return torch.cat([each[begin:] for each, begin in zip(states, begins, strict=True)])


@torch.no_grad()
def read_states(session: "Session", mlp: Mlp, items: Sequence[Item]) -> list[Tensor]:
    """What the MLP reads of each item, (Tᵢ, d) float32."""
    reads = session.model.get_submodule(mlp.inner[0])
    with Trace(None, {reads: Tap(input=True)}, stop=True) as trace:
        target_logits(session.model, items)
    states = trace.input(reads).float()
    states = states.reshape(len(items), -1, states.shape[-1])  # OPT reads (B·T, d)
    lengths = [len(prompt) + len(target) - 1 for prompt, target in items]
    return [row[:length] for row, length in zip(states, lengths, strict=True)]


def _corpus(session: "Session", hparams: TPatcherHparams) -> Corpus:
    return choose(session, hparams.memory_corpus, session.anatomy.hidden_size)


def _collect(session: "Session", mlp: Mlp, corpus: Corpus, tokens: int) -> Tensor:
    """States of `tokens` tokens of the corpus, or of all its text, without those of first tokens, (N, d)."""
    found: list[Tensor] = []
    for chunk in take(corpus.chunks(session), tokens):
        items: list[Item] = [(row[:1], row[1:]) for row in chunk if len(row) > 2]
        if items:
            found += [states[1:].cpu() for states in read_states(session, mlp, items)]
    return torch.cat(found)


def named(layer: int) -> str:
    """The name of the part of a state increment that holds the states of an edit."""
    return f"states.{layer}"


def earlier_of(value: Any, layer: int) -> Tensor | None:
    """The states of earlier edits of the layer, (n, d), from the folded state."""
    return None if value is None else value.get(named(layer))
