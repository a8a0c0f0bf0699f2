"""How metrics are asked: questions, who answers them, and the rows that come back."""
