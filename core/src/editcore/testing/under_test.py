"""Input of a conformance suite: the class under test, its settings, the model, and the checks that do not apply."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from editcore.assets.store import AssetStore
from editcore.facade import Session, open_model
from editcore.plugins.registry import Registry, registry
from editcore.testing.running import Method
from editcore.testing.taught import taught_model
from editcore.threads import requested
from editcore_hooks import EditRequest, Named

REQUESTS = (
    EditRequest("{} works as a", "Ada Marlow", "pilot", "baker", id="1"),
    EditRequest("The home of {} is in", "Bo Quist", "Cairo", id="2"),
    EditRequest("{} earns a living as a", "Cleo Tolland", "poet", id="3"),
)


class UnderTest:
    """Settings that an author overrides, and the fixtures that the checks take."""

    hparams: ClassVar[Mapping[str, Any]] = {}
    requests: ClassVar[tuple[EditRequest, ...]] = REQUESTS
    registry: ClassVar[Registry | None] = None
    """Where the plugin is found; None: among what is installed."""
    not_applicable: ClassVar[Mapping[str, str]] = {}
    """Name of a check, without `test_`, to the reason why it does not apply to this plugin."""
    score_tolerance: ClassVar[float] = 1e-3
    """In log-probability a token."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for check, reason in cls.not_applicable.items():
            if not callable(getattr(cls, f"test_{check}", None)):
                raise TypeError(f"{cls.__name__}.not_applicable names {check!r}, which is not a check")
            if not isinstance(reason, str) or not reason.strip():
                raise TypeError(f"{cls.__name__}.not_applicable gives no reason for {check!r}")

    @property
    def known(self) -> Registry:
        """The plugins among which the class is looked up."""
        return self.registry or registry()

    @property
    def cls(self) -> type[Named]:
        """The class under test."""
        raise NotImplementedError

    @classmethod
    def model(cls, folder: Path) -> Path:
        """Write the model that is edited into `folder`. Override it for another, such as one of `testing.tiny`."""
        return taught_model("llama", folder)

    @pytest.fixture(scope="class")
    @classmethod
    def folder(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        return cls.model(tmp_path_factory.mktemp("model"))

    @pytest.fixture(scope="class")
    @classmethod
    def assets(cls, tmp_path_factory: pytest.TempPathFactory) -> AssetStore:
        return AssetStore(tmp_path_factory.mktemp("assets"))

    @pytest.fixture
    def session(self, folder: Path, assets: AssetStore) -> Session:
        return self.open(folder, assets)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def _threads(cls) -> Iterator[None]:
        """One thread, unless EDITCORE_THREADS or OMP_NUM_THREADS is set: threads of a small model only wait."""
        kept = torch.get_num_threads()
        torch.set_num_threads(requested() or 1)
        yield
        torch.set_num_threads(kept)

    @pytest.fixture(autouse=True)
    def _skip_what_does_not_apply(self, request: pytest.FixtureRequest) -> None:
        check = request.function.__name__.removeprefix("test_")
        if check in self.not_applicable:
            pytest.skip(self.not_applicable[check])

    def open(self, folder: Path, assets: AssetStore, dtype: str | None = None) -> Session:
        return open_model(folder, dtype=dtype, registry_=self.registry, assets=assets)


class MethodUnderTest(UnderTest):
    """A method by name, and how it is run."""

    method: ClassVar[str]
    delta_tolerance: ClassVar[float] = 0.02
    """Relative to the norm of the delta."""

    @property
    def cls(self) -> type[Named]:
        return self.known.method(self.method)

    @property
    def tried(self) -> Method:
        return Method(self.method, self.hparams, self.requests)
