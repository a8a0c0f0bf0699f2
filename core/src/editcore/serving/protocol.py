"""The requests of the OpenAI protocol that are answered, and the shapes of the answers. Needs pydantic."""

import time
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from editcore.serving.engine import Reply, Wish

BASE = ":base"
"""What follows the name of the model to ask for the base."""


class Message(BaseModel):
    """A turn of a conversation."""

    model_config = ConfigDict(extra="ignore")
    role: Literal["system", "developer", "user", "assistant"]
    content: str


class Asked(BaseModel):
    """What both kinds of requests share. `stack` is ours: false asks for the base."""

    model_config = ConfigDict(extra="ignore")
    model: str = ""
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=2)
    top_p: float = Field(default=1.0, gt=0, le=1)
    n: int = Field(default=1, ge=1, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool = False
    stack: bool = True

    def wish(self, default: int, max_tokens: int | None = None) -> Wish:
        """How to write; `default` tokens where the request names no number."""
        stop = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return Wish(
            max_tokens=max_tokens or self.max_tokens or default,
            temperature=self.temperature,
            top_p=self.top_p,
            seed=self.seed,
            stop=tuple(text for text in stop if text),
            stack=self.stack and not self.model.endswith(BASE),
        )


class ChatAsked(Asked):
    """A request for the next turn of a conversation."""

    messages: list[Message] = Field(min_length=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)


class TextAsked(Asked):
    """A request for the continuation of a text."""

    prompt: str | list[str]


def chunk(kind: str, id_: str, model: str, choice: dict[str, Any]) -> dict[str, Any]:
    """A piece of a stream, or an answer without its usage."""
    return {"id": id_, "object": kind, "created": int(time.time()), "model": model, "choices": [{"index": 0, **choice}]}


def usage(reply: Reply) -> dict[str, int]:
    """The tokens that were read and written."""
    total = reply.prompt_tokens + reply.tokens
    return {"prompt_tokens": reply.prompt_tokens, "completion_tokens": reply.tokens, "total_tokens": total}
