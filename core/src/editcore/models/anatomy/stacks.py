"""One list of blocks of a model, and where the parts of its blocks are."""

from collections.abc import Mapping
from typing import Final, get_args

from attrs import frozen

from editcore_hooks import Site, UsageError
from editcore_hooks.values import Role

IN_BLOCK: Final = ("mlp_in", "mlp_gate", "mlp_out", "attn_out")
AT_ROOT: Final = ("final_norm", "head", "embed")


@frozen
class StackMap:
    """`roles` maps a role to a path, inside a block for `IN_BLOCK`, from the model's root for `AT_ROOT`.

    `fused` is the path inside a block of the one projection that gate and input are, where they are one.
    """

    blocks: str
    roles: Mapping[str, str]
    n_layers: int
    mlp_width: int
    fused: str | None = None

    def path(self, site: Site) -> str:
        """The dotted path of the site's module. Raises `UsageError` when there is no such layer or role."""
        if site.role in AT_ROOT:
            if site.layer is not None:
                raise UsageError(f"{site.role} occurs once and has no layer", hint="leave out the layer")
            self._require(site.role)
            return self.roles[site.role]
        if site.layer is None or not 0 <= site.layer < self.n_layers:
            raise UsageError(f"there is no layer {site.layer}", hint=f"choose a layer from 0 to {self.n_layers - 1}")
        block = f"{self.blocks}.{site.layer}"
        if site.role == "block":
            return block
        self._require(site.role)
        return f"{block}.{self.roles[site.role]}"

    def named(self, path: str) -> tuple[Role, int | None] | None:
        """Role and layer of the module at a path; None for what no role names."""
        by_path = {where: role for role, where in self.roles.items()}
        if by_path.get(path) in AT_ROOT:
            return by_path[path], None  # type: ignore[return-value]
        layer, _, inside = path.removeprefix(f"{self.blocks}.").partition(".")
        if path.startswith(f"{self.blocks}.") and by_path.get(inside) in IN_BLOCK:
            return by_path[inside], int(layer)  # type: ignore[return-value]
        return None

    def _require(self, role: str) -> None:
        if role in self.roles:
            return
        if self.fused is not None and role in ("mlp_in", "mlp_gate"):
            message = f"{role} has no weight of its own here: {self.fused} is gate and input in one"
            raise UsageError(message, hint="edit mlp_out")
        known = ", ".join(known for known in get_args(Role) if known in self.roles)
        raise UsageError(f"no {role} is known in this model", hint=f"choose one of {known}")
