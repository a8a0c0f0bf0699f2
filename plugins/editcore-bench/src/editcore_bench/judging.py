"""An optional judge: a language model at an OpenAI-compatible endpoint grades the answers of a run.

Figures of a judge hold for its name, its date and its prompt alone, so all three are recorded, with how often it agrees
with the exact match on the same answers.
"""

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Any, Final
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from attrs import field, frozen

from editcore.authoring.evaluation import wilson
from editcore_hooks import EditcoreError, UsageError

JUDGED: Final = "gen1.em@1"
"""The metric whose rows are graded: they have the whole answer."""
PROMPT: Final = """Grade one answer to a question.

Question: {question}
Right answer: {target}
Given answer: {answer}

Reply CORRECT if the given answer states the right answer, contradicts it nowhere, and does not repeat it over and over.
Otherwise reply INCORRECT. Reply with that one word."""
_SAID: Final = re.compile(r"\b(in)?correct\b", re.IGNORECASE)
_SECONDS: Final = 60
_AT_ONCE: Final = 4


class _Stays(HTTPRedirectHandler):
    """Follows no redirect: the key is for the endpoint that was named."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


@frozen
class Judge:
    """`url` is the base address of the endpoint, such as `https://host/v1`; `key` is sent to it alone."""

    url: str
    model: str
    key: str | None = field(default=None, repr=False)

    def __attrs_post_init__(self) -> None:
        if urlsplit(self.url).scheme not in ("http", "https"):
            raise UsageError(f"{self.url!r} is not the address of an endpoint", hint="write --url https://HOST/v1")

    def grade(self, question: str, target: str, answer: str) -> bool | None:
        """Whether the judge calls the answer right; None where its reply is neither word. Raises `EditcoreError`."""
        text = PROMPT.format(question=question, target=target, answer=answer.strip())
        said = _SAID.search(self._reply(text))
        return None if said is None else said[1] is None

    def _reply(self, text: str) -> str:
        body = {"model": self.model, "messages": [{"role": "user", "content": text}], "temperature": 0, "max_tokens": 8}
        headers = {"Content-Type": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        request = Request(f"{self.url.rstrip('/')}/chat/completions", json.dumps(body).encode(), headers)
        try:
            with build_opener(_Stays()).open(request, timeout=_SECONDS) as response:
                found = json.load(response)["choices"][0]["message"]["content"]
        except HTTPError as error:
            message = f"the judge answered {error.code} {error.reason}"
            raise EditcoreError(message, hint="check --url and the key") from None
        except (URLError, TimeoutError) as error:
            raise EditcoreError(f"the judge cannot be reached: {error}", hint="check --url") from None
        except (ValueError, KeyError, IndexError, TypeError) as error:
            message = f"the reply of the judge is not a chat completion: {error!r}"
            raise EditcoreError(message, hint="check --url") from None
        return found if isinstance(found, str) else ""


def prompt_sha256() -> str:
    return sha256(PROMPT.encode()).hexdigest()


def sampled(rows: Sequence[Mapping[str, Any]], n: int) -> list[Mapping[str, Any]]:
    """At most `n` rows that can be graded, drawn with a fixed seed."""
    every = [row for row in rows if row["metric"] == JUDGED and row["value"] is not None]
    return every if len(every) <= n else random.Random("judge").sample(every, n)


def graded(
    judge: Judge, rows: Sequence[Mapping[str, Any]], advance: Callable[[], None] = lambda: None
) -> dict[str, Any]:
    """The share that the judge calls right, with its interval, the exact match on the same answers, how often both
    agree, and every grade. An answer without a grade does not count."""

    def one(row: Mapping[str, Any]) -> bool | None:
        verdict = judge.grade(row["prompt"], row["target"], row["written"])
        advance()
        return verdict

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        verdicts = list(pool.map(one, rows))
    both = [(verdict, row["value"] == 1) for verdict, row in zip(verdicts, rows, strict=True) if verdict is not None]
    shown = [
        {key: row[key] for key in ("case", "prompt", "target", "written")} | {"judged": verdict}
        for row, verdict in zip(rows, verdicts, strict=True)
    ]
    if not both:
        raise EditcoreError("the judge graded no answer", hint="use another --model: its reply has to be one word")
    value = sum(verdict for verdict, _ in both) / len(both)
    low, high = wilson(value, len(both))
    return {
        "n": len(both),
        "ungraded": len(rows) - len(both),
        "value": value,
        "low": low,
        "high": high,
        "exact": sum(exact for _, exact in both) / len(both),
        "agreement": sum(verdict == exact for verdict, exact in both) / len(both),
        "rows": shown,
    }
