"""The record of one installed plugin, working or not."""

from typing import Any, Literal

from attrs import define, frozen
from pluggy import PluginManager

Status = Literal["ok", "blocked", "broken", "incompatible"]


@frozen
class PluginRecord:
    """One entry point of the group `editcore`. The first line of `error` is the reason; a traceback may follow."""

    name: str
    distribution: str
    version: str
    entry_point: str
    status: Status = "ok"
    error: str = ""
    hooks: tuple[str, ...] = ()
    load_ms: float = 0.0

    @property
    def reason(self) -> str:
        return self.error.partition("\n")[0]

    @property
    def owner(self) -> str:
        return f"{self.distribution} {self.version}"


@define
class Plugin:
    """A record, and for a plugin that loaded: the module, and a manager that holds this plugin and nothing else."""

    record: PluginRecord
    module: Any = None
    manager: PluginManager | None = None
    cause: BaseException | None = None

    @property
    def ok(self) -> bool:
        return self.record.status == "ok"
