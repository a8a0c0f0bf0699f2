"""The result of a training as an asset: what identifies it, and finding it again, in the cache or in a file.

The newest asset of a method and a base is taken, unless a file is named.
"""

import importlib.metadata
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
from attrs import frozen
from torch import Tensor

from editcore.assets import file
from editcore.assets.identity import Identity
from editcore.cases.writing import case_to_json
from editcore.storage.canonical import sha256_of
from editcore.training.learner import Learner
from editcore.training.plan import Plan
from editcore_hooks import Asset, Case, RefusedFileError, UsageError, WrongBaseError

if TYPE_CHECKING:
    from editcore_hooks import Session

KIND: Final = "trained"


@frozen
class Trained:
    """Nets that were trained for a method: their asset, what they are made from, and what their training reports."""

    asset: Asset
    settings: Mapping[str, Any]
    about: Mapping[str, Any]


def identity(session: "Session", learner: Learner, cases: Sequence[Case], plan: Plan) -> Identity:
    """What decides the result: method, settings, plan, seed, tokenizer, dtype and the cases by their hash."""
    parameters = {
        "method": learner.method,
        "settings": dict(learner.settings()),
        "plan": attrs.asdict(plan),
        "seed": session.seed,
        "dtype": session.loaded.dtype,
        "tokenizer_sha256": session.tokenizer_sha256,
        "data_sha256": sha256_of([case_to_json(case) for case in cases]),
    }
    return Identity(KIND, learner.owner, session.weights_root, parameters)


def keep(
    session: "Session", named: Identity, learner: Learner, tensors: Mapping[str, Tensor], report: Mapping[str, Any]
) -> Asset:
    """Keep the nets with the report of their training."""
    packages = ("editcore", learner.owner, "torch")
    versions = {name: importlib.metadata.version(name) for name in packages}
    finished = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    return session.assets.put(named, tensors, {**report, "versions": versions, "finished": finished})


def find_trained(session: "Session", owner: str, method: str, path: str = "") -> Trained:
    """The nets of `method` for the base of this session: the newest that are kept, or those of the file `path`.

    Raises `UsageError` where there are none, `WrongBaseError` for nets of another base, `RefusedFileError` for a file
    that holds no nets of this method.
    """
    asset = _of_file(session, owner, method, path) if path else _newest(session, owner, method)
    if asset is None:
        raise UsageError(
            f"{method} was not trained for {session.loaded.name} yet",
            hint=f"editcore train MODEL --method {method} --data CASES.jsonl",
        )
    return Trained(asset, asset.parameters["settings"], session.assets.about(asset))


def _newest(session: "Session", owner: str, method: str) -> Asset | None:
    mine = [
        asset
        for asset in session.assets.list()
        if (asset.kind, asset.owner, asset.base_root) == (KIND, owner, session.weights_root)
        and asset.parameters.get("method") == method
    ]
    dated = [(str(session.assets.about(asset).get("finished", "")), asset.sha256, asset) for asset in mine]
    return max(dated, default=(None, None, None))[2]


def _of_file(session: "Session", owner: str, method: str, path: str) -> Asset:
    named = Path(path).expanduser()
    if not named.is_file():
        raise UsageError(f"there is no file {path}", hint="name a file that `editcore train -o FILE` wrote")
    manifest = file.verify(named)
    one = manifest.identity
    if (one.kind, one.owner, one.parameters.get("method")) != (KIND, owner, method):
        raise RefusedFileError(f"{path} holds no trained {method}, but {one.kind} of {one.owner}")
    if one.base_root != session.weights_root:
        raise WrongBaseError(
            f"{path} was trained for another base than {session.loaded.name}",
            hint=f"editcore train MODEL --method {method} --data CASES.jsonl",
        )
    return Asset(one.kind, one.owner, one.base_root, dict(one.parameters), manifest.sha256, named)
