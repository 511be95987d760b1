"""Scores of files by kept networks: the caution first, and what speaks against them."""

import csv
import json
import shutil

import numpy as np
import pytest
from PIL import Image

from covid_cxr import CAUTION
from covid_cxr.__main__ import main
from covid_cxr.metrics import log_loss
from covid_cxr.study import cells, model, prediction, predictions
from tests.covid_cxr import trees
from tests.covid_cxr.train.tiny import tiny

pytestmark = pytest.mark.runs


@pytest.fixture
def kept(study, monkeypatch):
    """Return the folder of the first cell's networks, of the whole radiographs."""
    monkeypatch.setattr(model, "network", lambda config: tiny())
    config, folder, _ = study
    return config, folder, folder / "models" / cells(config)[0].key


def test_a_study_keeps_what_scored_its_test_set(kept, held):
    config, folder, place = kept
    found = predictions(folder, cells(config)[0].key)
    loaded = model.load(place)
    images = held.select(held.parts["home"]["test"]).batch().image
    from covid_cxr.train import predict

    again = predict(loaded.net, loaded.trained, images)
    np.testing.assert_allclose(again, found["own"]["score"], atol=1e-6)
    score = found["validation"]["score"].mean(axis=0)
    label, heat = found["validation"]["label"], loaded.card["temperature"]
    losses = [
        log_loss(label, model.calibrated(score, one))
        for one in (0.8 * heat, heat, 1.25 * heat)
    ]
    assert losses[1] == min(losses)


def test_files_get_scores_and_warnings(kept, tmp_path, capsys):
    _, _, place = kept
    trees.write(tmp_path / "in" / "a.dcm", trees.dicom(trees.picture(1, (96, 90))))
    trees.write(tmp_path / "in" / "b.png", trees.png(2, (40, 96)))
    trees.write(tmp_path / "in" / "c.png", b"broken")
    table = tmp_path / "scores.csv"
    given = ["predict", str(place), str(tmp_path / "in"), "--csv", str(table)]
    assert main(given) == 0
    out = capsys.readouterr().out
    assert out.startswith(CAUTION) and "at temperature" in out
    assert "diagnosis" not in out and "patient" in out
    first, second, third = csv.DictReader(table.read_text().splitlines())
    assert 0 <= float(first["score"]) <= 1 and first["threshold"] in ("above", "below")
    assert "source not named" in first["warnings"]
    assert "enlarged to 48" in second["warnings"]
    assert "more than a quarter is cut away" in second["warnings"]
    assert third["score"] == "none" and "no score" in third["warnings"]
    assert first["caution"] == CAUTION


def test_radiographs_that_were_seen_in_training_are_told(kept, held, tmp_path):
    _, _, place = kept
    first = {}
    for part in ("train", "validation", "test"):
        pixels = held.select(held.parts["home"][part].select([0])).pixels()[0]
        first[part] = Image.fromarray((pixels * 65535).astype(np.uint16))
        first[part].save(tmp_path / f"{part}.png")
    first["train"].save(tmp_path / "renamed.png")
    eight = np.asarray(first["train"]) // 257
    larger = Image.fromarray(eight.astype(np.uint8)).resize((110, 110))
    larger.save(tmp_path / "copy.jpg", quality=80)
    loaded = model.load(place)

    def told(loaded, name):
        (one,) = prediction.predictions(loaded, [tmp_path / name])
        return one.warnings[0]

    for name in ("train.png", "renamed.png", "copy.jpg"):
        assert told(loaded, name).startswith("was seen in training: it or a copy"), name
    assert "was seen in validation" in told(loaded, "validation.png")
    assert "was seen" not in told(loaded, "test.png")
    # Networks that were kept before hashes were: not known, which is not "no".
    older = loaded._replace(hashes=None)
    assert told(older, "test.png").startswith("cannot be known whether it was seen")


def test_hashes_of_another_kind_are_refused(kept, tmp_path):
    place = tmp_path / "copy"
    shutil.copytree(kept[2], place)
    np.savez(place / "seen.npz", training=np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"seen\.npz: training: expected uint64"):
        model.load(place)
    (place / "seen.npz").unlink()
    assert model.load(place).hashes is None


def test_a_card_of_another_version_is_refused_by_name(kept, tmp_path, capsys):
    place = tmp_path / "copy"
    shutil.copytree(kept[2], place)
    file = place / "model.json"
    card = json.loads(file.read_text())
    wrong = [
        [],
        {},
        {**card, "seen": {}},
        {**card, "seen": {**card["seen"], "ranges": {"brightness": [0, 1]}}},
        {**card, "seen": {**card["seen"], "ranges": dict.fromkeys(model.STATISTICS)}},
        {**card, "cell": {}},
        {**card, "segmenter": None},
        {**card, "temperature": "1.0"},
        {**card, "validation_share": None},
        {**card, "threshold": 0.5},
        {**card, "encoder": {**card["encoder"], "depth": 3}},
    ]
    image = str(trees.write(tmp_path / "a.png", trees.png()))
    for one in wrong:
        file.write_text(json.dumps(one))
        assert main(["predict", str(place), image]) == 2
        assert "model.json: not of kept networks" in capsys.readouterr().err
    file.write_text(json.dumps(card))
    shutil.rmtree(place / "weights")
    assert main(["predict", str(place), image]) == 2
    assert "weights" in capsys.readouterr().err
    assert main(["predict", image, image]) == 2
    assert "expected model.json" in capsys.readouterr().err
    assert main(["predict", str(place)]) == 2


def test_networks_are_named_where_a_study_has_several(kept, tmp_path, capsys):
    _, folder, place = kept
    image = str(trees.write(tmp_path / "a.png", trees.png()))
    assert main(["predict", str(folder), image]) == 2
    assert "several networks" in capsys.readouterr().err
    assert main(["predict", str(tmp_path), image]) == 2
    assert "expected model.json" in capsys.readouterr().err
    assert main(["predict", str(place), image, "--view", "top"]) == 2
    assert "view: expected one of" in capsys.readouterr().err
    masked = place.with_name(place.name.replace("~none", "~masked", 2))
    masked = next(p for p in place.parent.iterdir() if p.name.endswith("~masked"))
    assert main(["predict", str(masked), image]) == 2
    assert "without a segmenter" in capsys.readouterr().err
