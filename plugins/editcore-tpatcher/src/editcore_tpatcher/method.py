"""T-Patcher: find the tokens of a target that the model gets wrong, and train one neuron for each.

Huang et al. 2023, arXiv:2301.09785: FFN'(x) = FFN(x) + Σᵢ vᵢ act(kᵢ · x + bᵢ) in one block.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from editcore.authoring.models import Mlp, Tap, TargetLogits, Trace, cached_logits, mlp_of
from editcore.authoring.patches import units_payload
from editcore_hooks import EditRequest, Location, Site, State, Update, UsageError
from editcore_keyvalue.answers import answer
from editcore_keyvalue.contexts import contexts_for, in_context
from editcore_tpatcher.hparams import TPatcherHparams
from editcore_tpatcher.losses import silent_margin
from editcore_tpatcher.memory import earlier_of, first_scored, memory_of, named, text_states
from editcore_tpatcher.neurons import Neurons
from editcore_tpatcher.space import default_layer
from editcore_tpatcher.training import Task, train_

if TYPE_CHECKING:
    from editcore_hooks import Session


def compute_update(
    session: "Session", request: EditRequest, location: Location, state: State, hparams: TPatcherHparams
) -> Update:
    """The neurons of one request as a payload of units. Raises `UsageError` for a place that is no MLP."""
    block, mlp = mlp_at(session, location)
    site = Site("mlp_out", block.layer, block.stack)
    contexts = contexts_for(session, hparams)
    rows = [answer(session, in_context(request, context), hparams.eos) for context in contexts]
    # an owner each: a row must hold one item, since the states are kept by item
    logits = cached_logits(session.anatomy, rows, [site], owners=range(len(rows)))
    found, states = _read(session, mlp, logits, len(rows))
    chosen = mistakes(found, len(rows[0][1]), hparams.most_neurons)
    queries = queries_of([first_scored(session, row) for row in rows], states, chosen)  # (C, n, d)
    assert block.layer is not None
    memory = memory_of(session, request, mlp, block.layer, earlier_of(state.value, block.layer), hparams)
    silent = silent_margin(mlp, hparams)
    task = Task(session.anatomy, site, logits, states, queries.flatten(0, 1), memory, silent)
    neurons = Neurons.at(mlp, queries[0], hparams, torch.Generator().manual_seed(session.seed))
    with session.progress("training neurons", hparams.steps) as progress:
        trained = train_(neurons, task, hparams, progress.advance)
    if not trained.written:
        session.say(
            f"{request.subject}: {trained.steps} steps did not make the target the likeliest; raise steps or lr"
        )
    return Update(
        payload=units_payload({block: neurons.units()}),
        state_increment={named(block.layer): queries.flatten(0, 1).cpu()},
        notes={
            "neurons": len(chosen),
            "tokens": chosen,
            "contexts": list(contexts),
            "steps": trained.steps,
            "kept_at": trained.kept_at,
            "written": trained.written,
            "loss": list(trained.losses),
            "silent_margin": silent,
            **_activity(neurons, task),
        },
        assets=(memory.asset,),
    )


def mlp_at(session: "Session", location: Location) -> tuple[Site, Mlp]:
    """The block of the location and its MLP. Raises `UsageError` for another place, or an encoder's."""
    (site,) = location.sites
    if site.role not in ("mlp_out", "block"):
        raise UsageError(
            f"T-Patcher appends neurons to an MLP, not to {site}", hint="choose another locator, or leave it out"
        )
    if site.expert is not None:
        raise UsageError(f"{site} is one of several experts, which units cannot be appended to", hint="edit weights")
    if site.stack == "encoder":
        message = f"{site} is not in the decoder, which writes the target"
        raise UsageError(message, hint="choose a block of the decoder")
    block = Site("block", site.layer, site.stack)
    return block, mlp_of(session.anatomy, block)


def mistakes(found: TargetLogits, length: int, most: int) -> list[int]:
    """The places of the first `most` tokens of the target that the model gets wrong; if none, of its least likely.

    Only the first of the rows counts, which has `length` tokens of the target.
    """
    logits, labels = found.logits[:length].float(), found.labels[:length]
    wrong = (logits.argmax(-1) != labels).nonzero()[:, 0].tolist()
    if wrong:
        return list(map(int, wrong[:most]))
    return [int(logits.log_softmax(-1).gather(-1, labels[:, None]).argmin())]


def queries_of(begins: Sequence[int], states: Tensor, chosen: Sequence[int]) -> Tensor:
    """The states at which the chosen tokens are predicted, (C, n, d), of states (C, T, d) whose targets begin there."""
    return torch.stack([row[[begin + j for j in chosen]] for row, begin in zip(states, begins, strict=True)])


def collect_memories(session: "Session", every: Sequence[TPatcherHparams]) -> None:
    """The memories that trials with these settings need, collected before the first."""
    for hparams in every:
        layer = default_layer(session.anatomy.n_layers) if hparams.layer is None else hparams.layer
        text_states(session, mlp_of(session.anatomy, Site("block", layer)), layer, hparams)


@torch.no_grad()
def _read(session: "Session", mlp: Mlp, logits: Any, rows: int) -> tuple[TargetLogits, Tensor]:
    """The scored logits as the model has them, and the states (B, T, d) that the MLP reads for them, float32."""
    reads = session.model.get_submodule(mlp.inner[0])
    with Trace(None, {reads: Tap(input=True)}) as trace:
        found: TargetLogits = logits()
    states = trace.input(reads).float()
    return found, states.reshape(rows, -1, states.shape[-1])  # OPT reads (B·T, d)


@torch.no_grad()
def _activity(neurons: Neurons, task: Task) -> dict[str, Any]:
    """Pre-activations for the notes: the least at a mistake of its own neuron, and the largest on what is held out."""
    own = neurons.before(task.queries).reshape(-1, len(neurons.keys), len(neurons.keys))
    on_memory = neurons.before(task.memory.held_out).amax(-1)
    return {
        "fires_at": float(own.diagonal(dim1=1, dim2=2).min()),
        "memory_above_zero": float((on_memory > 0).float().mean()),
        "memory_largest": float(on_memory.max()),
    }
