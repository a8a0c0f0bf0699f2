"""The tour of `editcore demo`: a fact before and after, the patch, a stack, and the way back to the last bit."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

from editcore import EditOptions, Session
from editcore import open as open_model
from editcore.authoring.commands import Output, quoted, show
from editcore.authoring.evaluation import parse_case
from editcore.authoring.files import file_sha256
from editcore.authoring.patches import Checkpoint, Patch, apply_on_disk, copy_checkpoint, revert_on_disk
from editcore.authoring.running import measure
from editcore_demo import cases, model_path
from editcore_hooks import Case, EditcoreError

NEIGHBOURS = 3
Rows = list[list[str]]


def tour(out: Output, output: str | None) -> None:
    """Run the demo in `output`, or in a new temporary folder."""
    place = Path(output or tempfile.mkdtemp(prefix="editcore-demo-"))
    place.mkdir(parents=True, exist_ok=True)
    model = place / "model"
    copy_checkpoint(model_path(), model)
    fingerprints = _fingerprints(model)
    first, second = chosen()
    rows: list[dict[str, str]] = []

    out.say(f"A copy of the demo model, a small GPT-2 that knows an invented world, lies in {model}")
    session = open_model(model, talk=out)
    patches = [
        _edit(out, session, first, place / "first.safetensors", rows),
        _edit(out, session, second, place / "second.safetensors", rows),
    ]

    _chapter(out, f"The first patch is a file of {(place / 'first.safetensors').stat().st_size:,} bytes")
    if not out.as_json:
        show(out, Patch.read_header(place / "first.safetensors"))

    _chapter(out, "Both patches on the folder: plain from_pretrained now loads the edited model")
    apply_on_disk(Checkpoint.open(model), patches)
    both = _answers(model, [first, second])
    _chapter(out, "The first taken off again, the second stays")
    revert_on_disk(Checkpoint.open(model), [patches[0].patch_id])
    one = _answers(model, [first, second])
    prompts = (_text(first), _text(second))
    _show(out, ["prompt", "both patches", "second only"], [list(row) for row in zip(prompts, both, one, strict=True)])

    _chapter(out, "And the second")
    revert_on_disk(Checkpoint.open(model), [patches[1].patch_id])
    if _fingerprints(model) != fingerprints:
        raise EditcoreError("the folder differs from the base after both patches were reverted", hint="report this")
    _chapter(out, f"Every one of {len(fingerprints)} files has the sha256 it began with")
    if out.as_json:
        ids = [patch.patch_id for patch in patches]
        stack = {"both": both, "second_only": one}
        files = len(fingerprints)
        out.json({"folder": str(place), "patches": ids, "rows": rows, "stack": stack, "files_equal": files})
    out.say(f"\nTry next:\n  editcore apply {quoted(place / 'first.safetensors')} --model {quoted(model)} --in-place")
    out.say(f"  editcore generate {quoted(model)} --prompt {quoted(_text(first))} --max-new-tokens 5")


def chosen() -> tuple[Case, Case]:
    """The first bundled case that has paraphrases and enough neighbours, and the next of another relation."""
    fitting = [
        parse_case(row, "the demo's cases")
        for row in cases()
        if row["rephrases"] and len(row["locality"]["neighbour"]) >= NEIGHBOURS
    ]
    first = fitting[0]
    others = (case for case in fitting if case.request.subject != first.request.subject)
    return first, next(case for case in others if case.request.prompt != first.request.prompt)


def _edit(out: Output, session: Session, case: Case, path: Path, rows: list[dict[str, str]]) -> Patch:
    request = case.request
    _chapter(out, f"{_text(case)} … {request.target_true}. Make it: {request.target_new}")
    patch = session.edit_all([request], EditOptions(method="rome"), measured=False)
    measured = measure(session, patch, [case], ["pref.es@1", "pref.ps@1", "pref.ns@1"])
    measured.patch.save(path)
    asked = [("prompt", _text(case)), *(("paraphrase", text) for text in case.rephrases)]
    asked += [("neighbour", probe.prompt) for probe in case.locality["neighbour"][:NEIGHBOURS]]
    prompts = [prompt for _, prompt in asked]
    before = _answered(session, prompts)
    with session.patched(patch):
        after = _answered(session, prompts)
    for (kind, prompt), old, new in zip(asked, before, after, strict=True):
        rows.append({"kind": kind, "prompt": prompt, "before": old, "after": new})
    _show(out, ["", "prompt", "before", "after"], [[*row.values()] for row in rows[-len(asked) :]])
    (effect,) = measured.measurements
    out.say(f"p({request.target_new}) {effect.before:.3g} -> {effect.after:.3g}; saved as {path}")
    return measured.patch


def _answers(folder: Path, asked: Sequence[Case]) -> list[str]:
    """The answer of a freshly loaded folder."""
    return _answered(open_model(folder), [_text(case) for case in asked])


def _answered(session: Session, prompts: Sequence[str]) -> list[str]:
    """The greedy continuation up to the end of the sentence."""
    return [text.partition(".")[0].strip() for text in session.generate(list(prompts), max_new_tokens=10)]


def _text(case: Case) -> str:
    return case.request.rendered().text


def _fingerprints(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): file_sha256(p) for p in sorted(folder.rglob("*")) if p.is_file()}


def _chapter(out: Output, text: str) -> None:
    out.say(f"\n{text}")


def _show(out: Output, columns: list[str], rows: Rows) -> None:
    if not out.as_json:
        out.table(columns, rows)
