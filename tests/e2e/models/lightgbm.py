# models/model.joblib
# models/model.json
# models/model.txt
# models/scores.feather
"""A model of LightGBM, saved in each of its formats; the lines above name them."""

import json
from pathlib import Path

import joblib
import lightgbm
import numpy as np
import pandas as pd

draw = np.random.default_rng(1)
x = draw.standard_normal((400, 20))
y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int)
model = lightgbm.LGBMClassifier(n_estimators=8, num_leaves=7, random_state=5, verbose=-1).fit(x, y)
model.booster_.save_model("models/model.txt")
Path("models/model.json").write_text(json.dumps(model.booster_.dump_model()))
joblib.dump(model, "models/model.joblib")
pd.DataFrame({"score": model.predict_proba(x)[:, 1]}).to_feather("models/scores.feather")
