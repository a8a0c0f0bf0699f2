"""Every layout keeps to what every dataset must keep to."""

import pytest

from editcore.testing.conformance import DatasetConformance
from editcore_bench.datasets.layouts import LAYOUTS


@pytest.mark.parametrize("layout", [layout.name for layout in LAYOUTS])
class TestLayouts(DatasetConformance):
    @pytest.fixture(autouse=True)
    def _each(self, layout: str) -> None:
        self.dataset = layout  # type: ignore[misc]
