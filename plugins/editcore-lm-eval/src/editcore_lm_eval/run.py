"""Tasks of lm-evaluation-harness on an open model in its current state, run by that library itself."""

import copy
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy
from attrs import frozen

from editcore import Session
from editcore.authoring.running import model_unchanged
from editcore.authoring.settings import suggestion
from editcore.authoring.sources import first_line
from editcore_hooks import EditcoreError, UsageError


@frozen
class Settings:
    """`limit` documents a task, or all; `fewshot` examples before each, or what the task says."""

    limit: int | None = None
    fewshot: int | None = None
    batch_size: int = 8


def load_tasks(names: Sequence[str], folder: Path | None = None) -> Any:
    """A task manager that knows all of `names`, from `folder` alone when it has them.

    Files of the folder can run Python code. Raises `UsageError` for a name that nothing has.
    """
    from lm_eval.tasks import TaskManager

    logging.getLogger("lm_eval").setLevel(logging.ERROR)
    if folder is not None and not folder.is_dir():
        raise UsageError(f"there is no folder {folder}", hint="name a folder with the YAML files of tasks")
    known = TaskManager(include_path=str(folder), include_defaults=False) if folder is not None else None
    if known is None or not set(names) <= set(known.all_tasks):
        known = TaskManager(include_path=None if folder is None else str(folder))  # reads thousands of files
    for name in names:
        if name not in known.all_tasks:
            near = suggestion(name, known.all_tasks)
            raise UsageError(f"there is no task {name!r}", hint=near or "list them with `lm-eval ls tasks`")
    return known


def run_tasks(session: Session, names: Sequence[str], tasks: Any, settings: Settings) -> Mapping[str, Any]:
    """The result of `lm_eval.simple_evaluate` for the model of `session` with the patches that are on it.

    The model, its modes and the generators of random numbers are as before. Raises `EditcoreError` with the library's
    reason when it fails, most often since a dataset is not there.
    """
    from lm_eval import simple_evaluate
    from lm_eval.models.huggingface import HFLM

    seed = session.seed
    with model_unchanged(session.model, "lm-evaluation-harness"), _numpy_unchanged():
        try:
            # A copy, since a tokenizer without a pad token is given one.
            tokenizer = copy.deepcopy(session.tokenizer)
            model = HFLM(session.model, tokenizer=tokenizer, batch_size=settings.batch_size)
            results = simple_evaluate(
                model,
                tasks=list(names),
                task_manager=tasks,
                num_fewshot=settings.fewshot,
                limit=settings.limit,
                bootstrap_iters=0,  # the interval that counts is that of the paired difference
                random_seed=seed,
                numpy_random_seed=seed,
                torch_random_seed=seed,
                fewshot_random_seed=seed,
            )
        except Exception as error:  # of the library, of datasets, of the network
            raise EditcoreError(
                f"lm-evaluation-harness stopped: {first_line(error)}",
                hint="check that the dataset of the task is here or on the hub, or see the cause with --debug",
            ) from error
    return dict(results or {})


@contextmanager
def _numpy_unchanged() -> Iterator[None]:
    state = numpy.random.get_state()
    try:
        yield
    finally:
        numpy.random.set_state(state)
