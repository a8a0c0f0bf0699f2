"""Installed plugins, each loaded in isolation: what is wrong with one is written into its record and stays there."""

import os
import re
import time
import traceback
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, entry_points, version
from typing import Any, Final

import pluggy
from attrs import evolve, frozen

from editcore.plugins.checks import problems
from editcore.plugins.contained import contained
from editcore.plugins.record import Plugin, PluginRecord, Status
from editcore.plugins.selection import BUILTIN, VARIABLE, chooser
from editcore.plugins.tracing import traced
from editcore_hooks import API_VERSION, PROJECT, specs

GROUP: Final = "editcore"
_USUAL_RANGE: Final = re.compile(r">=(\d+\.\d+),<(\d+(?:\.\d+)?)")


@frozen
class Candidate:
    """An entry point that nothing has been imported of yet."""

    entry_point: EntryPoint
    distribution: str
    version: str

    @property
    def name(self) -> str:
        return self.entry_point.name


def builtin(own_version: str | None = None) -> Candidate:
    """The core itself. Named here, not found, so that a source tree without metadata works and none can replace it."""
    if own_version is None:
        try:
            own_version = version("editcore")
        except PackageNotFoundError:
            own_version = "unknown"
    return Candidate(EntryPoint(BUILTIN, "editcore.builtin", GROUP), "editcore", own_version)


def candidates() -> list[Candidate]:
    """Every entry point of the group, the built-in first, then by name."""
    found, own_version = [], None
    for entry_point in entry_points(group=GROUP):
        distribution: Distribution | None = entry_point.dist
        metadata: Any = distribution.metadata if distribution is not None else {}
        name = metadata.get("Name") or "unknown"
        if (entry_point.name, name) == (BUILTIN, "editcore"):
            own_version = metadata.get("Version")
        else:
            found.append(Candidate(entry_point, name, metadata.get("Version") or "unknown"))
    return [builtin(own_version), *sorted(found, key=lambda candidate: (candidate.name, candidate.distribution))]


def discover() -> list[Plugin]:
    """Load the entry module of every plugin that `EDITCORE_PLUGINS` allows. Raises only for that variable."""
    found = candidates()
    allowed = chooser(os.environ.get(VARIABLE), [(one.name, one.distribution) for one in found])
    chosen = [one for one in found if one is found[0] or allowed(one.name, one.distribution)]
    times = Counter(one.name for one in chosen)
    plugins = []
    for candidate in found:
        record = PluginRecord(candidate.name, candidate.distribution, candidate.version, candidate.entry_point.value)
        if candidate not in chosen:
            plugins.append(Plugin(evolve(record, status="blocked", error=f"left out by {VARIABLE}")))
        elif times[candidate.name] > 1 and candidate is not found[0]:
            owners = " and ".join(f"{one.distribution} {one.version}" for one in chosen if one.name == candidate.name)
            reason = f"the plugin name {candidate.name!r} is taken twice, by {owners}"
            plugins.append(Plugin(evolve(record, status="broken", error=reason)))
        else:
            plugins.append(load(record, candidate.entry_point))
    return plugins


def load(record: PluginRecord, entry_point: EntryPoint) -> Plugin:
    """Import an entry module and register it, alone; never raises what the plugin raises."""
    start = time.perf_counter()
    try:
        with contained():
            module = entry_point.load()
    except (Exception, SystemExit) as error:
        plugin = failed(record, error)
    else:
        plugin = admit(record, module)
    return _timed(plugin, start)


def admit(record: PluginRecord, module: Any) -> Plugin:
    """Check an imported entry module against the contract."""
    try:
        if not _fits(module):
            reason = (
                f"written for API {module.EDITCORE_API}, this is {API_VERSION}: {_which(module.EDITCORE_API, record)}"
            )
            return Plugin(_with(record, "incompatible", reason))
        with contained():  # names of the module may be looked up by code of its own
            manager = manager_of(module, record.name)
            wrong = problems(manager, module)
    except (Exception, SystemExit) as error:
        return failed(record, error)
    hooks = tuple(sorted(caller.name for caller in manager.get_hookcallers(module) or ()))
    if wrong:
        return Plugin(evolve(_with(record, "broken", "\n".join(wrong)), hooks=hooks))
    return Plugin(evolve(record, hooks=hooks), module, manager)


def failed(record: PluginRecord, error: BaseException) -> Plugin:
    """The broken plugin that `error` makes of this record: the reason on one line, then the traceback."""
    reason = " ".join("".join(traceback.format_exception_only(error)).split())
    text = "".join(traceback.format_exception(error))
    return Plugin(_with(record, "broken", f"{reason}\n{text}"), cause=error)


def manager_of(plugin: Any, name: str) -> pluggy.PluginManager:
    """A manager of exactly one plugin. Raises pluggy's `PluginValidationError` on a signature that does not fit."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(specs)
    manager.register(plugin, name)
    return traced(manager)


def _which(wanted: str, record: PluginRecord) -> str:
    """What to install so that plugin and host fit: a newer host, or a release of the plugin for this one."""
    from packaging.specifiers import SpecifierSet
    from packaging.version import Version

    present = Version(API_VERSION)
    lowest = [Version(one.version) for one in SpecifierSet(wanted) if one.operator in (">=", ">", "==", "~=")]
    if lowest and min(lowest) > present:
        return f"pip install --upgrade editcore, or an earlier {record.distribution} than {record.version}"
    return f"pip install --upgrade {record.distribution}"


def _fits(module: Any) -> bool:
    wanted = getattr(module, "EDITCORE_API", None)
    if wanted is None:
        return True
    if not isinstance(wanted, str):
        raise TypeError(f"EDITCORE_API must be a range of versions as text, such as '>=1.0,<2', not {wanted!r}")
    simple = _USUAL_RANGE.fullmatch(wanted)
    if simple:  # what nearly all plugins write, without packaging, which takes as long to import as they do
        least, below = (tuple(int(part) for part in text.split(".")) for text in simple.groups())
        version = tuple(int(part) for part in API_VERSION.split("."))
        return least <= version < below
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        return SpecifierSet(wanted).contains(API_VERSION, prereleases=True)
    except InvalidSpecifier:
        raise ValueError(f"EDITCORE_API = {wanted!r} is not a range of versions; write '>=1.0,<2'") from None


def _with(record: PluginRecord, status: Status, error: str) -> PluginRecord:
    return evolve(record, status=status, error=error)


def _timed(plugin: Plugin, start: float) -> Plugin:
    milliseconds = round((time.perf_counter() - start) * 1000, 1)
    return evolve(plugin, record=evolve(plugin.record, load_ms=milliseconds))


def names_of(plugins: Sequence[Plugin]) -> list[str]:
    """Names for a message, each with its distribution."""
    return [f"{plugin.record.name} ({plugin.record.owner})" for plugin in plugins]
