"""Train a model of arrival delay: how late will a flight land, told when it leaves the gate.

Reads data/*.csv; writes models/delay.joblib and metrics.json.
"""

import json
from pathlib import Path

import joblib
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.metrics import mean_absolute_error, r2_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder

SEED = 2013
CATEGORIES = ["carrier", "origin", "dest", "manufacturer"]
NUMBERS = ["month", "day", "hour", "minute", "dep_delay", "distance", "built", "engines", "seats"]
NUMBERS += ["temp", "dewp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]
NUMBERS += ["dest_lat", "dest_lon", "dest_alt"]
TARGET = "arr_delay"


def main() -> None:
    columns = [*CATEGORIES, *NUMBERS, TARGET]
    months = [pd.read_csv(path, usecols=columns) for path in sorted(Path("data").glob("*.csv"))]
    flights = pd.concat(months, ignore_index=True).dropna(subset=[TARGET])
    train, test = train_test_split(flights, test_size=0.2, random_state=SEED)

    encode = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    model = make_pipeline(
        make_column_transformer((encode, CATEGORIES), ("passthrough", NUMBERS)),
        HistGradientBoostingRegressor(max_iter=60, early_stopping=False, random_state=SEED),
    )
    model.fit(train, train[TARGET])
    predicted = model.predict(test)

    metrics = {
        "flights": len(flights),
        "mean_absolute_error_minutes": round(mean_absolute_error(test[TARGET], predicted), 3),
        "r2": round(r2_score(test[TARGET], predicted), 4),
    }
    Path("models").mkdir(exist_ok=True)
    joblib.dump(model, "models/delay.joblib")
    Path("metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(metrics))


if __name__ == "__main__":
    main()
