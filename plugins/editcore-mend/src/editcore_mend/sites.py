"""Which matrices a new editor is trained for."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, get_args

from editcore_hooks import Site, UsageError
from editcore_hooks.values import Role, Stack

if TYPE_CHECKING:
    from editcore_hooks import Session

LAST: Final = 3


def default_layers(model: Mapping[str, Any]) -> tuple[int, ...]:
    """The last three blocks, as Mitchell et al. 2022 edit in GPT-2 and GPT-J."""
    n = int(model["n_layers"])
    return tuple(range(max(0, n - LAST), n))


def shapes_of(session: "Session", sites: Sequence[Site]) -> dict[Site, tuple[int, int]]:
    """(d_out, d_in) of each site."""
    shapes = {site: session.anatomy.weight(site).shape for site in sites}
    return {site: (int(shape[0]), int(shape[1])) for site, shape in shapes.items()}


def chosen_sites(session: "Session", layers: Sequence[int] | None, roles: Sequence[Role]) -> tuple[Site, ...]:
    """The matrices of the roles in the layers, by default of `default_layers`, in every stack that has them.

    Raises `UsageError` when there are none, or a layer is not there.
    """
    layers = default_layers(session.traits()) if layers is None else layers
    wanted = [Site(role, layer, stack) for stack in get_args(Stack) for layer in layers for role in roles]
    found = tuple(site for site in wanted if _exists(session, site))
    for layer in layers:
        if not any(site.layer == layer for site in found):
            raise UsageError(
                f"the model has no matrix {' or '.join(roles)} in layer {layer}",
                hint=f"choose layers from 0 to {session.anatomy.n_layers - 1}",
            )
    return found


def _exists(session: "Session", site: Site) -> bool:
    try:
        session.anatomy.path(site)
    except UsageError:
        return False
    return True
