# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Shortcuts
#
# A network is asked for the disease and learns the hospital. Early studies of COVID-19
# on chest films were full of it: the ill came from one collection, the healthy from
# another, and a black border or a letter in the corner told them apart
# (Tartaglione et al., [arXiv 2004.05405](https://arxiv.org/abs/2004.05405), warned of
# it). The score on held-out films cannot show the fault: they have the border too.
#
# Here we make the fault on purpose, on **synthetic films**, where we know what is
# disease and what is not, and see which questions bring it to light.
#
# Research on confounded data, not a diagnostic device: nothing here comes from a
# patient or says anything about one.

# %%
import os

import jax
import matplotlib.pyplot as plt
import numpy as np

from covid_cxr import bias
from covid_cxr.bias import variants
from covid_cxr.bias.linear import logistic, pixels
from covid_cxr.metrics import auc
from covid_cxr.models import ModelConfig, network
from covid_cxr.phantom import COVID, Cohort, generate
from covid_cxr.train import StageConfig, fit, predict
from synaptax.data.images import Batch

SMALL = os.environ.get("SYNAPTAX_SMALL") == "1"  # a quick run, to test the notebook
SIDE, PATIENTS, EPOCHS = (32, 64, 2) if SMALL else (48, 200, 5)
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "0.6"
plt.rcParams.update({"figure.dpi": 62, "font.size": 10})

# %% [markdown]
# ## Two hospitals
#
# At home a dark border goes with the disease, in 95 of 100 patients. Elsewhere it goes
# against it: there the healthy are filmed with a narrow field. The disease itself, a
# faint haze in the lungs, is the same in both.


# %%
def hospital(seed, border):
    cohort = Cohort(PATIENTS, size=SIDE, contrast=0.35, shortcuts={"border": border})
    films = generate(jax.random.key(seed), cohort)
    return films, (films.finding == COVID).astype(np.int64)


train, y_train = hospital(0, 0.9)
home, y_home = hospital(1, 0.9)
away, y_away = hospital(2, -0.9)

figure, axes = plt.subplots(1, 4, figsize=(9, 2.6), layout="constrained")
for axis, row in zip(
    axes, [*np.flatnonzero(y_home)[:2], *np.flatnonzero(1 - y_home)[:2]], strict=True
):
    axis.imshow(home.images[row], cmap="gray", vmin=0, vmax=1)
    axis.contour(home.lungs[row].any(axis=0), [0.5], colors=ORANGE, linewidths=0.7)
    axis.set(title="ill" if y_home[row] else "healthy", xticks=[], yticks=[])
plt.show()
for name, films, label in (("home", home, y_home), ("elsewhere", away, y_away)):
    share = [films.traits["border"][label == value].mean() for value in (1, 0)]
    print(
        f"{name:10s}{len(label)} films, {label.sum()} ill; with a border: "
        f"{share[0]:.0%} of the ill, {share[1]:.0%} of the healthy"
    )

# %% [markdown]
# ## The network learns
#
# A narrow ResNet-10 is trained at home. We watch it on other patients at home, as a
# study would, and elsewhere, as a study hardly ever can. The training is the same both
# times, by the same seed: only who is watched differs.

# %%
net = network(ModelConfig("resnet10", width=8))
stage = StageConfig(
    rate=0.03, batch=8, epochs=EPOCHS, select="last", seeds=(0,), augmentation=None
)
batch = lambda films, label: Batch(films.images[..., None], label)
watched = {
    name: fit(net, stage, batch(train, y_train), batch(films, label))
    for name, films, label in (("home", home, y_home), ("elsewhere", away, y_away))
}
trained = watched["home"]

figure, axis = plt.subplots(figsize=(5.6, 3.4), layout="constrained")
for (name, run), colour in zip(watched.items(), (BLUE, ORANGE), strict=True):
    areas = [record["validation_auc"][0] for record in run.history]
    axis.plot(range(1, EPOCHS + 1), areas, "o-", color=colour, label=name)
    print(f"AUC {name:10s}" + "  ".join(f"{area:.2f}" for area in areas))
axis.axhline(0.5, color=GREY, lw=0.8, ls="--")
axis.set(xlabel="epoch", ylabel="AUC on unseen patients", ylim=(0, 1.02))
axis.legend()
plt.show()

# %% [markdown]
# If the upper curve were all we had, we would write a paper. The lower one says that
# the same network is wrong where the border means something else. After the first
# passes it knows the border and little more; the haze comes later, on top of it.
#
# ## What could have been asked at home
#
# No film from elsewhere is needed to see it. Take the lungs away, and ask the network
# again: the disease is gone, so the score must fall to one half. And ask a mere
# logistic regression what it makes of the border alone.


# %%
score = lambda films: predict(net, trained, np.asarray(films)[..., None])[0]
lungs = home.lungs.any(axis=1)
asked = variants.network(home.index, y_home, home.images, lungs, score)
cheap = bias.of_data(home.index, y_home, home.images, lungs)

figure, axis = plt.subplots(figsize=(7.4, 4.6), layout="constrained")
probes = [*asked, *cheap]
for place, probe in enumerate(probes):
    colour = ORANGE if probe.fires else (BLUE if probe.alarm else GREEN)
    low, value, high = (
        probe.found.value if np.isnan(x) else x
        for x in (probe.found.low, probe.found.value, probe.found.high)
    )
    axis.plot([low, high], [place, place], color=colour, lw=2)
    axis.plot(value, place, "o", color=colour)
    verdict = "ALARM" if probe.fires else ("silent" if probe.alarm else "may see it")
    print(f"{probe.name:34s}{value:.2f}   {verdict}")
axis.axvline(0.5, color=GREY, lw=0.8, ls="--")
axis.set_yticks(range(len(probes)), [probe.name for probe in probes], fontsize=8)
axis.set(xlabel="AUC at home, 95 % interval by patient", xlim=(0, 1.02))
axis.invert_yaxis()
plt.show()

# %% [markdown]
# Orange is an alarm: whatever has no lungs in it, and yet tells the ill from the
# healthy. Green may see the disease and raises none. The table of patients (view, age,
# sex, spacing) is silent, rightly: this shortcut lives in the pixels.
#
# ## The cure that helps here
#
# All but the lungs is blackened. A linear classifier of the masked films has no border
# to learn, and holds elsewhere; that of whole films does not. (Masking cures what lies
# outside the lungs. A shortcut inside them, such as exposure, stays; RESULTS.md has the
# table.)

# %%
figure, axis = plt.subplots(figsize=(5.6, 3.2), layout="constrained")
for place, (name, kind) in enumerate(
    (("whole films", None), ("lungs only", "lungs_only"), ("border", "border_only"))
):
    view = lambda films, kind=kind: pixels(
        films.images
        if kind is None
        else variants.radiographs_of(films.images, films.lungs.any(axis=1))[kind]
    )
    fitted = logistic(view(train), y_train)
    areas = [
        auc(label, fitted(view(films)))
        for films, label in ((home, y_home), (away, y_away))
    ]
    for shift, area, colour, where in zip(
        (-0.18, 0.18), areas, (BLUE, ORANGE), ("home", "elsewhere"), strict=True
    ):
        axis.bar(
            place + shift, area, 0.34, color=colour, label=where if not place else None
        )
    print(f"{name:14s}home {areas[0]:.2f}   elsewhere {areas[1]:.2f}")
axis.axhline(0.5, color=GREY, lw=0.8, ls="--")
axis.set_xticks(range(3), ["whole films", "lungs only", "border only"])
axis.set(ylabel="AUC of a linear classifier", ylim=(0, 1.02))
axis.legend(fontsize=8)
plt.show()

# %% [markdown]
# `python -m covid_cxr study CONFIG` asks all of this, and more, in every report:
# sources by stage of the network, labels shuffled within their source, negatives of
# the same source, pneumonia scored as COVID-19, and whether saliency lies in the lungs.
# A silent set of probes is no proof. A firing one is a reason to stop.
