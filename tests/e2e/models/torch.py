# models/adam.pt
# models/network.safetensors
# models/scripted.pt
# models/state.pt
# models/weights.h5
"""A model of torch, saved in each of its formats; the lines above name them."""

import h5py
import torch
from safetensors.torch import save_file

torch.manual_seed(3)
network = torch.nn.Sequential(
    torch.nn.Conv2d(1, 4, 3),
    torch.nn.BatchNorm2d(4),
    torch.nn.ReLU(),
    torch.nn.Flatten(),
    torch.nn.Linear(144, 2),
)
images, labels = torch.randn(64, 1, 8, 8), torch.randint(0, 2, (64,))
optimiser = torch.optim.Adam(network.parameters(), lr=1e-2)
for _ in range(6):
    optimiser.zero_grad()
    torch.nn.functional.cross_entropy(network(images), labels).backward()
    optimiser.step()
state = network.state_dict()
torch.save(state, "models/state.pt")
torch.save(optimiser.state_dict(), "models/adam.pt")
save_file(state, "models/network.safetensors")
torch.jit.trace(network.eval(), images[:1]).save("models/scripted.pt")
with h5py.File("models/weights.h5", "w") as file:
    for name, tensor in state.items():
        file.create_dataset(name, data=tensor.numpy())
