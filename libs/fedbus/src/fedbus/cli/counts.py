"""Numbers of things, as a sentence has them. Pure."""


def counted(number: int, what: str) -> str:
    """Write `1 agent`, `2 agents`."""
    return f"{number} {what}{'' if number == 1 else 's'}"
