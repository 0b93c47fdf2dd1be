# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
# ---
# ruff: noqa: D100, E402
# mypy: ignore-errors
# %% [markdown]
# # A tour of InfoCL
#
# Run `make repro` first; then `python -m infocl.experiments.tour` in the project's folder runs all of this in
# half a minute. Editors that know `# %%` cells (and `jupytext --to notebook`) show it as a notebook.

# %%
from pathlib import Path

import numpy as np
import onnxruntime
import torch

from infocl.results.comparison import read_compare

# %% [markdown]
# ## 1. What was learned, forgotten and brought back
#
# `make repro` trained two encoders on the same images: `models/plain` by the contrastive objective alone,
# `models/pretrain` with the regulariser. A linear probe reads each task from their frozen features.

# %%
compared = read_compare()
for task in compared.tasks.values():
    print(task.name, {figure.kind: f"{figure.score:.1%}" for figure in task.figures}, task.verdict or "")

# %% [markdown]
# ## 2. The encoders in torch
#
# Three lines load one: it takes images in 0..1 and gives features.

# %%
from infocl.encoder.files import load_encoder

encoder, config = load_encoder(Path("models/pretrain"))
plain, _ = load_encoder(Path("models/plain"))
with torch.inference_mode():
    features = encoder(torch.rand(8, 3, config["image_size"], config["image_size"]))
print(f"{config['objective']} + {config['regularizer']}: {tuple(features.shape)}")

# %% [markdown]
# ## 3. See what is gone: nearest neighbours
#
# For each test image we look at its nearest other image. If the encoder keeps a property, the two share it
# more often than images drawn at random.

# %%
from infocl.evaluate.features import extract
from infocl.prepared.reader import load_prepared
from infocl.runtime.paths import PREPARED, TARGETS

source = load_prepared(PREPARED)
images = source.split("test").images
labels = {source.name: source.labels("test")}
for folder in sorted(TARGETS.iterdir()):
    target = load_prepared(folder)
    if target.split("test").images_sha256 == source.split("test").images_sha256:
        labels[target.name] = target.labels("test")

for name, network in {"plain": plain, "regularised": encoder}.items():
    found = torch.from_numpy(extract(network, images, torch.device("cpu")))
    unit = torch.nn.functional.normalize(found - found.mean(0), dim=1)
    nearest = (unit @ unit.T).fill_diagonal_(-1).argmax(1).numpy()
    shared = {task: f"{np.mean(of[nearest] == of):.0%}" for task, of in labels.items()}
    print(f"{name}: the nearest image shares {shared}")

# %% [markdown]
# ## 4. Train one yourself
#
# A learner is an encoder, an objective and a regulariser; views are drawn on the CPU and computed where the
# images are. Thirty steps show the loss fall; `dvc exp run -S objective.name=vicreg` trains in earnest.

# %%
from infocl.config.file import parse_params, read_yaml
from infocl.encoder.views import Views
from infocl.pretrain.learner import Learner
from infocl.pretrain.optim import build_optimizer

raw = read_yaml(Path("params.yaml"))
raw["objective"]["name"] = "vicreg"
params = parse_params(raw)
torch.manual_seed(0)
learner = Learner(params, source.mean, source.std).train()
optimizer = build_optimizer(params.train.optimizer, learner.parameters())
views = Views(params.views, source.image_size)
batch = torch.from_numpy(np.array(source.split("train").images[:128]))
losses = []
for step in range(30):
    noise = learner.draw(len(batch), torch.Generator().manual_seed(step))
    loss = learner(*views(batch, seed=step), noise)
    optimizer.zero_grad()
    loss.value.backward()
    optimizer.step()
    losses.append(loss.value.item())
print(
    f"VICReg: loss {np.mean(losses[:5]):.2f} in the first five steps, {np.mean(losses[-5:]):.2f} in the last"
)

# %% [markdown]
# ## 5. Use the export
#
# The ONNX file takes uint8 images of any size and needs neither torch nor this library. It gives what the
# encoder gives in torch.

# %%
session = onnxruntime.InferenceSession("exports/encoder/encoder.onnx")
(embeddings,) = session.run(None, {"image": images[:8]})
with torch.inference_mode():
    expected = encoder(torch.from_numpy(np.array(images[:8])).permute(0, 3, 1, 2) / 255).numpy()
error = np.linalg.norm(embeddings - expected, axis=1) / np.linalg.norm(expected, axis=1)
print(f"{embeddings.shape} embeddings; relative error against torch {error.max():.1e}")
