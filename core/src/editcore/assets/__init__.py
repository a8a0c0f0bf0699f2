"""Cache of expensive results: statistics, projectors, profiles, trained nets."""
