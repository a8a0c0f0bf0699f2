"""YAML as people mean it: the safe loader with the scalar rules of YAML 1.2, and no key twice.

PyYAML follows YAML 1.1, where `1e-5` is a text, `no` is false, `010` is eight and `12:30` is 750.
"""

import re
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from editcore.storage.canonical import MAX_DEPTH
from editcore_hooks import UsageError

_MOST: Final = 1_000_000
"""Values of one file."""


class _CoreLoader(yaml.SafeLoader):
    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # noqa: RUF012 (PyYAML reads it there)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)  # type: ignore[no-untyped-call]
            if not isinstance(key, Hashable):
                continue  # the loader refuses it below
            if key in seen:
                what = f"the key {str(key)[:80]!r} is there twice"
                raise yaml.constructor.ConstructorError(None, None, what, key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)

    def fetch_flow_collection_start(self, token: Any) -> None:
        if self.flow_level >= MAX_DEPTH:  # PyYAML looks through all levels at each token
            what = f"nested deeper than {MAX_DEPTH} levels"
            raise yaml.scanner.ScannerError(None, None, what, self.get_mark())
        super().fetch_flow_collection_start(token)

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None:
            _expanded(node, {})
        return node

    def construct_yaml_str(self, node: Any) -> str:
        """A text, its halves of characters joined: YAML writes one beyond U+FFFF as JSON does, in two escapes."""
        text = str(self.construct_scalar(node))
        if text.isascii():
            return text
        try:
            return text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise yaml.constructor.ConstructorError(None, None, "half a character", node.start_mark) from None


def _expanded(node: Any, known: dict[int, int]) -> int:
    """The number of nodes of a node once its aliases are written out. Raises `ConstructorError` beyond `_MOST`."""
    if (size := known.get(id(node))) is not None:
        if size == 0:
            raise yaml.constructor.ConstructorError(None, None, "a value that contains itself", node.start_mark)
        return size
    known[id(node)] = 0  # until it is counted
    inner = [] if isinstance(node, yaml.ScalarNode) else node.value
    pairs = (child for item in inner for child in (item if isinstance(item, tuple) else (item,)))
    known[id(node)] = size = 1 + sum(_expanded(child, known) for child in pairs)
    if size > _MOST:
        what = f"more than {_MOST:,} values once its aliases are written out"
        raise yaml.constructor.ConstructorError(None, None, what, node.start_mark)
    return size


_CoreLoader.add_constructor("tag:yaml.org,2002:str", _CoreLoader.construct_yaml_str)
_CoreLoader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_CoreLoader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile(r"(?:true|True|false|False)$"), list("tTfF"))
_CoreLoader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))
_CoreLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:(?:\.[0-9]+|[0-9]+\.[0-9]*)(?:[eE][-+]?[0-9]+)?|[0-9]+[eE][-+]?[0-9]+|\.inf)$|\.nan$"),
    list("-+.0123456789"),
)


def parse(text: str, what: str) -> Any:
    """The value of a YAML text. `what` names it in the `UsageError` raised when the text is invalid."""
    try:
        return yaml.load(text, Loader=_CoreLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}" if mark is not None else ""
        problem = getattr(error, "problem", None) or str(error)
        raise UsageError(f"{what} is not YAML{where}: {' '.join(str(problem).split())}") from error
    except (TypeError, RecursionError, ValueError) as error:
        raise UsageError(f"{what} is not usable YAML: {error}") from error


def line_of(text: str, path: Sequence[str | int]) -> int:
    """The line, from 1, on which the value at `path` (keys and indices from the root) stands in a YAML text.

    A mapping's value is looked for by its key, so the line is the key's. A path that leaves the text ends at the last
    step that is there.
    """
    node = yaml.compose(text, Loader=_CoreLoader)
    line = 1
    for step in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(step)), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            found = (node.value[step], node.value[step])
        else:
            found = None
        if found is None:
            break
        line, node = found[0].start_mark.line + 1, found[1]
    return int(line)


def read_text(path: Path | str, what: str) -> str:
    """A UTF-8 file as text; `UsageError` when it cannot be read."""
    try:
        return Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UsageError(f"{what} {str(path)!r} cannot be read: {reason}") from error


def read_mapping(path: Path | str) -> dict[str, Any]:
    """A YAML file that holds one mapping with text keys. Raises `UsageError`."""
    value = parse(read_text(path, "the file"), f"the file {str(path)!r}")
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise UsageError(f"the file {str(path)!r} holds no mapping", hint="write one `name: value` a line")
    return value
