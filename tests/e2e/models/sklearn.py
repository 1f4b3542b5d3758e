# models/boosted.joblib
# models/components.npz
# models/forest.joblib
# models/logistic.onnx
# models/logistic.pkl
# models/packed.joblib
# models/means.npy
# models/network.pkl
"""Models of scikit-learn, saved in each of their formats; the lines above name them."""

import pickle
from pathlib import Path

import joblib
import numpy as np
from skl2onnx import to_onnx
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

draw = np.random.default_rng(1)
x = draw.standard_normal((400, 20))
y = (x[:, 0] + x[:, 1] * x[:, 2] > 0).astype(int)
logistic = LogisticRegression(max_iter=50).fit(x, y)
forest = RandomForestClassifier(n_estimators=8, random_state=7, n_jobs=-1).fit(x, y)
boosted = HistGradientBoostingClassifier(max_iter=5, random_state=0).fit(x, y)
network = MLPClassifier(hidden_layer_sizes=(8,), max_iter=15, random_state=0).fit(x, y)
parts = PCA(5).fit(x)
joblib.dump(boosted, "models/boosted.joblib")
joblib.dump(forest, "models/forest.joblib")
joblib.dump(forest, "models/packed.joblib", compress=("xz", 3))
Path("models/logistic.pkl").write_bytes(pickle.dumps(logistic))
Path("models/network.pkl").write_bytes(pickle.dumps(network))
Path("models/logistic.onnx").write_bytes(to_onnx(logistic, x[:1]).SerializeToString())
np.savez("models/components.npz", components=parts.components_, mean=parts.mean_)
np.save("models/means.npy", KMeans(4, n_init=1, random_state=0).fit(x).cluster_centers_)
