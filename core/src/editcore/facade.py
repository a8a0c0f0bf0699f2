"""An open model: what methods work on, and the Python face of the road from a request to a patch."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define, evolve, field

from editcore.assets.store import AssetStore
from editcore.cases.reading import identified
from editcore.evaluation.engine.answerers import Present
from editcore.evaluation.engine.evaluator import Evaluator
from editcore.evaluation.engine.single_edits import evaluate_each
from editcore.evaluation.engine.texts import with_answers
from editcore.evaluation.engine.unedited import Unedited
from editcore.models.anatomy.architecture_file import read_architecture
from editcore.models.anatomy.model_map import Anatomy
from editcore.models.loading.loader import load
from editcore.models.loading.source import find
from editcore.models.running.generation import generate
from editcore.models.running.scoring import TargetScore, target_logprobs
from editcore.models.tokens.spans import Encoded, encode_prompt, encode_request
from editcore.patches.file.patch import Patch
from editcore.plugins.calls import run_apply_patch, run_evaluate, stage_manager
from editcore.plugins.registry import Registry, registry
from editcore.session.base_checkpoint import base_checkpoint
from editcore.session.live import LiveStack
from editcore.session.model import OpenModel
from editcore.session.talk import Silence, Talk
from editcore.text.neutral import OURS, read_neutral
from editcore_hooks import Applied, Case, ChatTemplate, EditcoreError, EditRequest, Report, hookimpl
from editcore_hooks.requests import TargetPrefix

if TYPE_CHECKING:
    from editcore.editing.compute import EditOptions

T = TypeVar("T")
Question = tuple[str, str, ChatTemplate | None, TargetPrefix]
"""A full prompt, a target, the chat template, and the rule that joins them."""


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
    return Session(loaded, anatomy, checkpoint, plugins, assets or AssetStore(), talk or Silence(), seed, beside, text)


@define(eq=False)
class Session(OpenModel):
    """Everything a method may use of the host. Nothing here is global: two sessions share no state but kept assets."""

    live: LiveStack = field(init=False, repr=False)
    """The patches that are on the model."""
    _memo: dict[Any, Any] = field(factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        self.live = LiveStack(self)

    @property
    def unedited(self) -> Unedited:
        """What the model answers without any patch."""
        return self.cached("unedited", lambda: Unedited(self), base=True)

    def cached(self, key: Any, make: Callable[[], T], *, base: bool = False) -> T:
        """The value kept under `key` for this session and its present patches, made on first use.

        With `base` it is one of the base alone, and kept whatever patches come and go. Of others only those of the
        present stack are kept: the state of a thousand edits in sequence would fill the memory a thousand times.
        """
        stack = None if base else self.live.hash
        if (stack, key) not in self._memo:
            made = make()
            self._memo = {full: value for full, value in self._memo.items() if base or full[0] in (None, stack)}
            self._memo[stack, key] = made
        value: T = self._memo[stack, key]
        return value

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
        from editcore.editing.compute import EditOptions

        request = EditRequest(prompt=prompt, subject=subject, target_new=target, target_true=target_true, id="1")
        return self.edit_all(
            [request], EditOptions(method=method, hparams=(("keyword arguments", hparams),)), measured=measured
        )

    def edit_all(
        self, requests: Sequence[EditRequest], options: "EditOptions | None" = None, *, measured: bool = True
    ) -> Patch:
        """Compute one patch for all `requests` on the present model, which is not changed.

        It carries p(target) of each request before and after, unless `measured` is False.
        """
        from editcore.editing.compute import EditOptions, compute_patch

        patch = compute_patch(self, requests, options or EditOptions())
        return self._measured(patch, requests) if measured else patch

    def edit_each(
        self, requests: Sequence[EditRequest], options: "EditOptions | None" = None, *, measured: bool = True
    ) -> list[Patch]:
        """Compute a patch for each of `requests` alone on the present model; faster than one by one.

        Each carries p(target) before and after, unless `measured` is False.
        """
        from editcore.editing.compute import EditOptions, compute_patches

        patches = compute_patches(self, requests, options or EditOptions())
        if not measured:
            return patches
        return [self._measured(patch, [request]) for patch, request in zip(patches, requests, strict=True)]

    def _measured(self, patch: Patch, requests: Sequence[EditRequest]) -> Patch:
        from editcore.editing.measurement import measure

        try:
            return measure(self, patch, [Case(request) for request in requests], announced=False).patch
        except EditcoreError as error:  # a patch that cannot be put on here is still one
            self.say(f"p(target) was not measured: {error}")
            return patch

    @contextmanager
    def patched(self, *patches: Patch) -> Iterator["Session"]:
        """Put patches on the live model; on the way out, also after an exception, the bits are as before."""
        with ExitStack() as entered:
            for patch in patches:
                self.apply(patch)
                entered.callback(self.live.remove, patch.patch_id)
            yield self

    def apply(self, patch: Patch) -> Applied:
        """Put a patch on the live model until `live.remove`. Raises what the base verdict raises."""
        return run_apply_patch(stage_manager(self.registry, appliers=[_ApplyLive()]), self, patch)

    def at_base(self) -> AbstractContextManager[None]:
        """The model without any patch, those of its folder included, for statistics that belong to the base."""
        return self.live.suspended()

    def encode(self, request: EditRequest) -> Encoded:
        """A request with its new target as token ids, as this model reads them. Raises `UsageError`."""
        return encode_request(self.tokenizer, request, encoder_decoder=self.encoder_decoder)

    def generate(
        self, prompt: str | Sequence[str], max_new_tokens: int = 32, template: ChatTemplate | None = None
    ) -> Any:
        """Greedy continuation of one prompt (a text) or several (a list), each as a user's turn with a `template`."""
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        both = self.encoder_decoder
        rows = [encode_prompt(self.tokenizer, each, template=template, encoder_decoder=both).ids for each in prompts]
        texts = generate(self.model, self.tokenizer, rows, max_new_tokens)
        return texts[0] if isinstance(prompt, str) else texts

    def score_targets(self, questions: Sequence[Question]) -> list[TargetScore]:
        """Teacher-forced log-probabilities of a target after a prompt, for each question.

        With an encoder-decoder the target is a text that ends: its end is scored as its last token.
        """
        both = self.encoder_decoder
        encoded = [
            encode_prompt(self.tokenizer, prompt, target, template, prefix, encoder_decoder=both)
            for prompt, target, template, prefix in questions
        ]
        return target_logprobs(self.model, [(row.prompt_ids, row.target_ids) for row in encoded])

    def evaluate(
        self, cases: Sequence[Case], metrics: Sequence[str], *, protocol: str = "as it stands", answers: int = 0
    ) -> list[Report]:
        """Score `cases` on the model as it stands. With `answers`, rows hold so many tokens of text before and after.

        `protocol` is what the reports say of how the edits came about. Raises `PluginError` for an unknown metric and
        `UsageError` for one that none of the cases can answer, and for two cases of one id; a case without an id is
        called by its number.
        """
        cases = identified(cases)
        found = run_evaluate(stage_manager(self.registry, appliers=[Evaluator()]), self, cases, metrics)
        if answers:
            found = with_answers(found, cases, Present(self), answers)
        return [evolve(report, dtype=self.loaded.dtype, protocol=protocol) for report in found]

    def evaluate_each(
        self, cases: Sequence[Case], patches: Sequence[Patch], metrics: Sequence[str], *, answers: int = 0
    ) -> list[Report]:
        """Score each case with its own patch alone on top of the model as it stands: the protocol `single`.

        Many at once by side branches where that gives the same figures, else one after another. Raises what `evaluate`
        and `apply` raise.
        """
        found = evaluate_each(self, identified(cases), patches, metrics, answers)
        return [evolve(report, dtype=self.loaded.dtype, protocol="single") for report in found]


class _ApplyLive:
    """The host's own applier for the live model."""

    @hookimpl
    def editcore_apply_patch(self, target: Any, patch: Patch) -> Applied | None:
        return target.live.add(patch) if isinstance(target, Session) else None
