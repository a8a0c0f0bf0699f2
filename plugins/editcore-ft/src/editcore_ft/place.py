"""Where to train: layers and a role, or modules by their exact path. Light: no torch."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final, get_args

from editcore_ft.hparams import TrainingHparams
from editcore_hooks import Location, Site, UsageError
from editcore_hooks.values import Role

if TYPE_CHECKING:
    from editcore_hooks import Session

_MATRICES: Final[tuple[Role, ...]] = ("mlp_in", "mlp_gate", "mlp_out", "attn_out")


def located(session: "Session", hparams: TrainingHparams, default: Sequence[int]) -> Location:
    """The sites that `hparams` name, in `default` layers where they name none. Raises `UsageError`."""
    if hparams.modules:
        return Location(tuple(site for path in hparams.modules for site in _under(session, path)), token="last")
    layers = default if hparams.layers is None else hparams.layers
    sites = [site for layer in layers for site in _in_block(session, hparams.role, layer)]
    return Location(tuple(sites), token="last")


def _in_block(session: "Session", role: str, layer: int) -> list[Site]:
    """The site of a role; of `block`, those that the block has."""
    if role != "block":
        (one,) = (each for each in get_args(Role) if each == role)
        return [Site(one, layer)]
    session.anatomy.path(Site("block", layer))  # refuses a layer that is not there
    return [site for each in _MATRICES if _has(session, site := Site(each, layer))]


def _has(session: "Session", site: Site) -> bool:
    try:
        session.anatomy.path(site)
    except UsageError:
        return False
    return True


def _under(session: "Session", path: str) -> list[Site]:
    """The matrices at or below the path: whole components count, so that layers.2 is not layers.20."""
    names = [name for name, _ in session.model.named_parameters() if name.startswith(f"{path}.")]
    if not names:
        raise UsageError(
            f"the model has no parameters at {path!r}", hint="see `editcore inspect MODEL` for its modules"
        )
    found = {session.anatomy.site_of(name) for name in names}
    sites = [site for site in found if site is not None and site.role in _MATRICES]
    if not sites:
        message = f"{path!r} holds none of the matrices that can be trained"
        raise UsageError(message, hint="name a block, or its MLP or attention output")
    return sorted(sites, key=lambda site: (site.layer or 0, _MATRICES.index(site.role)))
