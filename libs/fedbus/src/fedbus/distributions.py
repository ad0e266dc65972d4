"""Names and versions of installed distributions.

They are read here and not by `importlib.metadata.version`, which imports Python's parser of e-mails
for these two lines: 0.7 MB of memory in every service.
"""

import re
from importlib.metadata import Distribution, distribution
from typing import Final

_FILES: Final = ("METADATA", "PKG-INFO", "")
"""Of a wheel, of an older installation in a folder, and of one in a single file."""
_HEADER: Final = re.compile(r"^(Name|Version):[ \t]*(.*?)[ \t]*$", re.MULTILINE)


def name_and_version(of: Distribution) -> tuple[str, str]:
    """Return a distribution's name and version; empty where its metadata lacks them."""
    text = next(filter(None, map(of.read_text, _FILES)), "")
    headers, _, _ = text.partition("\n\n")
    found = dict(_HEADER.findall(headers))
    return found.get("Name", ""), found.get("Version", "")


def version_of(package: str) -> str:
    """Return the version of an installed distribution.

    Raises:
        PackageNotFoundError: It is not installed.
    """
    return name_and_version(distribution(package))[1]
