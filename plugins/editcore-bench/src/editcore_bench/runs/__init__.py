"""Running a spec: cells, protocols, engines, and the folder of a run."""
