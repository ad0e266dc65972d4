"""Agreement of the collectors on the key that they draw noise with. Pure.

A round may be collected by any collector, and the noise of one job must come from one key: banded
noise of earlier rounds is drawn again, and a repeated computation must give the same bytes. So no
round is planned while the online collectors differ.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from fedbus.privacy.ledger_entries import is_drawn_by_collector
from fedbus.text import in_given_order, listed
from fedbus.wire.privacy import PrivacyTerms

_SHOWN_DIGITS: Final = 12
_MEND: Final = "give each collector the same file (FEDBUS_NOISE_KEY, read every 30 s)"


@dataclass(frozen=True, slots=True)
class NoiseKeyChoice:
    """The digest of the key for the next plan, or why there is none; "" if there is one.

    Both are empty if collectors draw no noise in the job.
    """

    digest: str | None = None
    trouble: str = ""


def choose_noise_key(
    terms: PrivacyTerms | None,
    stated: Mapping[str, str | None],
    earlier: str | None,
    troubled: Collection[str] = (),
) -> NoiseKeyChoice:
    """Return the key that all collectors have.

    Args:
        terms: What the job promises.
        stated: The digest that each online collector states; None if it has no key.
        earlier: The digest in the job's earlier plans; None before the first.
        troubled: The collectors that state why they cannot use their file.
    """
    if terms is None or not is_drawn_by_collector(terms):
        return NoiseKeyChoice()
    digests = set(stated.values())
    has = in_given_order(f"{name} has {_shown(digest)}" for name, digest in sorted(stated.items()))
    if troubled:
        has += f"; `fedbus agents` shows why {listed(troubled)} cannot use its file"
    if digests == {None} and earlier is None:
        if troubled:
            return NoiseKeyChoice(None, f"waiting for a noise key: {has}; {_MEND}")
        make = "make one with `fedbus privacy key FILE`"
        return NoiseKeyChoice(None, f"waiting for a noise key: {has}; {make}, and {_MEND}")
    if len(digests) > 1:
        return NoiseKeyChoice(None, f"waiting for one noise key: {has}; {_MEND}")
    (digest,) = digests
    if earlier not in {None, digest}:
        of_job = f"this job's earlier rounds have noise of the key {_shown(earlier)}"
        return NoiseKeyChoice(
            None,
            f"waiting for the job's noise key: {of_job}, but {has}; {_MEND}: that of the earlier "
            "rounds, or cancel the job if it is lost",
        )
    return NoiseKeyChoice(digest)


def _shown(digest: str | None) -> str:
    return "none" if digest is None else f"{digest[:_SHOWN_DIGITS]}…"
