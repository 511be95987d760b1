"""What the code of arXiv 2004.05405 does in each choice, how that is known, and ours.

The protocol "published" keeps every choice below as it was found, "fixed" none;
``repairs`` of a study switches single ones. The same in both are what is published and
no defect: augmentation, weight decay, the mixes, and stage 1 for all of a network's
seeds. The order of equalising and masking is an axis of the study: "masked" is the
published one. No choice here: the softened edge of the lungs, known from notes on the
journal's version alone; seeds and epochs (published: one, 42; 100, after 150 or 160 of
stage 1), which are a budget.
"""

from __future__ import annotations

from typing import NamedTuple

READ = "READ in the released code"
DERIVED = "DERIVED from the released code"


class Choice(NamedTuple):
    """One choice of the protocol.

    Attributes:
        published: what was done.
        evidence: how that is known.
        repaired: what is done instead.
        fields: those of :class:`covid_cxr.train.StageConfig` that it sets.
        stages: of which stages, 1 and 2.
    """

    published: str
    evidence: str
    repaired: str
    fields: tuple[str, ...] = ()
    stages: tuple[int, ...] = (1, 2)


CHOICES = {
    "split": Choice(
        "by radiograph, stratified by label", READ, "by patient, by label and source"
    ),
    "crop": Choice(
        "short side to 8/7 of the side, centre cut", READ, "largest centred square"
    ),
    "statistics": Choice(
        "means of each radiograph's mean and deviation, of the target's training and "
        "validation part and of what stage 1 learnt from, never of the second set",
        READ,
        "mean and deviation of all training pixels",
    ),
    "channel": Choice(
        "of given weights with three input channels the first", READ, "their sum"
    ),
    "head": Choice(
        "a hidden layer (256 units of ResNet-18, 512 of ResNet-50), none in stage 1",
        READ,
        "as the encoder says",
    ),
    "double softmax": Choice(
        "three classes in stage 1: cross-entropy of a softmax's output",
        READ,
        "cross-entropy of logits",
        ("loss",),
        (1,),
    ),
    "focal loss": Choice(
        "focal, exponent 2", READ, "binary cross-entropy", ("loss",), (2,)
    ),
    "optimizer": Choice(
        "SGD at 0.1 (0.01 with three classes) without momentum, batches of 4 (stage 1: "
        "10), a tenth of the rate after 15 epochs that do not lower the validation "
        "loss",
        READ,
        "momentum 0.9, cosine, rate and batch of the study",
        ("rate", "momentum", "schedule", "batch"),
    ),
    "sampling": Choice(
        "shuffled", READ, "as many of each class in a batch", ("sampling",)
    ),
    "trunk": Choice(
        "learns at the head's rate", READ, "at a tenth after stage 1", ("trunk_rate",)
    ),
    "epoch": Choice(
        "the last, of both stages", DERIVED, "best on validation", ("select",)
    ),
    "threshold": Choice("one half", READ, "Youden's of the validation part"),
}
