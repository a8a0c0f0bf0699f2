"""Everything plugins register, by kind and name, and the observers."""

from collections.abc import Callable, Sequence
from functools import cache, cached_property
from typing import Any

from editcore.plugins import known
from editcore.plugins.catalogue import Catalogue
from editcore.plugins.checks import STAGES
from editcore.plugins.discovery import admit, builtin, discover, load
from editcore.plugins.record import Plugin, PluginRecord
from editcore_hooks import Architecture, Dataset, EditMethod, Locator, Metric, Named, PatchKind, PluginError, Transform


class Registry:
    """Loads no plugin until something is asked of it. `registry()` is the one of this process."""

    def __init__(self, loader: Callable[[], Sequence[Plugin]] = discover) -> None:
        self._loader = loader
        self.methods = self._catalogue("method", EditMethod, known.METHODS)
        self.locators = self._catalogue("locator", Locator)
        self.transforms = self._catalogue("transform", Transform)
        self.metrics = self._catalogue("metric", Metric)
        self.datasets = self._catalogue("dataset", Dataset)
        self.architectures = self._catalogue("architecture", Architecture)
        self.patch_kinds = self._catalogue("patch kind", PatchKind)

    @classmethod
    def of(cls, *modules: Any) -> "Registry":
        """The built-in and exactly these entry modules, whatever is installed. Raises what is wrong with one."""
        core = builtin()
        own = PluginRecord(core.name, core.distribution, core.version, core.entry_point.value)
        plugins = [load(own, core.entry_point)]
        for module in modules:
            name = getattr(module, "__name__", type(module).__name__)
            plugin = admit(PluginRecord(name, name, "0", name), module)
            if not plugin.ok:
                raise PluginError(f"the plugin {name} is {plugin.record.status}: {plugin.record.reason}")
            plugins.append(plugin)
        return cls(lambda: plugins)

    @property
    def catalogues(self) -> tuple[Catalogue[Any], ...]:
        return (
            self.methods,
            self.locators,
            self.transforms,
            self.metrics,
            self.datasets,
            self.architectures,
            self.patch_kinds,
        )

    @property
    def records(self) -> tuple[PluginRecord, ...]:
        """Every plugin, usable or not, as far as is known by now."""
        return tuple(plugin.record for plugin in self.plugins)

    def ask_everything(self) -> None:
        """Have every plugin register all its classes, so that the records know of every fault."""
        for catalogue in self.catalogues:
            catalogue.names()

    @cached_property
    def plugins(self) -> tuple[Plugin, ...]:
        return tuple(self._loader())

    @property
    def observers(self) -> tuple[Plugin, ...]:
        """Plugins whose module wraps a stage, and wants to be called now."""
        wrapping = (plugin for plugin in self.plugins if plugin.ok and STAGES.intersection(plugin.record.hooks))
        return tuple(plugin for plugin in wrapping if _observing(plugin))

    def method(self, name: str) -> type[EditMethod]:
        return self.methods.get(name)

    def locator(self, name: str) -> type[Locator]:
        return self.locators.get(name)

    def transform(self, name: str) -> type[Transform]:
        return self.transforms.get(name)

    def metric(self, name: str) -> type[Metric]:
        return self.metrics.get(name)

    def dataset(self, name: str) -> type[Dataset]:
        return self.datasets.get(name)

    def architecture(self, name: str) -> type[Architecture]:
        return self.architectures.get(name)

    def source_of(self, cls: type) -> tuple[str, str]:
        """Distribution and version that `cls` came from, to be recorded. Raises `PluginError` if from none."""
        for catalogue in self.catalogues:
            plugin = catalogue.plugin_of(cls)
            if plugin is not None:
                return plugin.record.distribution, plugin.record.version
        raise PluginError(f"no plugin registered the class {cls.__qualname__}")

    def called(self, kind: str, instance: Named) -> str:
        """The name of a method, locator or transform in a message, with the distribution that it came from."""
        found = (catalogue.plugin_of(type(instance)) for catalogue in self.catalogues)
        owner = next((plugin.record.owner for plugin in found if plugin is not None), None)
        return f"the {kind} {instance.name}" + (f" ({owner})" if owner else "")

    def _catalogue(self, kind: str, base: type[Any], packages: Any = None) -> Catalogue[Any]:
        hook = f"editcore_register_{kind.replace(' ', '_')}s"
        return Catalogue(kind, base, hook, lambda: self.plugins, packages)


@cache
def registry() -> Registry:
    """The registry of this process."""
    return Registry()


def _observing(plugin: Plugin) -> bool:
    asked = getattr(plugin.module, "editcore_observing", None)
    return asked is None or bool(asked())
