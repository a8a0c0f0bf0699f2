"""Training of what a method needs: nets handed to the loop, and found again at an edit. Imports torch."""

from editcore.training.keeping import Trained, find_trained
from editcore.training.learner import Better, Learner
from editcore.training.loop import fit
from editcore.training.plan import Plan, plan_of

__all__ = ["Better", "Learner", "Plan", "Trained", "find_trained", "fit", "plan_of"]
