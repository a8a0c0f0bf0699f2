"""The entry module: light, no torch; what encodes texts is imported by the stage that does."""

from collections.abc import Sequence
from typing import Any, ClassVar

from editcore_hooks import EditMethod, EditRequest, Location, PatchKind, Session, State, Update, hookimpl
from editcore_ike.hparams import IkeHparams, ManyHparams, RetrievalHparams
from editcore_ike.kind import FactsKind, TextsKind

EDITCORE_API = ">=1.0,<2"


class IkePrompt(EditMethod):
    """The fact before the prompt, without demonstrations."""

    name = "ike-prompt"
    summary = "the new fact before similar prompts, without demonstrations"
    paper = "Zheng et al. 2023, arXiv:2305.12740"
    Hparams: ClassVar[type] = RetrievalHparams
    capabilities = frozenset({"batch"})
    form: ClassVar[str] = "ike"

    def locate(self, session: Session, requests: Sequence[EditRequest], state: State) -> Location:
        return Location(())

    def compute_update(
        self, session: Session, requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        from editcore_ike.method import compute_update

        return compute_update(session, requests, self.hparams, self.form)


class Ike(IkePrompt):
    """Demonstrations of how a fact is used, then the fact, then the prompt."""

    name = "ike"
    summary = "in-context editing: demonstrations and the new fact before similar prompts"
    Hparams = IkeHparams


class Retrieval(IkePrompt):
    """The edited facts nearest to a prompt, as sentences before it: the baseline of every table."""

    name = "retrieval"
    summary = "the nearest edited facts as sentences before a prompt"
    paper = "arXiv:2606.00570"
    Hparams = ManyHparams
    form = "sentences"


@hookimpl
def editcore_register_methods() -> list[type[EditMethod]]:
    return [Ike, IkePrompt, Retrieval]


@hookimpl
def editcore_register_patch_kinds() -> list[type[PatchKind]]:
    return [FactsKind, TextsKind]


@hookimpl
def editcore_register_commands(cli: Any) -> None:
    cli.add("mello", "editcore_ike.mello.cli:mello", "Answer a question of several steps with the edited facts.")
