"""Learns the price of a house with boosted trees of LightGBM."""

import json
from pathlib import Path

import lightgbm as lgb
import numpy as np

houses = np.loadtxt("data/houses.csv", delimiter=",", skiprows=1)

settings = {
    "objective": "regression",
    "num_leaves": 15,
    "bagging_fraction": 0.8,
    "bagging_freq": 1,
    "seed": 0,
    "deterministic": True,  # with force_row_wise: the same trees from any number of threads
    "force_row_wise": True,
    "verbose": -1,
}
model = lgb.train(settings, lgb.Dataset(houses[:300, :-1], houses[:300, -1]), num_boost_round=60)

model.save_model("model.txt")
error = float(np.sqrt(np.mean((model.predict(houses[300:, :-1]) - houses[300:, -1]) ** 2)))
Path("metrics.json").write_text(json.dumps({"rmse": round(error, 3)}))
print(f"rmse {error:.3f}")
