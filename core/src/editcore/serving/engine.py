"""Replies of an open model, one at a time, piece by piece, with its patches or as the base."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import torch
from attrs import define, field, frozen
from jinja2 import TemplateError
from transformers import StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from editcore.models.running.batch import pad
from editcore.models.running.generation import PAD_ID
from editcore.models.tokens.tokenising import tokenise
from editcore_hooks import EditcoreError, UsageError

if TYPE_CHECKING:
    from editcore.session.open_session import OpenSession


@frozen
class Wish:
    """How to write: at most `max_tokens`, greedily at temperature 0, up to one of the texts `stop`."""

    max_tokens: int = 256
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int | None = None
    stop: tuple[str, ...] = ()
    stack: bool = True
    """With the patches, or as the base."""


@define
class Reply:
    """What was written: `finish` is `stop` or `length`."""

    text: str = ""
    prompt_tokens: int = 0
    tokens: int = 0
    finish: str = "stop"


@define
class Engine:
    """One model. A second caller waits until the first reply is written."""

    session: "OpenSession"
    _lock: Any = field(factory=threading.Lock)

    def ids_of_text(self, text: str) -> tuple[int, ...]:
        """The ids of a text to continue."""
        return tokenise(self.session.tokenizer, text, closed=self.session.encoder_decoder).ids

    def ids_of_chat(self, messages: Sequence[Mapping[str, str]]) -> tuple[int, ...]:
        """The ids of a conversation up to where the model answers. Raises `UsageError` without a chat template."""
        tokenizer = self.session.tokenizer
        if not getattr(tokenizer, "chat_template", None):
            raise UsageError("this tokenizer has no chat template", hint="ask for a completion of a text")
        try:
            text = str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True))
        except (ValueError, TemplateError) as error:
            raise UsageError(f"the chat template refuses these messages: {error}", hint="check their roles") from error
        return tokenise(tokenizer, text, special=False).ids

    def write(self, ids: Sequence[int], wish: Wish, reply: Reply) -> Iterator[str]:
        """Yield the pieces of a reply as they are written, and fill `reply`; closing the iterator stops the writing.

        Raises `UsageError` where prompt and reply are longer than the model.
        """
        longest = self.session.max_length
        if not self.session.encoder_decoder and len(ids) + wish.max_tokens > longest:
            raise UsageError(
                f"prompt and reply have {len(ids)} and up to {wish.max_tokens} tokens, but the model takes {longest}",
                hint="ask for fewer tokens",
            )
        reply.prompt_tokens = len(ids)
        with self._lock, nullcontext() if wish.stack else self.session.at_base():
            streamer = TextIteratorStreamer(self.session.tokenizer, skip_prompt=True, skip_special_tokens=True)
            halt = _Halt()
            worker = threading.Thread(target=self._generate, args=(ids, wish, reply, streamer, halt), daemon=True)
            worker.start()
            try:
                for piece in _until(streamer, wish.stop, halt):
                    reply.text += piece
                    yield piece
            except GeneratorExit:
                halt.asked = True
                raise
            finally:
                worker.join()
                if halt.asked:  # also where the model had written all its tokens before the text that stops was read
                    reply.finish = "stop"
        if halt.error is not None:
            raise halt.error

    def reply(self, ids: Sequence[int], wish: Wish) -> Reply:
        """The whole reply."""
        made = Reply()
        for _ in self.write(ids, wish, made):
            pass
        return made

    def _generate(self, ids: Sequence[int], wish: Wish, reply: Reply, streamer: Any, halt: "_Halt") -> None:
        model, batch = self.session.model, pad([ids]).to(self.session.device)
        drawn: dict[str, Any] = {"do_sample": False}
        if wish.temperature > 0:
            drawn = {"do_sample": True, "temperature": wish.temperature, "top_p": wish.top_p, "top_k": 0}
        try:
            with torch.no_grad(), torch.random.fork_rng():
                torch.manual_seed(wish.seed) if wish.seed is not None else torch.seed()
                made = model.generate(
                    batch.ids,
                    attention_mask=batch.mask,
                    max_new_tokens=wish.max_tokens,
                    pad_token_id=PAD_ID,
                    streamer=streamer,
                    stopping_criteria=StoppingCriteriaList([halt]),
                    **drawn,
                )
            reply.tokens = int(made.shape[1]) - (1 if self.session.encoder_decoder else len(ids))
            reply.finish = "length" if reply.tokens >= wish.max_tokens else "stop"
        except Exception as error:  # raised where the reply is read
            halt.error = error if isinstance(error, EditcoreError) else EditcoreError(f"the model failed: {error}")
            streamer.end()


class _Halt(StoppingCriteria):  # type: ignore[misc]
    """Ends the writing when it is asked to."""

    def __init__(self) -> None:
        self.asked = False
        self.error: EditcoreError | None = None

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return torch.full((len(input_ids),), self.asked, dtype=torch.bool, device=input_ids.device)


def _until(pieces: Any, stop: Sequence[str], halt: _Halt) -> Iterator[str]:
    """The pieces before the first of the texts `stop`, which halts; what could begin one is held back."""
    held, longest = "", max((len(text) for text in stop), default=1)
    for piece in pieces:
        held += piece
        ends = [at for text in stop if (at := held.find(text)) >= 0]
        if ends:
            halt.asked = True
            if held[: min(ends)]:
                yield held[: min(ends)]
            return
        ready = len(held) - (longest - 1)
        if ready > 0:
            yield held[:ready]
            held = held[ready:]
    if held:
        yield held
