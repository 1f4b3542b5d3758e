"""Learns the price of a house with a small neural network of torch."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

torch.manual_seed(0)

houses = torch.from_numpy(np.loadtxt("data/houses.csv", delimiter=",", skiprows=1, dtype=np.float32))
houses = (houses - houses.mean(0)) / houses.std(0)
train, test = houses[:300], houses[300:]

model = nn.Sequential(nn.Linear(4, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for _ in range(30):
    for rows in train[torch.randperm(len(train))].split(50):
        optimizer.zero_grad()
        nn.functional.mse_loss(model(rows[:, :-1]).squeeze(1), rows[:, -1]).backward()
        optimizer.step()

torch.save(model.state_dict(), "model.pt")
with torch.no_grad():
    error = nn.functional.mse_loss(model(test[:, :-1]).squeeze(1), test[:, -1]).item()
Path("metrics.json").write_text(json.dumps({"mse": round(error, 4)}))
print(f"mse {error:.4f}")
