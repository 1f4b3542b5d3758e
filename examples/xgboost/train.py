"""Learns the price of a house with boosted trees of XGBoost."""

import json
from pathlib import Path

import numpy as np
import xgboost as xgb

houses = np.loadtxt("data/houses.csv", delimiter=",", skiprows=1)
train = xgb.DMatrix(houses[:300, :-1], houses[:300, -1])
test = xgb.DMatrix(houses[300:, :-1], houses[300:, -1])

settings = {"objective": "reg:squarederror", "max_depth": 4, "subsample": 0.8, "seed": 0}
model = xgb.train(settings, train, num_boost_round=60)

model.save_model("model.ubj")
error = float(np.sqrt(np.mean((model.predict(test) - houses[300:, -1]) ** 2)))
Path("metrics.json").write_text(json.dumps({"rmse": round(error, 3)}))
print(f"rmse {error:.3f}")
