"""From YAML to a spec. Every refusal names file, line, key and what was expected; names are checked against plugins."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs
from attrs import frozen

from editcore.authoring.settings import Registry, merge, parse, read_text, suggestion_or_list
from editcore_bench.spec.cursor import Cursor
from editcore_bench.spec.protocols import read_protocols
from editcore_bench.spec.values import BASELINE, BASELINES, DatasetChoice, MethodChoice, Pair, Spec
from editcore_hooks import EditcoreError, EditMethod, Metric, UsageError

T = TypeVar("T")

DEMO: Final = "demo"
"""The bundled model, and the cases of its world."""
OWN: Final = "own"
"""Common facts that the model of the spec states by itself."""
CASES: Final = "cases"
"""A file of cases in editcore's own layout."""

BUILT_IN: Final = (DEMO, OWN, CASES)

_MADE_OF: Final = ("models", "baselines", "methods", "datasets", "protocols", "metrics", "pairs", "seeds")
_PARTS: Final = (*_MADE_OF, "answer_tokens", "neutral")
_KEYS: Final = ("title", "about", *_PARTS, DEMO)
_DATASET: Final = ("name", "label", "path", "file", "set", "n", "start")


@frozen
class Choice:
    """A person's changes to the spec: other models, by name where the files of its datasets are, other methods, and
    how many cases of each dataset.

    A file of another layout than the dataset's is `LAYOUT:FILE`. A method that the spec has keeps its settings.
    """

    models: tuple[str, ...] = ()
    data: Mapping[str, str] = {}
    methods: tuple[str, ...] = ()
    n: int | None = None


def read_spec(path: Path, known: Registry, choice: Choice = Choice()) -> Spec:
    """The spec of a file, on the models of `choice`, or else on its own, or else on the bundled model.

    On the bundled model the values under `demo` stand over those of the spec. Raises `UsageError`.
    """
    text = read_text(path, "the spec")
    root = Cursor(parse(text, f"the spec {path.name!r}"), path.name, text).mapping(_KEYS, "a mapping")
    on_demo = choice.models == (DEMO,) or (not choice.models and not root.has("models"))
    parts = {key: root.at(key) for key in _PARTS if root.has(key)}
    if on_demo and root.has(DEMO):
        over = root.at(DEMO).mapping(_PARTS, "a mapping")
        parts |= {key: over.at(key) for key in _PARTS if over.has(key)}
    for key in ("methods", "datasets", "protocols", "metrics"):
        if key not in parts:
            raise root.refused(f"has no {key!r}", f"add `{key}:` with a list")
    reader = _Reader(known, path.parent, choice)
    models = choice.models or ((DEMO,) if on_demo else reader.models(parts["models"]))
    datasets = reader.each(parts["datasets"], "datasets", reader.dataset, lambda one: one.label)
    named = reader.each(parts["metrics"], "metric names", reader.metric, str)
    pairs = reader.pairs(parts["pairs"]) if "pairs" in parts else ()
    if any(one.name == OWN for one in datasets) and len(models) > 1:
        message = f"the dataset {OWN} has other cases for each model"
        raise parts["datasets"].refused(f"cannot be used: {message}", "run one model at a time: --model PATH")
    return Spec(
        name=path.stem,
        title=root.at("title").word("a text") if root.has("title") else path.stem,
        about=root.at("about").word("a text") if root.has("about") else "",
        models=models,
        methods=(*reader.baselines(parts.get("baselines")), *reader.methods(parts["methods"])),
        datasets=datasets,
        protocols=read_protocols(parts["protocols"], datasets),
        metrics=tuple(dict.fromkeys((*named, *(metric for pair in pairs for metric in (pair.forced, pair.written))))),
        pairs=pairs,
        seeds=reader.each(parts["seeds"], "whole numbers", lambda at: at.integer(0), str) if "seeds" in parts else (0,),
        answer_tokens=parts["answer_tokens"].integer(0) if "answer_tokens" in parts else 8,
        neutral=reader.named(parts["neutral"].word("a text file")) if "neutral" in parts else None,
    )


class _Reader:
    def __init__(self, known: Registry, folder: Path, choice: Choice) -> None:
        self._known, self._folder, self._choice = known, folder, choice

    def each(self, at: Cursor, what: str, read: Callable[[Cursor], T], label: Callable[[T], str]) -> tuple[T, ...]:
        found: list[T] = []
        for item in at.items(what):
            one = read(item)
            if label(one) in map(label, found):
                raise item.refused(f"is the second {label(one)!r}", "give it a `label` of its own")
            found.append(one)
        return tuple(found)

    def models(self, at: Cursor) -> tuple[str, ...]:
        return self.each(at, "folders or hub ids", lambda item: self.named(item.word("a folder or a hub id")), str)

    def baselines(self, at: Cursor | None) -> tuple[MethodChoice, ...]:
        names = () if at is None else self.each(at, "baselines", self._baseline, str)
        return tuple(MethodChoice(f"{BASELINE}{name}", name) for name in names)

    def _baseline(self, at: Cursor) -> str:
        name = at.word("the name of a baseline")
        if name not in BASELINES:
            raise at.refused("is not a baseline", suggestion_or_list(name, BASELINES))
        return name

    def methods(self, at: Cursor) -> tuple[MethodChoice, ...]:
        """Those of the spec, or of these and all others the ones that a person chose."""
        listed = self.each(at, "methods", self.method, lambda one: one.label)
        if not self._choice.methods:
            return listed
        chosen: dict[str, MethodChoice] = {}
        for name in self._choice.methods:
            own = [one for one in listed if name in (one.label, one.name)]
            for one in own or [MethodChoice(self._written(self._known.method(name)), name)]:
                chosen[one.label] = one
        return tuple(chosen.values())

    def method(self, at: Cursor) -> MethodChoice:
        if isinstance(at.value, str):
            return self._method(at, at)
        at.mapping(("name", "label", "set", "transforms", "profile"), "the name of a method, or a mapping with `name`")
        if not at.has("name"):
            raise at.refused("has no `name`", "see `editcore methods`")
        return self._method(at.at("name"), at)

    def _method(self, name: Cursor, at: Cursor) -> MethodChoice:
        cls = _looked_up(name, self._known.method)
        if at is name:
            return MethodChoice(self._written(cls), self._written(cls))
        settings = self._settings(at, cls.Hparams, f"editcore methods {cls.name}") if at.has("set") else {}
        listed = at.at("transforms").items("transforms") if at.has("transforms") else []
        return MethodChoice(
            self._written(cls),
            at.at("label").word("a text") if at.has("label") else self._written(cls),
            settings,
            tuple(item.word("a transform like `rect:keep=0.4`") for item in listed),
            at.at("profile").word("the name of a profile") if at.has("profile") else None,
        )

    def _written(self, cls: type[EditMethod]) -> str:
        return self._known.methods.written(cls)

    def _settings(self, at: Cursor, hparams: type, command: str) -> dict[str, Any]:
        settings = at.at("set")
        if not isinstance(settings.value, dict):
            raise settings.expected("a mapping of settings", f"see `{command}`")
        for key, value in settings.value.items():
            try:
                merge(hparams, ("set", {key: value}))
            except UsageError as error:
                raise settings.at(key).refused(f"is invalid: {error.message}", error.hint) from None
        return dict(settings.value)

    def dataset(self, at: Cursor) -> DatasetChoice:
        if not isinstance(at.value, str):
            at.mapping(_DATASET, "the name of a dataset, or a mapping with `name`")
            if not at.has("name"):
                raise at.refused("has no `name`", "see `editcore datasets`")
        named = at if isinstance(at.value, str) else at.at("name")
        name = named.word("the name of a dataset")
        if name not in BUILT_IN:
            _looked_up(named, self._known.dataset)
        row = {} if named is at else at.value
        label = at.at("label").word("a text") if "label" in row else name
        path = self._choice.data.get(label, self._choice.data.get(name))
        settings = self._dataset_settings(at, name) if "set" in row else {}
        layout, colon, rest = (path or "").partition(":")
        if colon and layout in (CASES, *self._known.datasets):
            name, path = layout, rest
            known = () if name == CASES else {one.name for one in attrs.fields(self._known.dataset(name).Hparams)}
            settings = {key: value for key, value in settings.items() if key in known}
        if path is None and "path" in row:
            path = self._beside(at.at("path").word("a file or a hub id"))
        if path is None and name not in (DEMO, OWN):
            raise at.refused(f"does not say where the file of {name} is", f"pass --data {name}=FILE, or write `path:`")
        return DatasetChoice(
            name,
            label,
            None if name in (DEMO, OWN) else path,
            at.at("file").word("the name of a file") if "file" in row else None,
            settings,
            self._choice.n or (at.at("n").integer(1) if "n" in row else None),
            at.at("start").integer(0) if "start" in row else 0,
        )

    def _dataset_settings(self, at: Cursor, name: str) -> dict[str, Any]:
        if name in BUILT_IN:
            raise at.at("set").refused(f"is an option of published layouts, and {name} is not one", "leave it out")
        return self._settings(at, self._known.dataset(name).Hparams, "editcore datasets")

    def metric(self, at: Cursor) -> str:
        found: type[Metric] = _looked_up(at, self._known.metric)
        if found.of_patch:
            raise at.refused("is always recorded, outside the rows, which are the same on every run", "leave it out")
        return self._known.metrics.written(found)

    def pairs(self, at: Cursor) -> tuple[Pair, ...]:
        if not isinstance(at.value, dict):
            raise at.expected("a mapping from a name to two metrics")
        found = []
        for name in at.value:
            both = at.at(name).items("two metrics")
            if len(both) != 2:
                raise at.at(name).expected("a list of two metrics: teacher-forced, and written")
            found.append(Pair(str(name), *map(self.metric, both)))
        return tuple(found)

    def named(self, text: str) -> str:
        """`demo` is the bundled one, whatever lies beside the spec."""
        return text if text == DEMO else self._beside(text)

    def _beside(self, text: str) -> str:
        """A path as people mean it in a file: from the folder of that file; a hub id as it is."""
        beside = self._folder / Path(text).expanduser()
        return str(beside) if beside.exists() else text


def _looked_up(at: Cursor, find: Callable[[str], Any]) -> Any:
    name = at.word("a name")
    try:
        return find(name)
    except EditcoreError as error:
        raise at.refused(f"is invalid: {error.message}", error.hint) from error
