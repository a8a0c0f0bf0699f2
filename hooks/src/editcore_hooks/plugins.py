"""Classes that registration hooks return. The host chooses one by `name` and makes it with its hyper-parameters."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

import attrs

from editcore_hooks.hparams import NoHparams
from editcore_hooks.markers import hookimpl
from editcore_hooks.needs import Need
from editcore_hooks.requests import Case, EditRequest
from editcore_hooks.stages import require_stages
from editcore_hooks.values import Location, Report, State, Tensor, Tunable, Update

if TYPE_CHECKING:
    from editcore_hooks.session import Session

Better = Literal["higher", "lower", "near 1", "neither"]

_LOCATE: Final = {"locate": "editcore_locate"}
_COMPUTE: Final = {"compute_update": "editcore_compute_update"}


class Named:
    """`name` is what people type; `summary` one line; `paper` a citation or address; `Hparams` a frozen attrs class."""

    name: ClassVar[str]
    summary: ClassVar[str] = ""
    paper: ClassVar[str] = ""
    Hparams: ClassVar[type] = NoHparams

    def __init__(self, hparams: Any = None) -> None:
        self.hparams = self.Hparams() if hparams is None else hparams


class EditMethod(Named):
    """An editing method: override `locate` and `compute_update`.

    Keep the class light: it lives in the plugin's `hooks.py`, and imports its maths inside the stage that runs it.
    `capabilities` may hold `batch` (many requests in one update), `sequential` (reads the state of earlier edits) and
    `encoder-decoder` (edits T5 and its like too).
    A class that has a `name` and lacks a stage is a `TypeError` where it is defined.

    The hooks `editcore_locate` and `editcore_compute_update` call the plain methods. Override a hook with `@hookimpl`
    instead to take only the arguments that you name, as pluggy passes them.
    """

    capabilities: ClassVar[frozenset[str]] = frozenset()
    one_site: ClassVar[bool] = False
    """Whether it edits one site. The host then refuses a location of none or several, such as a locator may give."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        require_stages(cls, EditMethod, {**_LOCATE, **_COMPUTE})

    def locate(self, session: "Session", requests: Sequence[EditRequest], state: State) -> Location | None:
        """The location to edit: every site that the update changes. See `editcore_locate` for the promises.

        None if only a locator that the user names can tell. A named locator replaces this method.
        """
        raise NotImplementedError

    def compute_update(
        self, session: "Session", requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update:
        """The change of the weights at `location`, or the payload; the model stays unchanged.

        Each call has one request without the capability `batch`. See `editcore_compute_update` for the promises.
        """
        raise NotImplementedError

    @hookimpl
    def editcore_locate(self, session: "Session", requests: Sequence[EditRequest], state: State) -> Location | None:
        """The hook of `locate`."""
        return self.locate(session, requests, state)

    @hookimpl
    def editcore_compute_update(
        self, session: "Session", requests: Sequence[EditRequest], location: Location, state: State
    ) -> Update | None:
        """The hook of `compute_update`."""
        return self.compute_update(session, requests, location, state)

    @classmethod
    def preset(cls, model: Mapping[str, Any]) -> Mapping[str, Any]:
        """Hyper-parameters this plugin ships for a model, by `{"name", "model_type", "n_layers", ...}`; {} if none.

        `model["edits"]` is the number of facts that are to be written at once.
        """
        return {}

    @classmethod
    def tunable(cls, model: Mapping[str, Any]) -> Tunable | None:
        """Settings worth trying on a model of this shape, for `editcore tune`; None if there is nothing to choose.

        `model` is that of `preset`, the number of edits included.
        """
        return None

    @classmethod
    def place_at(cls, location: Location) -> Mapping[str, Any]:
        """Return the hyper-parameters that make the method edit at `location`; {} if it has none for that place.

        By default the method's `layer`, or its `layers`. `tune` uses them to try first the place that a locator names;
        they have the form of `Tunable.places`.
        """
        layers = [site.layer for site in location.sites if site.layer is not None]
        names = {field.name for field in attrs.fields(cls.Hparams)} if attrs.has(cls.Hparams) else set()
        if "layer" in names and len(set(layers)) == 1:
            return {"layer": layers[0]}
        return {"layers": sorted(set(layers))} if "layers" in names and layers else {}

    @classmethod
    def make_ready(cls, session: "Session", hparams: Sequence[Any]) -> None:
        """Collect what several runs with these hyper-parameters need, in one go where that is cheaper."""

    def compute_each(
        self, session: "Session", requests: Sequence[EditRequest], location: Location, state: State
    ) -> Sequence[Update] | None:
        """The update of each request alone, all from the current model: the result of one call a request, but faster.

        The promises of `editcore_compute_update` hold. With None, the default, the host calls that instead.
        """
        return None

    def fold(self, increments: Sequence[Mapping[str, Tensor]]) -> Any:
        """Turn the increments of the patches present, in stack order, into the state of the next edit."""
        return tuple(increments)


class Locator(Named):
    """Chooses where to edit, in place of the method: override `locate`, or its hook as `EditMethod` says."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        require_stages(cls, Locator, _LOCATE)

    def locate(self, session: "Session", requests: Sequence[EditRequest], state: State) -> Location | None:
        """The place to edit; None leaves it to the method. See `editcore_locate` for the promises."""
        raise NotImplementedError

    @hookimpl
    def editcore_locate(self, session: "Session", requests: Sequence[EditRequest], state: State) -> Location | None:
        """The hook of `locate`."""
        return self.locate(session, requests, state)


class Transform(Named):
    """Changes an update after it was computed; opted into by name and recorded in the patch."""

    def transform(self, session: "Session", update: Update) -> Update:
        """Return the update to seal in place of `update`, at the same sites and of the same shapes."""
        raise NotImplementedError


class Metric(Named):
    """A figure with a versioned name, `pref.es@1`. Scores cases on the current session, patches included.

    `editcore.authoring.evaluation.DialogueMetric` is a metric that only asks questions. It costs least, since the
    questions of all metrics are put together.
    """

    needs: ClassVar[tuple[Need, ...]] = ()
    """Needs of the cases; one case that meets a need is enough."""
    usual: ClassVar[bool] = False
    """Whether it is computed by default, if the cases meet its needs."""
    better: ClassVar[Better] = "neither"
    """Which values are better; `near 1` is for a ratio that should stay at 1."""
    share: ClassVar[bool] = False
    """Whether a row's value lies in [0, 1]; reports write such a figure in percent."""
    of_model: ClassVar[bool] = False
    """Whether it measures the model as a whole and not single cases."""
    of_patch: ClassVar[bool] = False
    """Whether it measures the cost of the edit, which differs between two runs of the same edit."""

    @classmethod
    def lacking(cls, cases: Sequence[Case]) -> tuple[str, ...]:
        """The needs, in words, that none of the cases meets."""
        return tuple(need.words for need in cls.needs if not any(map(need.met, cases)))

    def score(self, session: "Session", cases: Sequence[Case]) -> Report:
        """Return the figure over all `cases`, with its rows, on the current model of `session`."""
        raise NotImplementedError


class Dataset(Named):
    """Reads a published file layout into cases; a file that does not fit is refused naming row and key.

    `keys` are what every record has, empty or not; a layout is recognised by them. `files` says which published files
    are of this layout. `left_out` has a line for each record, or part of one, that the last `read` had no place for:
    `read` clears it when it begins.
    """

    keys: ClassVar[tuple[str, ...]] = ()
    files: ClassVar[str] = ""

    def __init__(self, hparams: Any = None) -> None:
        super().__init__(hparams)
        self.left_out: list[str] = []

    @classmethod
    def sample(cls) -> str:
        """The text of a small file in this layout; empty when there is none."""
        return ""

    def read(self, path: Path) -> Iterable[Case]:
        """Yield the cases of a file.

        Raises `RefusedFileError` with record and key for a record that does not fit, `UsageError` where there is no
        file.
        """
        raise NotImplementedError


class Architecture(Named):
    """Confirms or corrects the map of a model family; `name` is the `model_type` of its configuration."""

    blocks: ClassVar[str]
    """Path of the block list from the root of the model, `transformer.h`."""
    parts: ClassVar[Mapping[str, str]] = {}
    """Role to path: inside a block for `mlp_in`, `mlp_gate`, `mlp_out`, `attn_out`; from the root for the others."""
    prefixes: ClassVar[tuple[str, ...]] = ()
    """Prefixes with and without which checkpoints of this family name the same tensor, `transformer.`."""
    encoder_blocks: ClassVar[str | None] = None
    """Path of the encoder's block list; None for a decoder alone. `blocks` and `parts` are the decoder's."""
    encoder_parts: ClassVar[Mapping[str, str]] = {}
    """As `parts`, for the encoder."""
    width: ClassVar[str | None] = None
    """Name of the MLP width in the configuration, `intermediate_size`; None if no number changes it."""
