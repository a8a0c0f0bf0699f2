"""States that a new neuron must not fire on: ordinary text, other subjects in the same prompt, and earlier edits.

A state is what the MLP of the edited block reads at one token, (d,). Those of ordinary text are an asset, collected
once for a model; those of earlier edits are at most `EARLIER`, the latest, so that the cost of an edit does not grow.

With an encoder all states are the decoder's. It reads nothing of the prompt, so the first of a target counts too: there
an answer begins. Ordinary text is read in pieces, of which the encoder gets the first half and the decoder the second.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from attrs import evolve, frozen
from torch import Tensor

from editcore.authoring.assets import Identity
from editcore.authoring.models import Item, Mlp, Tap, Trace, target_logits
from editcore_hooks import Asset, EditRequest, UsageError
from editcore_keyvalue.corpus import Corpus, open_corpus, take
from editcore_keyvalue.hparams import AUTO
from editcore_keyvalue.reading import choose
from editcore_keyvalue.unrelated import other_subjects
from editcore_keyvalue.windows import Chunk
from editcore_tpatcher.hparams import TPatcherHparams

if TYPE_CHECKING:
    from editcore_hooks import Session

KIND: Final = "ffn_inputs"
OWNER: Final = "editcore-tpatcher"
EARLIER: Final = 2048
HELD_OUT: Final = 8
"""Every eighth state is held out: it shows when training should end."""
PIECE: Final = 16
"""Tokens of a piece of ordinary text beside an encoder: about as long as a question and its answer."""


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
    """The states of `request` with other subjects, (n, d): from the last token of the subject on, or the decoder's."""
    given = [other for other in hparams.others if other.strip() != request.subject.strip()]
    names = given or other_subjects(session, request, hparams.other_count)
    if not names:
        return torch.zeros(0, mlp.hidden_size, device=session.device)
    rows = [session.encode(evolve(request, subject=name)) for name in names]
    states = read_states(session, mlp, [(row.prompt_ids, row.target_ids) for row in rows])
    begins = [0 if row.subject is None or row.encoder_decoder else row.subject[-1] for row in rows]
    return torch.cat([each[begin:] for each, begin in zip(states, begins, strict=True)])


@torch.no_grad()
def read_states(session: "Session", mlp: Mlp, items: Sequence[Item]) -> list[Tensor]:
    """What the MLP reads of each item up to where the last token of the target is predicted, (Tᵢ, d) float32."""
    reads = session.model.get_submodule(mlp.inner[0])
    with Trace(None, {reads: Tap(input=True)}, stop=True) as trace:
        target_logits(session.model, items)
    states = trace.input(reads).float()
    states = states.reshape(len(items), -1, states.shape[-1])  # OPT reads (B·T, d)
    lengths = [first_scored(session, item) + len(item[1]) for item in items]
    return [row[:length] for row, length in zip(states, lengths, strict=True)]


def first_scored(session: "Session", item: Item) -> int:
    """The position at which the first token of the target is predicted: a decoder with an encoder reads no prompt."""
    return 0 if session.encoder_decoder else len(item[0]) - 1


def _corpus(session: "Session", hparams: TPatcherHparams) -> Corpus:
    name = hparams.memory_corpus
    if not session.encoder_decoder:
        return choose(session, name, session.anatomy.hidden_size)
    if name == "self":
        message = "an encoder-decoder answers a text and writes none of its own, so no memory can be made of it"
        raise UsageError(message, hint="--set memory_corpus=bundled, or a file")
    return open_corpus("bundled" if name == AUTO else name)


def _collect(session: "Session", mlp: Mlp, corpus: Corpus, tokens: int) -> Tensor:
    """About as many states as `tokens`, or those of all text of the corpus, (N, d)."""
    found: list[Tensor] = []
    both = session.encoder_decoder  # every second token is the encoder's
    for chunk in take(corpus.chunks(session), 2 * tokens if both else tokens):
        items = _pieces(session, chunk) if both else [(row[:1], row[1:]) for row in chunk if len(row) > 2]
        if items:
            # the first token of a text has a state of its own kind in a decoder alone
            found += [states[0 if both else 1 :].cpu() for states in read_states(session, mlp, items)]
    return torch.cat(found)


def _pieces(session: "Session", rows: Chunk) -> list[Item]:
    """Rows in pieces of `PIECE` tokens, each as what the encoder reads, closed by its end, and the decoder's target."""
    end, half = session.tokenizer.eos_token_id, PIECE // 2
    cut = [row[start : start + PIECE] for row in rows for start in range(0, len(row), PIECE)]
    return [((*piece[:half], end), piece[half:]) for piece in cut if len(piece) > half]


def named(layer: int) -> str:
    """The name of the part of a state increment that holds the states of an edit."""
    return f"states.{layer}"


def earlier_of(value: Any, layer: int) -> Tensor | None:
    """The states of earlier edits of the layer, (n, d), from the folded state."""
    return None if value is None else value.get(named(layer))
