"""The layouts that this package reads."""

from typing import Final

from editcore_bench.datasets.counterfact import CounterFact, FlatCounterFact
from editcore_bench.datasets.knowedit import WikiBio, WikiDataCounterFact, WikiDataRecent, ZsreKnowEdit
from editcore_bench.datasets.layout import Layout
from editcore_bench.datasets.mquake import Mquake
from editcore_bench.datasets.rippleedits import RippleEdits
from editcore_bench.datasets.zsre import Zsre

LAYOUTS: Final[tuple[type[Layout], ...]] = (
    CounterFact,
    FlatCounterFact,
    Zsre,
    WikiDataRecent,
    WikiDataCounterFact,
    WikiBio,
    ZsreKnowEdit,
    RippleEdits,
    Mquake,
)
