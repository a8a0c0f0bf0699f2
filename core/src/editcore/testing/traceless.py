"""Run a call and tell what it left on a model and in the generators of random numbers."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from editcore.editing.seeding import seed_all
from editcore.testing.snapshot import Snapshot, random_states
from editcore_hooks import EditcoreError

if TYPE_CHECKING:
    from editcore.facade import Session


def assert_traceless(session: "Session", call: Callable[[], Any]) -> None:
    """Fail where weights, buffers, hooks, modes, gradients or the configuration differ after `call`."""
    before = Snapshot.of(session.model)
    call()
    assert before.changes(Snapshot.of(session.model)) == []


def assert_draws_nothing(session: "Session", call: Callable[[], Any]) -> None:
    """Fail where a global generator of random numbers is at another place after `call`, which the host seeds."""
    seed_all(session.seed)
    before = random_states()
    call()
    assert random_states() == before, "a global generator was drawn from: use a torch.Generator, or fork_rng"


def assert_refused(call: Callable[[], Any], what: str) -> EditcoreError:
    """Fail unless `call` raises an `EditcoreError` with a hint; return it."""
    refusal: Exception | None = None
    try:
        call()
    except Exception as error:
        refusal = error
    assert refusal is not None, f"{what} is not refused"
    found = f"{type(refusal).__name__}: {refusal}"
    assert isinstance(refusal, EditcoreError), f"{what} raises no EditcoreError but {found}"
    assert refusal.hint, f"{what} is refused without a hint: {found}"
    return refusal
