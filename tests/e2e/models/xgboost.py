# models/model.json
# models/model.pkl
# models/model.ubj
# models/scores.parquet
"""A model of XGBoost, saved in each of its formats; the lines above name them."""

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import xgboost

draw = np.random.default_rng(1)
x = draw.standard_normal((400, 20))
y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int)
model = xgboost.XGBClassifier(
    n_estimators=8, max_depth=3, subsample=0.8, tree_method="hist", random_state=5
).fit(x, y)
model.save_model("models/model.json")
model.save_model("models/model.ubj")
Path("models/model.pkl").write_bytes(pickle.dumps(model))
pd.DataFrame({"score": model.predict_proba(x)[:, 1]}).to_parquet("models/scores.parquet")
