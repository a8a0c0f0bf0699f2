"""The classes of one kind that all plugins offer, looked up by name."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Generic, TypeVar

import attrs

from editcore.plugins.contained import contained
from editcore.plugins.discovery import failed, names_of
from editcore.plugins.record import Plugin
from editcore.plugins.selection import VARIABLE, normalised
from editcore.text.suggest import suggestion, suggestion_or_list
from editcore_hooks import Named, PluginError

T = TypeVar("T", bound=Named)

_NAME: Final = re.compile(r"[A-Za-z0-9][\w.@+-]*")


class Catalogue(Generic[T]):
    """Asks each plugin once, when the first name is looked up, and keeps a plugin's mistake to that plugin."""

    def __init__(
        self,
        kind: str,
        base: type[T],
        hook: str,
        plugins: Callable[[], Sequence[Plugin]],
        packages: Mapping[str, str] | None = None,
    ) -> None:
        self.kind, self._base, self._hook = kind, base, hook
        self._plugins, self._packages = plugins, packages or {}
        self._collected: list[tuple[type[T], Plugin]] | None = None

    def get(self, name: str) -> type[T]:
        """The class called `name`, or `distribution:name`; its case matters only where names differ by it alone.

        Raises `PluginError`, with the next step, when there is not exactly one.
        """
        distribution, colon, own = name.rpartition(":")
        every = [
            (cls, plugin)
            for cls, plugin in self.offers()
            if not colon or normalised(plugin.record.distribution) == normalised(distribution)
        ]
        offers = [(cls, plugin) for cls, plugin in every if cls.name == own]
        if not offers:  # ROME, FT_M: as papers write them, where that means one
            offers = [(cls, plugin) for cls, plugin in every if _folded(cls.name) == _folded(own)]
        if len(offers) > 1:
            raise self._shared(own, offers)
        if not offers:
            raise self._not_of(distribution, own) if colon else self._missing(name)
        return offers[0][0]

    def find(self, name: str, distribution: str | None = None) -> type[T] | None:
        """The class called `name` or `distribution:name`; of several that share it, the one of `distribution`.

        None where there is not exactly one.
        """
        for written in (name, f"{distribution}:{name}" if distribution else name):
            if (found := self.named().get(written)) is not None:
                return found
        return None

    def named(self) -> dict[str, type[T]]:
        """Every class by the name to write for it: `distribution:name` where two plugins share one."""
        return {self.written(cls): cls for cls, _ in self.offers()}

    def written(self, cls: type[Named]) -> str:
        """The name to write for a class, or `distribution:name` where two plugins share it."""
        shared = [plugin for offered, plugin in self.offers() if offered.name == cls.name]
        owner = self.plugin_of(cls)
        return cls.name if len(shared) < 2 or owner is None else f"{owner.record.distribution}:{cls.name}"

    def names(self) -> list[str]:
        return sorted({cls.name for cls, _ in self.offers()})

    def classes(self) -> dict[str, type[T]]:
        """Name → class, without the names that two plugins offer."""
        names = [cls.name for cls, _ in self.offers()]
        return {cls.name: cls for cls, _ in self.offers() if names.count(cls.name) == 1}

    def refused(self) -> dict[str, list[Plugin]]:
        """Names that more than one plugin offers, and those plugins."""
        owners: dict[str, list[Plugin]] = {}
        for cls, plugin in self.offers():
            owners.setdefault(cls.name, []).append(plugin)
        return {name: plugins for name, plugins in owners.items() if len(plugins) > 1}

    def plugin_of(self, cls: type) -> Plugin | None:
        return next((plugin for offered, plugin in self.offers() if offered is cls), None)

    def __contains__(self, name: object) -> bool:
        return name in self.classes()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def offers(self) -> list[tuple[type[T], Plugin]]:
        if self._collected is None:
            self._collected = [(cls, plugin) for plugin in self._plugins() if plugin.ok for cls in self._ask(plugin)]
        # A plugin may turn out broken later, while another kind is collected.
        return [(cls, plugin) for cls, plugin in self._collected if plugin.ok]

    def _ask(self, plugin: Plugin) -> list[type[T]]:
        assert plugin.manager is not None
        try:
            with contained():
                answers: list[Any] = getattr(plugin.manager.hook, self._hook)()
            if not answers and self._hook in plugin.record.hooks:
                raise TypeError(f"{self._hook} returned nothing")  # pluggy drops None from the answers
            classes = [cls for answer in answers for cls in self._checked(answer)]
            names = [cls.name for cls in classes]
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise TypeError(f"{self._hook} returned the {self.kind} {twice[0]!r} twice")
        except (Exception, SystemExit) as error:
            broken = failed(plugin.record, error)
            plugin.record, plugin.cause = broken.record, error
            return []
        return classes

    def _checked(self, answer: Any) -> list[type[T]]:
        if not isinstance(answer, (list, tuple)):
            raise TypeError(f"{self._hook} must return a list of classes, not {type(answer).__name__}")
        for cls in answer:
            if not (isinstance(cls, type) and issubclass(cls, self._base)):
                raise TypeError(f"{self._hook} returned {cls!r}, which is not a subclass of {self._base.__name__}")
            name = getattr(cls, "name", None)
            if not (isinstance(name, str) and _NAME.fullmatch(name)):
                raise TypeError(f"the {self.kind} {cls.__qualname__} has no usable name: {name!r}")
            if not attrs.has(cls.Hparams):
                raise TypeError(f"the Hparams of the {self.kind} {name!r} are not an attrs class")
        return list(answer)

    def _shared(self, name: str, offers: Sequence[tuple[type[T], Plugin]]) -> PluginError:
        plugins = [plugin for _, plugin in offers]
        written = list(dict.fromkeys(f"{plugin.record.distribution}:{cls.name}" for cls, plugin in offers))
        if len(written) > 1:
            hint = f"write {' or '.join(written)}"
        else:  # two entry points of one distribution, or two spellings of a name
            hint = f"leave one out: {VARIABLE}=-{plugins[0].record.name}, or uninstall it"
        return PluginError(
            f"the {self.kind} {name!r} is offered twice, by {' and '.join(names_of(plugins))}", hint=hint
        )

    def _not_of(self, distribution: str, name: str) -> PluginError:
        """No such name of a distribution: it is not installed, or offers others; or settings were written as a name."""
        if distribution in self.named():
            message = f"{name!r} is no setting of the {self.kind} {distribution!r}"
            return PluginError(message, hint=f"write {distribution}:key=value")
        own = [
            cls.name
            for cls, plugin in self.offers()
            if normalised(plugin.record.distribution) == normalised(distribution)
        ]
        if own:
            message = f"{distribution} offers no {self.kind} {name!r}"
            return PluginError(message, hint=suggestion_or_list(name, own))
        message = f"no {self.kind} is offered by a distribution {distribution!r}"
        return PluginError(message, hint=suggestion_or_list(name, self.named()))

    def _missing(self, name: str) -> PluginError:
        package = next((self._packages[known] for known in self._packages if _folded(known) == _folded(name)), None)
        for plugin in self._plugins():
            record = plugin.record
            same = record.name == name or (package and normalised(record.distribution) == normalised(package))
            if same and not plugin.ok:
                return unusable(plugin, f"the {self.kind} {name!r}")
        message = f"there is no {self.kind} {name!r}"
        near = suggestion(name, {*self.names(), *self._packages})
        if package:
            return PluginError(f"{message} installed", hint=f"pip install {package}")
        if near is None and any(plugin.record.status == "broken" for plugin in self._plugins()):
            return PluginError(message, hint="some plugins are broken; see `editcore plugins doctor`")
        if near is None and (excluded := left_out(self._plugins())):
            return PluginError(message, hint=f"{excluded}, which may offer it; change {VARIABLE}")
        return PluginError(message, hint=near or suggestion_or_list(name, self.names()))


def _folded(name: str) -> str:
    return name.casefold().replace("_", "-")


def left_out(plugins: Sequence[Plugin]) -> str:
    """The plugins that are installed and excluded, for a hint; empty when there are none."""
    names = names_of([plugin for plugin in plugins if plugin.record.status == "blocked"])
    return f"{VARIABLE} leaves out {', '.join(names)}" if names else ""


def unusable(plugin: Plugin, wanted: str) -> PluginError:
    """The error of one who asks by name for what an unusable plugin offers; carries the saved traceback."""
    record = plugin.record
    if record.status == "blocked":
        message, hint = "is left out", f"add it to {VARIABLE}, or unset that"
    elif record.status == "incompatible":
        message, hint = f"is incompatible: {record.reason}", f"pip install --upgrade {record.distribution} editcore"
    else:
        message, hint = f"is broken: {record.reason}", "see where with `editcore plugins doctor`"
    error = PluginError(f"{wanted} cannot be used: the plugin {record.name} ({record.owner}) {message}", hint=hint)
    error.__cause__ = plugin.cause
    if "\n" in record.error:
        error.add_note(record.error)
    return error
