"""The rows of a request: the target after the question, and what the samples go on from, with and without context."""

from collections.abc import Sequence
from typing import TYPE_CHECKING
from zlib import crc32

from attrs import field, frozen

from editcore.authoring.models import Item, end_ids, ended
from editcore_ft.objective import Example, TrainingRow
from editcore_hooks import EditRequest, UsageError
from editcore_ice.hparams import IceHparams
from editcore_ice.statements import contexts_of, with_context

if TYPE_CHECKING:
    from editcore_hooks import Session


@frozen
class IceExample:
    """`fact` is the row [q, x*] of L_FT, `stated` those of [c, q, x*].

    A sample goes on from `student`, q and what is given of the answer, and each from one of `teachers`, the same after
    its context. `ends` are the tokens that end an answer; `closed` says that x* ends with one, so that the place after
    the rest of x* is taught by L_FT alone.
    """

    index: int
    fact: Example
    stated: Example
    student: Item
    teachers: tuple[Item, ...]
    ends: tuple[int, ...]
    closed: bool
    seed: int
    contexts: tuple[str, ...] = field(repr=False)


def ice_examples(session: "Session", requests: Sequence[EditRequest], hparams: IceHparams) -> list[IceExample]:
    """The examples, sorted by their ids: in what order requests were given must not change an edit."""
    made = [_example(session, i, request, hparams) for i, request in enumerate(requests)]
    if hparams.ice_weight and hparams.sample_length < 2 and any(example.closed for example in made):
        message = "samples of one token have nothing to teach: the place after the target is that of its end"
        raise UsageError(message, hint="--set sample_length=3, --set sample_after=prompt, or --set eos=false")
    return sorted(made, key=lambda example: (tuple(example.student[0]), example.fact.rows[0].labels))


def _example(session: "Session", index: int, request: EditRequest, hparams: IceHparams) -> IceExample:
    encoded = session.encode(request)
    q, target = encoded.prompt_ids, encoded.target_ids
    answer = target[:-1] if encoded.encoder_decoder and len(target) > 1 else target  # a decoder of its own says its end
    full = ended(target, session.tokenizer, request.template, hparams.eos)
    given = answer if hparams.sample_after == "target" else ()
    seed = crc32(repr((session.seed, q, target)).encode())
    contexts = contexts_of(session, request, hparams, seed)
    asked = [session.encode(with_context(request, context)).prompt_ids for context in contexts]
    return IceExample(
        index=index,
        fact=Example(index, (TrainingRow((q, full), full),)),
        stated=Example(index, tuple(TrainingRow((prompt, full), full) for prompt in asked)),
        student=(q, given),
        teachers=tuple((prompt, given) for prompt in asked for _ in range(hparams.sample_count)),
        ends=tuple({*end_ids(session.tokenizer, request.template), *end_ids(session.tokenizer)}),
        closed=bool(given) and len(full) > len(answer),
        seed=seed,
        contexts=contexts,
    )
