"""Learns the price of a house with a random forest of scikit-learn."""

import json
from pathlib import Path

import joblib
import numpy as np
from sklearn.ensemble import RandomForestRegressor
from sklearn.model_selection import train_test_split

houses = np.loadtxt("data/houses.csv", delimiter=",", skiprows=1)
train, test = train_test_split(houses, random_state=0)

model = RandomForestRegressor(n_estimators=50, random_state=0, n_jobs=-1)
model.fit(train[:, :-1], train[:, -1])

joblib.dump(model, "model.joblib")
score = model.score(test[:, :-1], test[:, -1])
Path("metrics.json").write_text(json.dumps({"r2": round(score, 4)}))
print(f"r2 {score:.4f}")
