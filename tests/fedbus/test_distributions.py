"""Names and versions of installed distributions."""

from importlib.metadata import PackageNotFoundError, PathDistribution, distributions
from pathlib import Path

import pytest

from fedbus.distributions import name_and_version, version_of


def test_every_installed_distribution_has_the_name_and_version_that_python_reads() -> None:
    """The parser of e-mails, which costs memory, reads nothing else there."""
    found = list(distributions())
    assert found
    for each in found:
        assert name_and_version(each) == (each.metadata["Name"], each.metadata["Version"])


@pytest.mark.parametrize("place", ["acme-1.0.dist-info/METADATA", "acme.egg-info/PKG-INFO"])
def test_headers_alone_are_read(tmp_path: Path, place: str) -> None:
    """A description may have lines that look like headers; a header may be missing."""
    file = tmp_path / place
    file.parent.mkdir()
    of = PathDistribution(file.parent)
    assert name_and_version(of) == ("", "")
    file.write_text("Metadata-Version: 2.1\nName: acme \nVersion:1.0\n\nName: other\nVersion: 9\n")
    assert name_and_version(of) == ("acme", "1.0")


def test_a_distribution_of_one_file_is_read(tmp_path: Path) -> None:
    """Old installations have such a file in place of a folder."""
    file = tmp_path / "acme.egg-info"
    file.write_text("Name: acme\nVersion: 1.0\n")
    assert name_and_version(PathDistribution(file)) == ("acme", "1.0")


def test_what_is_not_installed_has_no_version() -> None:
    """As `importlib.metadata.version`."""
    assert version_of("pytest") == pytest.__version__
    with pytest.raises(PackageNotFoundError):
        version_of("no-such-package-anywhere")
