"""Ways through a study that the small one does not take: folders of real layouts."""

import json

import jax
import numpy as np
import pytest

from covid_cxr import images
from covid_cxr.images import square
from covid_cxr.models import network
from covid_cxr.segmentation import Radiographs, SegmentConfig, UNetConfig, fit, save
from covid_cxr.splits import OverlapError
from covid_cxr.study import cells, checklist, parse, read, report, run, training
from covid_cxr.study.blocks import Table, as_markdown
from covid_cxr.study.choices import CHOICES
from covid_cxr.study.data import library
from covid_cxr.study.leakage import LEARNT
from covid_cxr.study.matrix import path_of
from covid_cxr.study.summaries import Finished
from covid_cxr.train.training import with_trunk
from synaptax.runs import read_json
from tests.covid_cxr import trees
from tests.covid_cxr.models import formula
from tests.covid_cxr.train.tiny import tiny

pytestmark = pytest.mark.runs

SIDE = 32
SMALL = {
    "name": "paths",
    "side": SIDE,
    "seeds": [0, 1],
    "epochs": 2,
    "batch": 8,
    "rate": 0.03,
    "replicates": 20,
    "bias": False,
    "encoders": {"small": {}},
    "tests": ["own"],
}


def boxes(count, seed):
    """Return films (n, S, S) of two dark boxes on grey, and the boxes."""
    rng = np.random.default_rng(seed)
    lungs = np.zeros((count, SIDE, SIDE), bool)
    for mask in lungs:
        top, bottom, left, right = rng.integers(-1, 2, 4)
        mask[6 + top : 25 + bottom, 4 + left : 13] = True
        mask[6 + top : 25 + bottom, 19 : 28 + right] = True
    films = 0.7 - 0.5 * lungs + 0.04 * rng.normal(size=lungs.shape)
    return np.clip(films, 0, 1).astype(np.float32), lungs


def spotted(films, lungs, ill):
    """Return films as uint8, the ill ones brighter in the lungs."""
    shown = films + 0.25 * lungs * np.asarray(ill)[:, None, None]
    return np.round(255 * np.clip(shown, 0, 1)).astype(np.uint8)


def collection(root, people=40, films=1, masks=True):
    """Write a COVID-ChestXRay folder, every second patient ill; mask of every film."""
    count = people * films
    ill = np.arange(count) // films % 2 == 0
    shown, lungs = boxes(count, 1)
    rows = []
    for k, film in enumerate(spotted(shown, lungs, ill)):
        name = f"c{k}.png"
        finding = "Pneumonia/Viral/COVID-19" if ill[k] else "No Finding"
        patient = str(1000 + k // films)
        rows.append(trees.modern_row(patientid=patient, finding=finding, filename=name))
        trees.write(root / "images" / name, trees.encode(film))
        if masks:
            mask = np.uint8(255) * lungs[k]
            trees.write(root / "annotations" / "lungs" / name, trees.encode(mask))
    trees.write(root / "metadata.csv", trees.lines(trees.MODERN, *rows))
    return root


def nih(root, people=40, half=0):
    """Write an NIH folder, every second patient ill, some films with one lung."""
    ill = np.arange(people) % 2 == 0
    rows, pictures = [], spotted(*boxes(people, 2), ill)
    pictures[:half, :, SIDE // 2 :] = pictures[:half, :1, :1]
    for k, film in enumerate(pictures):
        name, finding = f"{k + 1:08d}_000.png", "Pneumonia" if ill[k] else "No Finding"
        rows.append(f"{name},{finding},0,{k + 1},57,M,PA,2682,2749,0.143,0.143")
        trees.write(root / "images" / name, trees.encode(film))
    table = trees.lines(trees.V2020, *rows)
    trees.write(root / "Data_Entry_2017_v2020.csv", table)
    return root


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("films")
    return {
        "home": {"path": str(collection(root / "home")), "source": "covid_chestxray"},
        "nih": {"path": str(nih(root / "nih", half=4)), "source": "nih"},
    }


@pytest.fixture
def fitted(monkeypatch):
    """Return a log of (stage, start, result) of trainings, of the tiny network."""
    log = []

    def noted(net, stage, *data, start=None, **options):
        trained = original(net, stage, *data, start=start, **options)
        log.append((stage, start, trained))
        return trained

    original = training.fit
    monkeypatch.setattr(training, "fit", noted)
    monkeypatch.setattr(training, "network", lambda config: tiny())
    return log


VERSUS = {"v": {"kind": "versus", "target": "home", "other": "nih"}}
LUNGS = {"set": "nih", "label": "pneumonia", "epochs": 3}


def told(config, folder):
    """Return what the report says of films, stage 1 and the checklist, as text."""
    records = {c.key: read_json(path_of(folder, c.key)) for c in cells(config)}
    found, sets = Finished(records, [], {}, []), read_json(folder / "sets.json")
    items = checklist.items(config, found, sets)
    blocks = [*report._radiographs(sets), *report._first_stage(config, found)]
    return as_markdown([*blocks, Table(("item", "answer"), items)], folder)


def test_stage_two_starts_from_the_trunk_of_stage_one(folders, fitted, tmp_path):
    config = parse(
        {
            **SMALL,
            "sets": folders,
            "mixes": {**VERSUS, "home": {"target": "home"}},
            "pretrainings": {"lungs": LUNGS},
        }
    )
    run(config, tmp_path)
    # Stage 1 is asked for by both mixes, and was trained for the first alone.
    assert [stage.epochs for stage, *_ in fitted] == [3, 2, 3, 2]
    (_, _, first), (stage, start, _), (_, _, again) = fitted[:3]
    assert stage.trunk_rate == 0.1
    assert training.finetuning(config, films_of(config), False).trunk_rate == 1
    for one, other, same in zip(
        jax.tree.leaves((first.params, first.stats)),
        jax.tree.leaves(start),
        jax.tree.leaves((again.params, again.stats)),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
        np.testing.assert_array_equal(one, same)
    for cell in cells(config):
        before = read_json(path_of(tmp_path, cell.key))["stage_one"]
        assert before["label"] == "pneumonia" and before["train"]["positives"] > 0
        assert list(before["train"]["sources"]) == ["nih"]
        assert len(before["epoch"]) == len(before["validation_auc"]) == 2
    text = told(config, tmp_path)
    assert "lungs: pneumonia on nih, 3 epochs" in text
    assert text.count("| small | lungs | none | pneumonia |") == 1


def films_of(config):
    held = library(config)
    return held.select(held.whole["home"])


def test_films_of_stage_one_are_no_test_films(folders, fitted, tmp_path):
    # Under another name the same folder is not trained on, so it is tested whole.
    given = {
        **SMALL,
        "sets": {**folders, "again": folders["nih"]},
        "mixes": {"home": {"target": "home"}},
        "tests": ["again"],
        "pretrainings": {"lungs": LUNGS},
    }
    with pytest.raises(OverlapError, match=r"lungs and again.*images"):
        run(parse(given), tmp_path)
    assert not fitted


def test_weights_of_a_file_are_a_start(tmp_path):
    state = formula.fill(formula.resnet_shapes(18, width=4))
    np.savez(tmp_path / "given.npz", **state)
    study = {
        **SMALL,
        "sets": {"home": {"path": "films"}},
        "mixes": {"home": {"target": "home"}},
        "encoders": {"small": {"architecture": "resnet18", "width": 4}},
        "pretrainings": {"given": {"weights": "given.npz"}},
    }
    (tmp_path / "study.json").write_text(json.dumps(study))
    config = read(tmp_path / "study.json")
    net, nothing = network(config.encoders["small"]), {}
    start, before = training._pretrained(
        config, tmp_path, cells(config)[0], nothing, net, True
    )
    params, _ = with_trunk(net.init(jax.random.key(7), SIDE), start)
    given = state["layer2.0.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(params["layer2_0"]["conv1"]["kernel"], given)
    answers = dict(checklist.items(config, Finished({}, [], {}, []), {}))
    assert answers["Initial weights"].startswith("given: from given.npz; OPEN")
    assert before is None and str(tmp_path) not in str(answers)
    # As published only the first of the three channels counts.
    three = state["conv1.weight"].transpose(2, 3, 1, 0)
    for given, kernel in (
        ({}, three.sum(axis=2, keepdims=True)),
        ({"protocol": "published"}, three[:, :, :1]),
    ):
        fields = {**study, **given}
        for name in ("batch", "rate") if given else ():
            del fields[name]
        (tmp_path / "study.json").write_text(json.dumps(fields))
        config = read(tmp_path / "study.json")
        (start, _), _ = training._pretrained(
            config, tmp_path, cells(config)[0], nothing, net, True
        )
        np.testing.assert_allclose(start["conv1"]["kernel"], kernel, rtol=1e-5)


@pytest.mark.parametrize(
    ("set_", "label", "message"),
    [
        ("nih", "tuberculosis", "pretrainings.lungs.label: no radiograph of 'nih'"),
        ("nih", "covid", "pretrainings.lungs.label: the radiographs of 'nih'"),
    ],
)
def test_a_label_that_is_not_there(folders, fitted, tmp_path, set_, label, message):
    given = {
        **SMALL,
        "sets": folders,
        "mixes": {"home": {"target": "home"}},
        "pretrainings": {"lungs": {"set": set_, "label": label}},
    }
    with pytest.raises(ValueError, match=message):
        run(parse(given), tmp_path)


def test_as_published(fitted, tmp_path):
    home = {"path": str(collection(tmp_path / "a", 20, films=2, masks=False))}
    given = {
        **{k: v for k, v in SMALL.items() if k not in ("batch", "rate")},
        "protocol": "published",
        "sets": {"home": home},
        "mixes": {"home": {"target": "home"}},
    }
    # Split by image, so patients are on both sides: only on demand.
    with pytest.raises(OverlapError, match=r"allow=\('patients',\)"):
        run(parse(given), tmp_path / "refused")
    config = parse({**given, "allow": ["patients"]})
    run(config, tmp_path / "run")
    stage = fitted[-1][0]
    assert (stage.loss, stage.batch, stage.rate) == ("focal", 4, 0.1)
    assert (stage.momentum, stage.select, stage.sampling) == (0, "last", "shuffled")
    record = read_json(path_of(tmp_path / "run", cells(config)[0].key))
    assert (record["threshold"]["rule"], record["threshold"]["value"]) == ("fixed", 0.5)
    # Short side 8/7, then cut; means over images, of training and validation part.
    held = library(config)
    whole = held.select(held.whole["home"])
    image = square(images.read(whole.index.file(3)).pixels, SIDE, fit="published")
    np.testing.assert_allclose(whole.pixels()[3], image, atol=1e-5)
    learnt = [held.select(held.parts["home"][p]).pixels() for p in LEARNT]
    pixels = np.concatenate(learnt)
    std = pixels.std(axis=(1, 2)).mean()
    assert stage.std == round(float(std), 2) and stage.mean == round(pixels.mean(), 2)
    card = read_json(next((tmp_path / "run" / "models").glob("*/model.json")))
    assert card["fit"] == "published"
    assert record["overlaps_let_pass"] == {"own": ["patients"]}
    assert record["epoch"] == [2, 2]
    text = told(config, tmp_path / "run")
    assert "0.5, as published" in text and "short side 8/7" in text
    assert "by image, as published" in text and "let pass: patients" in text
    assert "threshold: one half (READ in the released code)" in text
    assert card["encoder"]["hidden"] == 256


def children(root):
    """Write a Kermany folder of three classes, brighter from one to the next."""
    shown, lungs = boxes(36, 3)
    for k in range(36):
        kind = ("NORMAL", "bacteria", "virus")[k % 3]
        folder = "NORMAL" if k % 3 == 0 else "PNEUMONIA"
        name = f"IM-{k:04d}-0001" if k % 3 == 0 else f"person{k}_{kind}_1"
        film = spotted(shown[k : k + 1] + 0.1 * (k % 3), lungs[k : k + 1], [0])[0]
        file = root / "train" / folder / f"{name}.jpeg"
        trees.write(file, trees.encode(film, "JPEG"))
    return root


def test_stage_one_of_three_classes_as_published(fitted, monkeypatch, tmp_path):
    made = []
    network = lambda config: made.append(config) or tiny(config.classes)
    monkeypatch.setattr(training, "network", network)
    home = {"path": str(collection(tmp_path / "a", 20, masks=False))}
    first = {"set": "children", "labels": ["bacterial", "viral"], "epochs": 1}
    config = parse(
        {
            **{k: v for k, v in SMALL.items() if k not in ("batch", "rate")},
            "seeds": [0],
            "epochs": 1,
            "protocol": "published",
            "allow": ["patients", "duplicates"],
            "sets": {"home": home, "children": {"path": str(children(tmp_path / "b"))}},
            "mixes": {"home": {"target": "home"}},
            "pretrainings": {"three": first},
        }
    )
    run(config, tmp_path / "run")
    (one, _, trained), (two, start, _) = fitted
    assert (one.loss, one.rate, one.batch) == ("double-softmax", 0.01, 10)
    assert (two.loss, two.rate, two.trunk_rate) == ("focal", 0.1, 1)
    assert [(net.classes, net.hidden) for net in made] == [(1, 256), (3, 0)]
    assert trained.params["fc"]["out"]["kernel"].shape == (1, 4, 3)
    for a, b in zip(jax.tree.leaves(start), jax.tree.leaves(trained[:2]), strict=True):
        np.testing.assert_array_equal(a, b)
    # Statistics of stage 2: the target's and all that stage 1 saw, of three classes.
    held = library(config)
    pixels = [
        held.select(held.parts[name][part]).pixels()
        for name in ("home", "children")
        for part in LEARNT
    ]
    mean = np.concatenate(pixels).mean(axis=(1, 2)).mean()
    assert two.mean == round(float(mean), 2) != one.mean
    record = read_json(path_of(tmp_path / "run", cells(config)[0].key))
    assert record["stage_one"]["label"] == "bacterial, viral"
    assert "three: bacterial, viral on children" in told(config, tmp_path / "run")


def test_a_study_with_every_repair_is_the_fixed_one(folders):
    given = {**SMALL, "sets": folders, "mixes": VERSUS}
    ours = parse({**given, "protocol": "published", "repairs": list(CHOICES)})
    fixed, films = parse(given), films_of(parse(given))
    for classes in (1, 3):
        stages = [training.pretraining(c, films, 2, classes) for c in (ours, fixed)]
        assert stages[0] == stages[1]
    for before in (False, True):
        stages = [training.finetuning(c, films, before) for c in (ours, fixed)]
        assert stages[0] == stages[1]
    assert (ours.fit, ours.encoder("small")) == (fixed.fit, fixed.encoder("small"))
    assert not any(map(ours.keeps, CHOICES)) and not any(map(fixed.keeps, CHOICES))
    # One repair alone changes its own fields alone.
    one = parse({**given, "protocol": "published", "repairs": ["optimizer"]})
    theirs = training.finetuning(one, films, False, [films])
    assert (theirs.rate, theirs.momentum, theirs.batch) == (0.03, 0.9, 8)
    assert (theirs.loss, theirs.select) == ("focal", "last")
    # Batches of 10 do not divide into three classes.
    no_batch = {k: v for k, v in given.items() if k not in ("batch", "rate")}
    one = parse({**no_batch, "protocol": "published", "repairs": ["sampling"]})
    theirs = training.pretraining(one, films, 2, 3)
    assert (theirs.sampling, theirs.batch, theirs.rate) == ("balanced", 9, 0.01)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory):
    folder = tmp_path_factory.mktemp("net")
    films, lungs = boxes(24, 5)
    config = SegmentConfig(
        net=UNetConfig(depth=1, width=4),
        side=SIDE,
        epochs=8,
        batch=2,
        rate=0.02,
        augmentation=None,
    )
    save(fit(config, Radiographs(films, lungs[:, None])), folder)
    return folder


def lungs_of(held):
    return np.asarray(held.select(held.whole["home"]).lungs)


def masked(folders, segmenter, **fields):
    return parse(
        {
            **SMALL,
            "sets": folders,
            "mixes": VERSUS,
            "preprocessing": ["masked"],
            "segmenter": str(segmenter),
            **fields,
        }
    )


def test_lungs_from_a_segmenter(folders, segmenter, fitted, tmp_path):
    # At another size than the segmenter's own.
    config = masked(folders, segmenter, side=48)
    run(config, tmp_path)
    sets = read_json(tmp_path / "sets.json")
    # On the four films with one lung the network abstains.
    assert sets["nih"]["segmented"] == 36 and sets["home"]["segmented"] == 0
    assert sets["nih"]["abstained"] == 4 and sets["nih"]["images"] == 36
    assert sets["nih"]["left_out"]["lungs not known"] == 4
    assert sets["home"]["images"] == 40
    # Black but for the lungs.
    assert fitted[-1][0].mean < 0.5
    text = told(config, tmp_path)
    assert "the lungs of 36 radiographs are a network's; it abstained on 4" in text
    assert "4 lungs not known" in text
    assert "lungs of radiographs without a mask by a trained network" in text


def test_the_same_hand_for_all_lungs(folders, segmenter):
    mine = lungs_of(library(masked(folders, segmenter)))
    held = library(masked(folders, segmenter, segment="all"))
    counts = [(one["segmented"], one["abstained"]) for one in held.described.values()]
    assert counts == [(40, 0), (36, 4)]
    theirs = lungs_of(held)
    assert (mine != theirs).any()
    assert 2 * (mine & theirs).sum() / (mine.sum() + theirs.sum()) > 0.8
    with pytest.raises(ValueError, match="segment: 'all' needs a segmenter"):
        masked(folders, "", segment="all")


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        {"architecture": "resnet50", "width": 2},
        {"architecture": "densenet121", "width": 4, "blocks": [1, 2, 2, 1]},
    ],
    ids=lambda model: model["architecture"],
)
def test_other_encoders(folders, tmp_path, model):
    config = parse(
        {
            **SMALL,
            "seeds": [0],
            "epochs": 1,
            "sets": folders,
            "mixes": VERSUS,
            "encoders": {"deep": model},
            "pretrainings": {"lungs": {**LUNGS, "epochs": 1}},
            "bias": True,
        }
    )
    run(config, tmp_path)
    record = read_json(path_of(tmp_path, cells(config)[0].key))
    stages = [one["name"] for one in record["probes"] if "source from" in one["name"]]
    assert stages == [
        f"source from {s}" for s in ("stem", *(f"layer{k}" for k in "1234"))
    ]
    methods = {one["method"]: one for one in record["saliency"]}
    assert set(methods) == {"grad-cam", "integrated gradients"}
    assert all(0 < one["inside"]["value"] < 1 for one in methods.values())
