"""Options of the `fedbus` command itself, which may stand behind a command's name as well. Pure.

People write `fedbus agents --cluster DIR` as well as `fedbus --cluster DIR agents`.
"""

from collections.abc import Sequence

OPTIONS = ("--cluster", "--broker")


def moved_to_front(words: Sequence[str]) -> list[str]:
    """Move these options and their values before the command's name.

    What follows `--` stays, and so does an option without a value: its command refuses it.
    """
    front: list[str] = []
    rest: list[str] = []
    left = iter(words)
    for word in left:
        if word == "--":
            rest += [word, *left]
        elif word in OPTIONS:
            value = next(left, None)
            if value is None:
                rest.append(word)
            else:
                front += [word, value]
        elif word.startswith(tuple(f"{option}=" for option in OPTIONS)):
            front.append(word)
        else:
            rest.append(word)
    return front + rest
