"""The session: request → location → update → patch."""
