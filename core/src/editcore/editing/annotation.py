"""The annotation of a new patch: base, method, requests, environment. Nothing here enters the id."""

import platform
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import attrs

from editcore.cases.reading import request_to_json
from editcore.patches.checkpoint.identity import license_of
from editcore.plugins.choices import record_of
from editcore.plugins.hparams import to_json
from editcore.plugins.locators import make_locator
from editcore.plugins.transforms import make_transforms, transform_record
from editcore_hooks import API_VERSION, EditRequest, Location, Site

if TYPE_CHECKING:
    from editcore.editing.prepared import PreparedMethod
    from editcore.session.open_session import OpenSession


def describe_base(session: "OpenSession") -> dict[str, Any]:
    """The model that the patch is for, by names and by hashes."""
    return {
        "name": session.loaded.name,
        "revision": session.loaded.revision,
        "architecture": session.model.config.model_type,
        **({} if session.anatomy.given is None else {"architecture_map": dict(session.anatomy.given.content)}),
        "license": license_of(session.checkpoint.folder),
        "weights_root": session.weights_root,
        "config_sha256": session.checkpoint.config_sha256,
        "tokenizer_sha256": session.tokenizer_sha256,
    }


def describe_run(
    session: "OpenSession",
    run: "PreparedMethod",
    requests: Sequence[EditRequest],
    sites: Mapping[str, Site],
    notes: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """How the patch came about."""
    method, options, profile = run.method, run.options, run.profile
    distribution, dist_version = session.registry.source_of(type(method))
    locator = make_locator(session.registry, options.locator)
    names = {key: session.anatomy.name(site) for key, site in sites.items()}
    return {
        "title": options.title or _title(requests),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "author": None,
        "license": None,
        "computed_on": session.live.hash if session.live.ids else None,
        "computed_on_patches": list(session.live.ids) or None,
        "sites": {key: attrs.asdict(site) for key, site in sites.items()},
        "aliases": {key: [name] for key, name in names.items() if name != key},
        "method": {
            "name": method.name,
            "distribution": distribution,
            "version": dist_version,
            "api": API_VERSION,
            "paper": method.paper,
            **({} if run.preset is None else {"preset": run.preset}),
        },
        "hparams": _hparams(run, sites),
        **({} if locator is None else {"locator": record_of(session.registry, locator)}),
        "transforms": transform_record(session.registry, make_transforms(session.registry, options.transforms)),
        "profile": None if profile is None else {"name": profile.name, "sha256": profile.asset.sha256},
        "seed": session.seed,
        "requests": [request_to_json(request) for request in requests],
        "notes": list(notes),
        "metrics": [],
        "environment": {
            "editcore": version("editcore"),
            "python": platform.python_version(),
            "torch": version("torch"),
            "transformers": version("transformers"),
            "machine": platform.machine(),
            "device": str(session.device),
            "dtype": session.loaded.dtype,
        },
    }


def _hparams(run: "PreparedMethod", sites: Mapping[str, Site]) -> dict[str, Any]:
    """All of them; where a locator chose the place, without what the method's own choice would have been."""
    hparams = to_json(run.resolved.hparams)
    if run.options.locator is None:
        return hparams
    unused = run.method.place_at(Location(tuple(sites.values())))
    return {name: value for name, value in hparams.items() if name not in unused}


def _title(requests: Sequence[EditRequest]) -> str:
    first = requests[0]
    more = f" and {len(requests) - 1} more" if len(requests) > 1 else ""
    return f"{first.subject}: {first.target_new.strip()}{more}"
