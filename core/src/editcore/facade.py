"""The Python interface: open, edit and evaluate a model. The only module that knows all rooms."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define

from editcore.assets.store import AssetStore
from editcore.editing.compute import compute_patch, compute_patches, read_first, require_requests
from editcore.editing.measurement import measure
from editcore.editing.prepared import EditOptions, PreparedMethod
from editcore.evaluation.engine.evaluate import evaluate
from editcore.evaluation.engine.single_edits import evaluate_each
from editcore.evaluation.engine.unedited import Unedited, unedited_of
from editcore.models.anatomy.architecture_file import read_architecture
from editcore.models.anatomy.model_map import Anatomy
from editcore.models.loading.loader import load
from editcore.models.loading.source import find
from editcore.models.running.finite import explained
from editcore.patches.file.patch import Patch
from editcore.plugins.registry import Registry, registry
from editcore.session.base_checkpoint import base_checkpoint
from editcore.session.open_session import OpenSession
from editcore.session.talk import Silence, Talk
from editcore.text.neutral import OURS, read_neutral
from editcore.tuning.prepare import prepare
from editcore_hooks import Case, EditcoreError, EditRequest, Report


def open_model(
    source: str | Path,
    *,
    dtype: str | None = None,
    device: str = "cpu",
    device_map: Mapping[str, int | str] | str | None = None,
    offload_folder: str | Path | None = None,
    revision: str | None = None,
    seed: int = 0,
    trust_remote_code: bool = False,
    architecture: str | Path | None = None,
    quantization: Any = None,
    base: str | Path | None = None,
    beside: bool = False,
    neutral: str | Path | None = None,
    registry_: Registry | None = None,
    assets: AssetStore | None = None,
    talk: Talk | None = None,
) -> "Session":
    """Open the model of a folder or hub id; a folder with applied patches opens as it is, patched.

    `dtype` is what the model runs in (default: float32 on a CPU, the stored one on an accelerator); patches are always
    made and applied in the stored dtype. `device="auto"`, or a `device_map` of modules to devices, `cpu` and `disk`,
    opens a model that is larger than a device; both need accelerate. `architecture` is a YAML file with the map of a
    model that no table knows; see `editcore.models.anatomy.architecture_file`.

    `quantization` is a quantisation configuration of transformers to load with. A model that is stored quantised needs
    `base`, the same model before, by whose files patches are judged. Low-rank patches run beside quantised weights;
    with `beside` they do so beside every weight, also one that could be written, which costs less memory where a model
    is offloaded.

    `neutral` is a text file, one passage a line, to measure damage on in place of our own passages. Raises
    `UsageError`, `RefusedFileError`.
    """
    plugins = registry_ or registry()
    given = None if architecture is None else read_architecture(architecture)
    before = None if base is None else find(base).folder
    loaded = load(
        source,
        dtype=dtype,
        device=device,
        device_map=device_map,
        offload_folder=offload_folder,
        revision=revision,
        trust_remote_code=trust_remote_code,
        quantization=quantization,
        base=before,
    )
    anatomy = Anatomy.of(loaded.model, tuple(plugins.architectures.classes().values()), given)
    checkpoint = base_checkpoint(loaded, before)
    text = OURS if neutral is None else read_neutral(Path(neutral))
    kept, silent = assets or AssetStore(), talk or Silence()
    session = Session(loaded, anatomy, checkpoint, plugins, kept, silent, seed, beside, text)
    session.live.attach_folder()
    return session


def load_model(source: str | Path, *patches: str | Path, **options: Any) -> tuple[Any, Any]:
    """The model and the tokenizer of a folder, with the patches that it carries beside its weights, and `patches`.

    The model is one of transformers: `generate` and forward passes answer with the patches. `options` are those of
    `editcore.open`. Raises what that and `Session.apply` raise.
    """
    session = open_model(source, **options)
    for path in patches:
        session.apply(Patch.load(path))
    return session.model, session.tokenizer


@define(eq=False)
class Session(OpenSession):
    """An open model that can be edited and evaluated. Two sessions share no state but kept assets."""

    @property
    def unedited(self) -> Unedited:
        """Answers of the model without any patch."""
        return unedited_of(self)

    def edit(
        self,
        *,
        prompt: str,
        subject: str,
        target: str,
        target_true: str | None = None,
        method: str = "rome",
        measured: bool = True,
        **hparams: Any,
    ) -> Patch:
        """Compute the patch of one fact. Keyword arguments beyond these are hyper-parameters of the method.

        The patch carries p(target) before and after, as that of the command line does, unless `measured` is False.
        """
        request = EditRequest(prompt=prompt, subject=subject, target_new=target, target_true=target_true, id="1")
        return self.edit_all(
            [request], EditOptions(method=method, hparams=(("keyword arguments", hparams),)), measured=measured
        )

    def edit_all(
        self, requests: Sequence[EditRequest], options: EditOptions | None = None, *, measured: bool = True
    ) -> Patch:
        """Compute one patch for all `requests` on the present model, which is not changed.

        It carries p(target) of each request before and after, unless `measured` is False.
        """
        patch = compute_patch(self, requests, self._prepared(requests, options, len(requests)))
        return self._measured(patch, requests) if measured else patch

    def edit_each(
        self, requests: Sequence[EditRequest], options: EditOptions | None = None, *, measured: bool = True
    ) -> list[Patch]:
        """Compute a patch for each of `requests` alone on the present model; faster than one by one.

        Each carries p(target) before and after, unless `measured` is False.
        """
        patches = compute_patches(self, requests, self._prepared(requests, options, 1))
        if not measured:
            return patches
        return [self._measured(patch, [request]) for patch, request in zip(patches, requests, strict=True)]

    def _prepared(self, requests: Sequence[EditRequest], options: EditOptions | None, edits: int) -> PreparedMethod:
        require_requests(requests)
        with explained(self.model, lambda: read_first(self, requests)):
            return prepare(self, options or EditOptions(), edits)

    def _measured(self, patch: Patch, requests: Sequence[EditRequest]) -> Patch:
        try:
            return measure(self, patch, [Case(request) for request in requests], announced=False).patch
        except EditcoreError as error:  # a patch that cannot be put on here is still one
            self.say(f"p(target) was not measured: {error}")
            return patch

    def evaluate(
        self,
        cases: Sequence[Case],
        metrics: Sequence[str],
        *,
        protocol: str = "as it stands",
        answers: int = 0,
        preface: Callable[[Case, str], str] | None = None,
    ) -> list[Report]:
        """Score `cases` on the current model. With `answers`, rows hold so many tokens of text before and after.

        `protocol` names in the reports how the edits were made. `preface(case, prompt)` is a text that the current
        model, but not the unedited one, gets before the prompt, within its chat template if there is one.

        Raises `PluginError` for an unknown metric and `UsageError` for one that none of the cases can answer, and for
        two cases of one id; a case without an id is called by its number.
        """
        return evaluate(self, cases, metrics, protocol=protocol, answers=answers, preface=preface)

    def evaluate_each(
        self, cases: Sequence[Case], patches: Sequence[Patch], metrics: Sequence[str], *, answers: int = 0
    ) -> list[Report]:
        """Score each case with its own patch alone on top of the current model: the protocol `single`.

        Many at once by side branches where that gives the same figures, else one after another. Raises what `evaluate`
        and `apply` raise.
        """
        return evaluate_each(self, cases, patches, metrics, answers)
