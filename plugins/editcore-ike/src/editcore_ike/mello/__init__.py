"""MeLLo: a question of several steps is asked step by step, and each step is checked against the edited facts.

from editcore_ike.mello import ask

answer = ask(model, tokenizer, "What is the capital of the country where the author of Hamlet was born?")
"""

from editcore_ike.mello.asking import ask
from editcore_ike.mello.loop import Answer, Hop

__all__ = ["Answer", "Hop", "ask"]
