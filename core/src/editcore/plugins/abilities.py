"""What a method can do, read from its class: for lists, and for pages that are made of them."""

from typing import Any

from attrs import frozen

from editcore_hooks import EditMethod


@frozen
class Abilities:
    """Answers for people: how many facts, on which models, what it needs first, and what can be taken back."""

    batch: bool
    sequential: bool
    encoder_decoder: bool
    needs: str
    reverts: str

    @classmethod
    def of(cls, method: type[EditMethod]) -> "Abilities":
        batch = "batch" in method.capabilities
        return cls(
            batch=batch,
            sequential="sequential" in method.capabilities,
            encoder_decoder="encoder-decoder" in method.capabilities,
            needs=_needs(method),
            reverts="each patch: the facts that were written together" if batch else "each fact",
        )

    @property
    def words(self) -> tuple[str, ...]:
        """The same in a few words, for a cell of a table."""
        named = (("batch", self.batch), ("sequential", self.sequential), ("T5", self.encoder_decoder))
        return (*(word for word, can in named if can), *([f"needs {self.needs}"] if self.needs else []))


def _needs(method: type[EditMethod]) -> str:
    own: list[str] = []
    if getattr(method.make_ready, "__func__", None) is not getattr(EditMethod.make_ready, "__func__", None):
        own.append("statistics")
    train: Any = getattr(method, "editcore_train", None)
    return " and ".join([*own, *(["training"] if train is not None else [])])
