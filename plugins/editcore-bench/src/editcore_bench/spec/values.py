"""A spec as values. `attrs.asdict` of a cell is what identifies it; texts for people are made here and nowhere else."""

from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs
from attrs import field, frozen

Kind = Literal["single", "batch", "sequential"]

TOGETHER: Final = 32
"""Single edits that are computed at once where the method can: the same patches as one by one, sooner."""


BASELINE: Final = "baseline:"
"""Begins the name of a row without an edit, so that no method of a plugin can have it."""

BASELINES: Final = ("unedited", "fact-in-prompt", "retrieved-fact")


@frozen
class MethodChoice:
    """An editing method as it is to be run; `label` tells two settings of one method apart."""

    name: str
    label: str
    settings: Mapping[str, Any] = field(factory=dict)
    transforms: tuple[str, ...] = ()
    profile: str | None = None

    @property
    def baseline(self) -> str | None:
        """The name of the baseline; None of an editing method."""
        return self.name.removeprefix(BASELINE) if self.name.startswith(BASELINE) else None


@frozen
class DatasetChoice:
    """Cases: of a registered dataset at `path`, of a `cases` file at `path`, or of the bundled `demo` world.

    `file` is which of a repository's files, `settings` are those of the layout. The first `start` cases are left out
    and `n` taken, or all that there are.
    """

    name: str
    label: str
    path: str | None = None
    file: str | None = None
    settings: Mapping[str, Any] = field(factory=dict)
    n: int | None = None
    start: int = 0


@frozen
class Protocol:
    """How edits meet the model.

    `single`: each edit from the base, scored, taken off. `batch`: the cases in groups of `size`, each group one edit.
    `sequential`: `size` edits one after another, none taken off; a case is scored right after its own edit, again
    `gap` edits later, and all edits so far whenever as many as one of `checkpoints` are on. They come `at_once` at a
    time, each group in one patch and scored when all of it is on.
    """

    kind: Kind
    size: int = 1
    checkpoints: tuple[int, ...] = ()
    gap: int | None = None
    at_once: int = 1

    @property
    def label(self) -> str:
        if self.kind == "single":
            return "single"
        return f"{self.kind} {self.size}" + (f", {self.at_once} at once" if self.at_once > 1 else "")


@frozen
class Cell:
    """One run: what is done on one copy of a model from its base."""

    model: str
    method: MethodChoice
    dataset: DatasetChoice
    protocol: Protocol
    seed: int

    @property
    def label(self) -> str:
        seed = f", seed {self.seed}" if self.seed else ""
        return f"{self.model}, {self.method.label}, {self.dataset.label}, {self.protocol.label}{seed}"

    def to_json(self) -> dict[str, Any]:
        return plain(attrs.asdict(self))  # type: ignore[no-any-return]


@frozen
class Pair:
    """One property, teacher-forced and by the model's own answers."""

    name: str
    forced: str
    written: str


@frozen
class Spec:
    """A benchmark: every combination of its parts is a cell.

    `answer_tokens` is the length of the texts kept. Reports show the metrics of `pairs` side by side.

    `neutral` is the file on which damage is measured, `demo` that of the bundled world, None editcore's own text.
    """

    name: str
    title: str
    about: str
    models: tuple[str, ...]
    methods: tuple[MethodChoice, ...]
    datasets: tuple[DatasetChoice, ...]
    protocols: tuple[Protocol, ...]
    metrics: tuple[str, ...]
    seeds: tuple[int, ...] = (0,)
    answer_tokens: int = 8
    neutral: str | None = None
    pairs: tuple[Pair, ...] = ()

    def cells(self) -> tuple[Cell, ...]:
        """Every combination, those of one model and dataset together."""
        return tuple(
            Cell(model, method, dataset, protocol, seed)
            for model in self.models
            for dataset in self.datasets
            for method in self.methods
            for protocol in self.protocols
            for seed in self.seeds
        )


def cell_from_json(value: Mapping[str, Any]) -> Cell:
    """Read the result of `Cell.to_json`. Raises KeyError and TypeError for anything else."""
    method, protocol = value["method"], value["protocol"]
    return Cell(
        value["model"],
        MethodChoice(**{**method, "transforms": tuple(method["transforms"])}),
        DatasetChoice(**value["dataset"]),
        Protocol(**{**protocol, "checkpoints": tuple(protocol["checkpoints"])}),
        value["seed"],
    )


def plain(value: Any) -> Any:
    """Tuples as lists, as JSON has them."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, tuple | list) else value
