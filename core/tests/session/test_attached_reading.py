"""Figures with something attached are those of each text alone, however much is asked together."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

import pytest
import torch

import editcore
from editcore import Case, EditRequest
from editcore.patches.file.patch import Patch
from editcore.patches.file.sealing import seal
from editcore.plugins.registry import Registry
from editcore.testing.tiny import tiny_model
from editcore_hooks import PatchKind, Payload, Site, hookimpl

MASKS: list[int] = []


class LastToken(PatchKind):
    """Adds to the last token of each row, as methods do that look a whole prompt up in a memory."""

    name = "toy.last"

    def attach(self, session: Any, patch: Any) -> Any:
        found: dict[str, Any] = {}

        def look(module: Any, args: Any, kwargs: Any) -> None:
            found["mask"] = kwargs["attention_mask"]
            MASKS.append(found["mask"].dim())

        def add(module: Any, args: Any, output: Any) -> Any:
            mask = found["mask"]
            rows = torch.arange(len(output))
            last = (mask.cumsum(1) * mask).argmax(1) if mask.dim() == 2 else torch.full_like(rows, -1)
            output = output.clone()
            output[rows, last] += patch.tensors["payload/value"]
            return output

        block = session.anatomy.module(Site("mlp_out", 1))
        return [session.model.register_forward_pre_hook(look, with_kwargs=True), block.register_forward_hook(add)]

    def detach(self, session: Any, handle: Any) -> None:
        for one in handle:
            one.remove()


class EveryToken(LastToken):
    """Adds the same to every token, so that it does not matter which row a token is in."""

    name = "toy.every"
    reads_branches = True

    def attach(self, session: Any, patch: Any) -> Any:
        value = patch.tensors["payload/value"]
        block = session.anatomy.module(Site("mlp_out", 1))
        look = session.model.register_forward_pre_hook(
            lambda module, args, kwargs: MASKS.append(kwargs["attention_mask"].dim()), with_kwargs=True
        )
        return [look, block.register_forward_hook(lambda module, args, output: output + value)]


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> editcore.Session:
    module = ModuleType("toy")
    module.editcore_register_patch_kinds = hookimpl(  # type: ignore[attr-defined]
        lambda: [LastToken, EveryToken], specname="editcore_register_patch_kinds"
    )
    folder = tiny_model("llama", tmp_path_factory.mktemp("tiny"), n_layers=2)
    return editcore.open(folder, registry_=Registry.of(module))


def patch_of(session: editcore.Session, kind: str) -> Patch:
    from editcore.editing.annotation import describe_base

    value = torch.linspace(-3, 3, session.model.config.hidden_size)
    return seal({}, describe_base(session), {}, kind="memory", payload=Payload(kind, {}, {"value": value}))


def questions() -> list[tuple[str, str, Any, str]]:
    """So many that begin alike that it is worth reading them as branches of one row."""
    return [
        (f"the river that flows through the old town of {letter} is the", letter, None, "auto")
        for letter in "abcdefghijklmnopqrst"
    ]


@contextmanager
def masks() -> Iterator[list[int]]:
    MASKS.clear()
    yield MASKS


def together_and_alone(session: editcore.Session) -> tuple[torch.Tensor, torch.Tensor, set[int]]:
    with masks() as seen:
        together = [score.logprobs for score in session.score_targets(questions())]
        shapes = set(seen)
    alone = [session.score_targets([question])[0].logprobs for question in questions()]
    return *(torch.tensor([sum(row) for row in rows]) for rows in (together, alone)), shapes


@pytest.mark.parametrize(("kind", "shapes"), [("toy.last", {2}), ("toy.every", {2, 4})])
def test_many_scored_together_are_each_scored_alone(session: editcore.Session, kind: str, shapes: set[int]) -> None:
    before, _, _ = together_and_alone(session)
    with session.patched(patch_of(session, kind)):
        together, alone, seen = together_and_alone(session)
    assert seen <= shapes
    assert max(seen) == max(shapes)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-3)
    assert (together - before).abs().max() > 0.1  # it does something


def test_rows_are_shared_again_once_it_is_off_or_suspended(session: editcore.Session) -> None:
    from editcore.models.running import prefix_tree

    with session.patched(patch_of(session, "toy.last")):
        assert prefix_tree._apart[session.model]
        with session.at_base():
            assert not prefix_tree._apart[session.model]
        assert prefix_tree._apart[session.model]
    assert not prefix_tree._apart[session.model]


def test_a_metric_gives_what_scoring_alone_gives(session: editcore.Session) -> None:
    cases = [
        Case(EditRequest(prompt.replace(f"of {letter}", "of {}"), letter, letter, id=letter))
        for prompt, letter, _, _ in questions()
    ]
    with session.patched(patch_of(session, "toy.last")):
        (report,) = session.evaluate(cases, ["tf.token@1"])
        for row, question in zip(report.rows, questions(), strict=True):
            (alone,) = session.score_targets([question])
            assert row["value"] == sum(alone.hits) / len(alone.hits)
