"""Every form answers every question, and nobody outside its folder asks which one it is."""

import ast
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import editcore
import editcore_hooks
from editcore.patches.forms.bits import Bits
from editcore.patches.forms.deltas import Delta, StoredUpdate, in_groups, to_stored, whole
from editcore.patches.forms.form import Form, Parts
from editcore.patches.forms.moved import MOVED
from editcore.patches.forms.table import EXCLUSIVE, FORMS, SPELLINGS, form_named
from editcore.storage.tensors import DTYPE_NAMES
from editcore_hooks import ConflictError, RefusedFileError

SHAPE = (4, 3)
BASE = torch.arange(12.0).reshape(SHAPE)
PARTS: dict[str, Parts] = {
    "low_rank": {"left": torch.tensor([[1.0], [0], [-2], [0]]), "right": torch.tensor([[0.5, 0, 3]])},
    "dense": {"delta": torch.tensor([[1.0, 2, -3], [0, 0, 0], [4, 5, 6], [0, -7, 0]])},
    "sparse": {"index": torch.tensor([[0, 2, 2], [1, 0, 2]]), "values": torch.tensor([1.0, -5, 2])},
    "rows": {"index": torch.tensor([1, 3]), "values": torch.tensor([[1.0, 0, -2], [3, 4, 0]])},
    "xor": {"bits": torch.tensor([[0, 1, 0], [0, 0, 0], [2, 0, 0], [0, 0, 0]], dtype=torch.int32).view(torch.uint32)},
    "replace": {"stored": BASE + 1},
    "moved": {"after": BASE * 2, "before": BASE},
}
ALL = [*FORMS.values(), MOVED]
ADDED = [form for form in ALL if not form.exclusive]
over = pytest.mark.parametrize
named = {"ids": lambda form: form.name}


def matrix(form: Form) -> torch.Tensor:
    """The delta, written once more from the table of the format page."""
    parts, found = PARTS[form.name], torch.zeros(SHAPE, dtype=torch.float64)
    match form.name:
        case "low_rank":
            return parts["left"].double() @ parts["right"].double()
        case "dense":
            return parts["delta"].double()
        case "sparse":
            found[parts["index"][0], parts["index"][1]] = parts["values"].double()
        case "rows":
            found[parts["index"]] = parts["values"].double()
        case "moved":
            return parts["after"].double() - parts["before"].double()
    return found


def shapes(form: Form) -> dict[str, tuple[int, ...]]:
    return {name: tuple(part.shape) for name, part in PARTS[form.name].items()}


def dtypes(form: Form) -> dict[str, str]:
    return {name: DTYPE_NAMES[part.dtype] for name, part in PARTS[form.name].items()}


QUESTIONS: dict[str, Callable[[Form], Any]] = {
    "fault": lambda f: f.fault(SHAPE, {name: (dtype, shapes(f)[name]) for name, dtype in dtypes(f).items()}),
    "shape_fault": lambda f: f.shape_fault(SHAPE, shapes(f)),
    "base_fault": lambda f: f.base_fault(dtypes(f), "F32"),
    "rank": lambda f: f.rank(shapes(f)),
    "value_fault": lambda f: f.value_fault(SHAPE, PARTS[f.name]),
    "index_fault": lambda f: f.index_fault(SHAPE, PARTS[f.name]),
    "block": lambda f: f.block(PARTS[f.name], 0, *SHAPE),
    "norm": lambda f: f.norm(PARTS[f.name]),
    "largest": lambda f: f.largest(PARTS[f.name]),
    "magnitude": lambda f: f.magnitude(PARTS[f.name], 0, *SHAPE),
    "factors": lambda f: f.factors(PARTS[f.name]),
    "ranks": lambda f: f.ranks(PARTS[f.name], 0, 1),
    "support": lambda f: f.support(PARTS[f.name]),
    "renumbered": lambda f: f.renumbered(PARTS[f.name], torch.arange(4), None),
    "scaled": lambda f: f.scaled(PARTS[f.name], 2.0),
    "joined": lambda f: f.joined([PARTS[f.name]] * 2),
    "size_of": lambda f: f.size_of(BASE.double(), BASE),
    "spelled": lambda f: f.spelled(BASE.double(), BASE),
    "of_update": lambda f: f.of_update(update_of(f), transposed=False),
    "becomes": lambda f: f.becomes(PARTS[f.name], BASE),
    "changed": lambda f: f.changed(PARTS[f.name]),
}
REFUSED: dict[str, Callable[[Form], bool]] = {
    **dict.fromkeys(("block", "norm", "largest", "magnitude"), lambda f: f.exclusive),
    **dict.fromkeys(("factors", "ranks"), lambda f: not f.factored),
    "support": lambda f: not f.placed,
    "spelled": lambda f: f not in SPELLINGS,
    "of_update": lambda f: f.update is None,
    "becomes": lambda f: not f.exclusive,
}
"""Which forms have no answer, and say so."""


def update_of(form: Form) -> Any:
    """What a method hands over; any value does for a form that none does."""
    return torch.zeros(1) if form.update is None else form.update(*PARTS[form.name].values())


def test_every_question_is_asked_here() -> None:
    questions = {name for name, _ in inspect.getmembers(Form, inspect.isfunction) if not name.startswith("_")}
    assert questions == set(QUESTIONS)


@over("question", QUESTIONS)
@over("form", ALL, **named)
def test_every_form_answers_every_question(form: Form, question: str) -> None:
    if REFUSED.get(question, lambda _: False)(form):
        with pytest.raises(ConflictError, match=form.name):
            QUESTIONS[question](form)
    else:
        answer = QUESTIONS[question](form)
        if question in ("fault", "base_fault", "value_fault", "index_fault") and form is not MOVED:
            assert answer is None


@over("form", ALL, **named)
def test_a_form_is_one_of_four_things(form: Form) -> None:
    assert [form.exclusive, form.factored, form.placed, form.full].count(True) == 1
    assert isinstance(form, Bits) == form.exclusive == (EXCLUSIVE.get(form.name) is form)


@over("form", FORMS.values(), **named)
def test_a_form_has_a_file_of_its_own(form: Form) -> None:
    assert Path(inspect.getfile(type(form))).stem == form.name
    assert form_named(form.name) is form_named(form) is form


@over("name", ["columns", "moved", "", 3, None, ["dense"]])
def test_an_unknown_form_is_refused_wherever_it_is_named(name: Any) -> None:
    for make in (form_named, lambda form: Delta(form, {}), lambda form: StoredUpdate(form, {})):
        with pytest.raises(RefusedFileError, match="this version of editcore does not read it"):
            make(name)


@over("form", ADDED, **named)
def test_blocks_sizes_and_bounds_are_those_of_the_matrix(form: Form) -> None:
    parts, wanted = PARTS[form.name], matrix(form)
    found = [form.block(parts, start, start + 1, SHAPE[1]) for start in range(SHAPE[0])]
    assert torch.equal(torch.cat(found), wanted)
    assert form.norm(parts) == pytest.approx(float(wanted.norm()))
    assert form.largest(parts) >= float(wanted.abs().max())
    assert bool((form.magnitude(parts, 0, *SHAPE) >= wanted.abs()).all())


@over("form", [form for form in ADDED if form is not MOVED], **named)
def test_a_scaled_delta_is_the_matrix_times_the_scale(form: Form) -> None:
    scaled = Delta(form, PARTS[form.name], -0.5).with_scale()
    assert scaled.scale == 1.0
    assert torch.equal(scaled.block(0, *SHAPE), -0.5 * matrix(form))


@over("form", ADDED, **named)
def test_what_a_form_joins_is_the_sum(form: Form) -> None:
    joined = form.joined([PARTS[form.name], form.scaled(PARTS[form.name], 3.0)])
    if joined is None:
        with pytest.raises(ValueError, match="a sum of"):
            whole([Delta(form, PARTS[form.name])] * 2)
    else:
        assert torch.equal(form.block(joined, 0, *SHAPE), 4 * matrix(form))


@over("form", [form for form in ADDED if form.placed], **named)
def test_support_and_renumbering_keep_the_delta(form: Form) -> None:
    support, wanted = form.support(PARTS[form.name]), matrix(form)
    rows = support.rows.unique()
    columns = None if support.columns is None else support.columns.unique()
    touched = wanted[rows] if columns is None else wanted[rows][:, columns]
    assert touched.square().sum() == wanted.square().sum()
    small = form.renumbered(PARTS[form.name], rows, columns)
    assert torch.equal(form.block(small, 0, *touched.shape), touched)


@over("form", SPELLINGS, **named)
def test_a_spelled_delta_is_the_matrix_and_as_large_as_was_told(form: Form) -> None:
    delta = matrix(FORMS["rows"])
    values = delta.float()
    parts = form.spelled(delta, values)
    assert torch.equal(form.block(parts, 0, *SHAPE), delta)
    assert form.size_of(delta, values) == sum(part.numel() * part.element_size() for part in parts.values())


@over("transposed", [False, True])
@over("form", [form for form in ADDED if form.update is not None], **named)
def test_an_update_is_stored_as_the_matrix_that_it_means(form: Form, transposed: bool) -> None:
    stored = to_stored(update_of(form), transposed)
    wanted = matrix(form).T if transposed else matrix(form)
    assert torch.equal(Delta(stored.form, stored.parts).block(0, *wanted.shape), wanted)
    assert stored.fault(tuple(wanted.shape)) is None


@over("form", EXCLUSIVE.values(), **named)
def test_bits_between_two_tensors_make_the_second_of_the_first(form: Bits) -> None:
    after = torch.tensor([-0.0, 1.5, float("inf")])
    before = torch.tensor([0.0, 1.5, -2.0])
    parts = form.between(before, after)
    assert torch.equal(form.becomes(parts, before).view(torch.int32), after.view(torch.int32))
    assert (form.changed(parts) is not None) == form.needs_base


def test_groups_are_runs_of_ranks_that_join_to_the_whole() -> None:
    g = torch.Generator().manual_seed(0)
    parts = {"left": torch.randn(4, 3, generator=g), "right": torch.randn(3, 3, generator=g)}
    groups = in_groups(Delta("low_rank", parts), [(1, 1.0), (2, 1.0)])
    assert [delta.rank for delta in groups] == [1, 2]
    joined = whole(groups).parts
    assert all(torch.equal(joined[name], part.double()) for name, part in parts.items())


def test_every_update_class_of_the_contract_has_a_form() -> None:
    classes = [form.update for form in FORMS.values() if form.update is not None]
    assert set(classes) == set(editcore_hooks.TensorUpdate.__args__)


def literals(source: str) -> Iterator[tuple[int, str]]:
    """Texts of a module that are the name of a form; `errors="replace"` is a word of Python's."""
    tree = ast.parse(source)
    python = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg == "errors"}
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.Constant) and id(node) not in python else None
        if isinstance(value, str) and value in FORMS:
            yield node.lineno, value


def test_no_file_outside_the_forms_names_one() -> None:
    """Who needs to know what a form does asks it.

    Two things are left out, because the words mean something else there: `rows` outside the rooms that handle patches,
    where tables and figures have rows; and plugins that take nothing from `editcore.patches`.
    """
    root, named = Path(editcore.__file__).parent, []
    sources = [*root.rglob("*.py"), *Path(__file__).parents[4].glob("plugins/*/src/**/*.py")]
    for path in sources:
        inside, source = path.relative_to(root).parts if path.is_relative_to(root) else (), path.read_text("utf-8")
        if inside[:2] == ("patches", "forms") or not (inside or "editcore.patches" in source):
            continue
        handles = inside[:1] in (("patches",), ("session",), ("applying",))
        named += [f"{path}:{line}: {name}" for line, name in literals(source) if name != "rows" or handles]
    assert len(sources) > 200
    assert not named
