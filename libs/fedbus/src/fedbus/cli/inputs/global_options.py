"""Global options at any place of the command line. Performs no I/O.

`fedbus agents --cluster DIR` means `fedbus --cluster DIR agents`.
"""

from collections.abc import Sequence

OPTIONS = ("--cluster", "--broker")


def move_to_front(words: Sequence[str]) -> list[str]:
    """Move global options and their values before the command's name.

    Words after `--` stay, and so does an option without a value, which the command rejects.
    """
    front: list[str] = []
    rest: list[str] = []
    remaining = iter(words)
    for word in remaining:
        if word == "--":
            rest += [word, *remaining]
        elif word in OPTIONS:
            value = next(remaining, None)
            if value is None:
                rest.append(word)
            else:
                front += [word, value]
        elif word.startswith(tuple(f"{option}=" for option in OPTIONS)):
            front.append(word)
        else:
            rest.append(word)
    return front + rest
