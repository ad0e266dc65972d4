"""Carbon intensity of electricity: grams of CO2 equivalent for a kilowatt-hour, by country. Pure.

Means of the year 2023 (2022 where that is the newest) with the emissions of building and fuelling
power stations, of Ember and the Energy Institute, as Our World in Data publishes them (CC BY 4.0):
https://ourworldindata.org/grapher/carbon-intensity-electricity.
"""

from collections.abc import Mapping
from typing import Final

from fedbus.errors import SettingsError

WORLD: Final = 480
"""The world's mean of 2023 (Ember, Global Electricity Review 2024), for a country not named."""

GRAMS_PER_KWH: Final[Mapping[str, int]] = {
    "ARE": 561, "ARG": 354, "AUS": 549, "AUT": 111, "BEL": 138, "BGR": 335, "BRA": 98,
    "CAN": 170, "CHE": 35, "CHL": 291, "CHN": 582, "COL": 260, "CYP": 534, "CZE": 450,
    "DEU": 381, "DNK": 152, "EGY": 570, "ESP": 174, "EST": 417, "FIN": 79, "FRA": 56, "GBR": 238,
    "GRC": 337, "HRV": 205, "HUN": 204, "IDN": 676, "IND": 713, "IRL": 291, "ISL": 28,
    "ISR": 583, "ITA": 331, "JPN": 485, "KEN": 70, "KOR": 431, "LTU": 160, "LUX": 105,
    "LVA": 123, "MAR": 630, "MEX": 507, "MLT": 459, "MYS": 606, "NGA": 523, "NLD": 268,
    "NOR": 30, "NZL": 113, "PHL": 611, "POL": 662, "PRT": 166, "ROU": 241, "RUS": 441,
    "SAU": 707, "SGP": 471, "SRB": 636, "SVK": 117, "SVN": 231, "SWE": 41, "THA": 550,
    "TUN": 564, "TUR": 465, "TWN": 642, "UKR": 260, "USA": 369, "VNM": 475, "ZAF": 708,
}  # fmt: skip
"""Grams for a kilowatt-hour, by the country's code of three letters (ISO 3166)."""

JOULES_PER_KWH: Final = 3.6e6


def grams_per_kwh(country: str | None) -> int:
    """Return the intensity of a country; None: the world's mean.

    Raises:
        SettingsError: The code is not in the table.
    """
    if country is None:
        return WORLD
    found = GRAMS_PER_KWH.get(country.upper())
    if found is None:
        raise SettingsError(
            f"{country!r} is not in the table of countries, whose codes have three letters, as "
            "DEU has; leave it out for the mean of the world"
        )
    return found


def grams_of(joules: float, intensity: float) -> float:
    """Return the grams of CO2 equivalent of an energy, with grams for a kilowatt-hour."""
    return joules / JOULES_PER_KWH * intensity
