"""Models that know real facts: fetched, or trained on CounterFact records."""
