"""A map that a person writes for a model whose structure does not tell, as a YAML file for `--architecture`.

    blocks: backbone.layers          # the list of blocks, from the root of the model
    parts:                           # inside a block: mlp_in, mlp_gate, mlp_out, attn_out
      mlp_out: mixer.out_proj        # from the root: final_norm, head, embed
    prefixes: [backbone.]            # what files may or may not put before names
    encoder_blocks: encoder.layers   # of a model with an encoder; also encoder_parts

Parts that are left out are those that the structure tells.
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

from editcore.models.anatomy.stacks import AT_ROOT, IN_BLOCK
from editcore.text.suggest import suggestion_or_list
from editcore.text.yaml_text import read_mapping
from editcore_hooks import Architecture, UsageError

KEYS = ("blocks", "parts", "prefixes", "encoder_blocks", "encoder_parts")
ROLES = (*IN_BLOCK, *AT_ROOT)


class GivenArchitecture(Architecture):
    """The map of a file; `content` is what the file says, as JSON values."""

    content: ClassVar[Mapping[str, Any]] = {}


def read_architecture(path: Path | str) -> type[GivenArchitecture]:
    """The map in a YAML file. Raises `UsageError` naming file and key when a key is unknown or a value is no path."""
    content = read_mapping(path)
    name = Path(path).name
    _only(content, KEYS, name)
    if "blocks" not in content:
        raise UsageError(f"{name} does not say where the blocks are", hint="add `blocks: PATH`, such as model.layers")
    for key in ("parts", "encoder_parts"):
        parts = content.get(key, {})
        if not isinstance(parts, dict):
            raise UsageError(f"{name}: {key} is not a mapping", hint=f"write `{key}:` and below it `  mlp_out: PATH`")
        _only(parts, ROLES, f"{name}, {key}")
    prefixes = content.get("prefixes", [])
    if not isinstance(prefixes, list):
        raise UsageError(f"{name}: prefixes is not a list", hint="write `prefixes: [model.]`")
    paths: list[tuple[str, Any]] = [(key, content[key]) for key in ("blocks", "encoder_blocks") if key in content]
    paths += [(role, path) for key in ("parts", "encoder_parts") for role, path in content.get(key, {}).items()]
    paths += [("prefixes", prefix) for prefix in prefixes]
    for key, value in paths:
        if not isinstance(value, str) or not value:
            raise UsageError(f"{name}: {key} must be a path, not {value!r}", hint="write it like mlp.down_proj")
    values = {"prefixes": tuple(prefixes), "encoder_blocks": content.get("encoder_blocks"), "content": content}
    values |= {key: dict(content.get(key, {})) for key in ("parts", "encoder_parts")}
    return type("FromFile", (GivenArchitecture,), {"name": name, "blocks": content["blocks"], **values})


def _only(mapping: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    for key in mapping:
        if key not in known:
            raise UsageError(f"{where}: unknown key {key!r}", hint=suggestion_or_list(str(key), known))
