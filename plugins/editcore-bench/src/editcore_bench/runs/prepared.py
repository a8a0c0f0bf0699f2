"""A spec made ready: the models found, the cases read, both hashed. What is written of it names no path."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
from attrs import evolve, frozen

from editcore import open as open_model
from editcore.authoring.evaluation import OURS, NeutralText, case_to_json, read_cases, read_neutral
from editcore.authoring.files import sha256_of
from editcore.authoring.patches import Checkpoint
from editcore.authoring.settings import Registry, from_mapping, read_text
from editcore.authoring.sources import find
from editcore_bench.datasets.known import candidates, common_records, known_cases, usual_form
from editcore_bench.datasets.source import find as find_file
from editcore_bench.runs.baselines import RETRIEVED
from editcore_bench.runs.encoder import encoder_folder
from editcore_bench.runs.where import plugin_versions
from editcore_bench.spec.reading import CASES, DEMO, OWN
from editcore_bench.spec.values import DatasetChoice, Spec, plain
from editcore_hooks import Case, UsageError


@frozen
class Machine:
    """The devices of models: part of a run's identity, because numbers depend on it."""

    device: str = "cpu"
    dtype: str | None = None


@frozen
class Prepared:
    """`spec` with names in place of paths; by name of a model its folder or hub id, by label of a dataset its cases;
    `versions` of the plugins it needs; the text on which damage is measured."""

    spec: Spec
    machine: Machine
    places: Mapping[str, str]
    weights: Mapping[str, str]
    cases: Mapping[str, tuple[Case, ...]]
    versions: Mapping[str, str]
    neutral: NeutralText = OURS
    encoder: Path | None = None

    def identity(self) -> dict[str, Any]:
        """The values that two runs must share to exchange cells: JSON values.

        A text for damage is known by its hash alone, and not named where it is editcore's own.
        """
        asked = plain(attrs.asdict(self.spec)).items()
        spec = {key: value for key, value in asked if key != "neutral" and (value or key != "pairs")}
        text = {"neutral": self.neutral.sha256} if self.neutral.sha256 is not None else {}
        return {
            "spec": spec,
            "models": dict(self.weights),
            "datasets": {label: sha256_of([case_to_json(one) for one in some]) for label, some in self.cases.items()},
            "machine": attrs.asdict(self.machine),
            **text,
        }


def prepare(spec: Spec, known: Registry, machine: Machine = Machine(), encoder: str | None = None) -> Prepared:
    """Find the models and read the cases of a spec. Raises `UsageError`, and what a dataset refuses.

    `encoder` is the folder of a sentence encoder; a spec that needs one runs without that row where there is none.
    """
    folder = encoder_folder(encoder)
    if folder is None:
        left = tuple(one for one in spec.methods if one.baseline != RETRIEVED)
        spec = evolve(spec, methods=left)
    places: dict[str, str] = {}
    weights: dict[str, str] = {}
    for model in spec.models:
        source = find(_demo_model() if model == DEMO else model)
        name = DEMO if model == DEMO else source.name
        if name in places:
            raise UsageError(f"two models of the spec are called {name}", hint="rename one of the folders")
        # a hub id is passed on as it is: a worker on another machine fetches its own copy
        places[name] = model if source.revision is not None else str(source.folder)
        weights[name] = Checkpoint.open(source.folder).weights_root()
    cases = {
        dataset.label: _own(dataset, next(iter(places.values())), machine)
        if dataset.name == OWN
        else tuple(_taken(dataset, known))
        for dataset in spec.datasets
    }
    for protocol in spec.protocols:
        for label, some in cases.items():
            if protocol.size > len(some):
                hint = "lower the size in `protocols`"
                raise UsageError(f"{protocol.label} asks for more than the {len(some)} cases of {label}", hint=hint)
    datasets = tuple(evolve(one, path=Path(one.path).name if one.path else None) for one in spec.datasets)
    neutral = Path(spec.neutral).name if spec.neutral is not None else None
    named = evolve(spec, models=tuple(places), datasets=datasets, neutral=neutral)
    return Prepared(
        named, machine, places, weights, cases, plugin_versions(spec, known), _neutral(spec.neutral), folder
    )


def _taken(dataset: DatasetChoice, known: Registry) -> Sequence[Case]:
    wanted = None if dataset.n is None else dataset.start + dataset.n
    found = []
    for number, case in enumerate(_read(dataset, known)):
        if number == wanted:
            break
        if number >= dataset.start:
            found.append(case)
    if not found or len(found) < (dataset.n or 0):
        asked = dataset.n or "some"
        message = f"{dataset.label} has {len(found)} cases from number {dataset.start} on, and {asked} are asked for"
        raise UsageError(message, hint="lower `n` or `start`")
    return found


def _own(dataset: DatasetChoice, place: str, machine: Machine) -> tuple[Case, ...]:
    """The common facts that a model states by itself."""
    session = open_model(_demo_model() if place == DEMO else place, device=machine.device, dtype=machine.dtype)
    asked, _ = candidates(common_records(session.seed), usual_form(session), session.seed)
    wanted = len(asked) if dataset.n is None else dataset.start + dataset.n
    found = known_cases(session, asked, wanted).cases[dataset.start :]
    if not found or len(found) < (dataset.n or 0):
        message = f"{session.loaded.name} states {len(found)} common facts, and {dataset.n or 'some'} are asked for"
        raise UsageError(message, hint="lower `n`, or take facts of published records: editcore datasets known")
    return found


def _read(dataset: DatasetChoice, known: Registry) -> Iterator[Case]:
    if dataset.name == DEMO:
        path = _demo().cases_path()
        yield from read_cases(read_text(path, "the file").split("\n"), path.name)
    elif dataset.name == CASES:
        assert dataset.path is not None
        yield from read_cases(read_text(dataset.path, "the file").split("\n"), Path(dataset.path).name)
    else:
        assert dataset.path is not None
        cls = known.dataset(dataset.name)
        yield from cls(from_mapping(cls.Hparams, dataset.settings)).read(find_file(dataset.path, dataset.file))


def _neutral(named: str | None) -> NeutralText:
    if named is None:
        return OURS
    return read_neutral(_demo().neutral_path() if named == DEMO else Path(named))


def _demo() -> Any:
    try:
        import editcore_demo
    except ImportError as error:
        message = "the bundled model is not installed"
        raise UsageError(message, hint="pip install editcore-demo, or pass --model and --data") from error
    return editcore_demo


def _demo_model() -> Path:
    folder: Path = _demo().model_path()
    return folder
