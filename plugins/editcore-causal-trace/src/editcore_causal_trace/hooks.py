"""The entry module: light, no torch; the maths is imported when a locator runs."""

from collections.abc import Sequence
from typing import Any

from editcore_causal_trace.hparams import LensHparams, TraceHparams
from editcore_hooks import EditRequest, Location, Locator, Session, State, hookimpl

EDITCORE_API = ">=1.0,<2"


class CausalTrace(Locator):
    """The block whose MLPs mediate the facts that are edited."""

    name = "causal-trace"
    summary = "where restored MLP outputs bring back most of an answer whose subject was corrupted"
    paper = "Meng et al. 2022, arXiv:2202.05262"
    Hparams = TraceHparams

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        from editcore_causal_trace.locate import by_trace

        return by_trace(session, requests, self.hparams)


class LogitLens(Locator):
    """The block from which on the answer can be read off the hidden state."""

    name = "logit-lens"
    summary = "the first block from which on the answer can be read off the last token"
    paper = "nostalgebraist 2020, interpreting GPT: the logit lens"
    Hparams = LensHparams

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        from editcore_causal_trace.locate import by_lens

        return by_lens(session, requests, self.hparams)


@hookimpl
def editcore_register_locators() -> list[type[Locator]]:
    return [CausalTrace, LogitLens]


@hookimpl
def editcore_register_commands(cli: Any) -> None:
    cli.add("locate", "editcore_causal_trace.cli:locate", "Find the tokens and blocks that a fact passes through.")
