"""A metric of each sort keeps to what every metric must keep to; `python -m checks conformance` tries all of them."""

import pytest

from editcore.testing.conformance import MetricConformance

NAMES = ("tf.exact@1", "gen.contains@2", "pref.score@1", "loc.kl@1", "port.one_hop@1", "damage.ppl@1")


@pytest.mark.parametrize("name", NAMES)
class TestMetrics(MetricConformance):
    @pytest.fixture(autouse=True)
    def _each(self, name: str) -> None:
        self.metric = name  # type: ignore[misc]
