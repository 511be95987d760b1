"""A study's file: read, checked, refused in one line."""

import copy
import json

import pytest

from covid_cxr.study import parse, read
from tests.covid_cxr.study.conftest import STUDY


def changed(path, value):
    """Return the small study with one field set, "a.b.c"."""
    given = copy.deepcopy(STUDY)
    *way, last = path.split(".")
    table = given
    for name in way:
        table = table.setdefault(name, {})
    table[last] = value
    return given


def test_json_and_toml_say_the_same(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps(STUDY))
    (tmp_path / "b.toml").write_text(
        'name = "t"\ntests = ["own"]\nseeds = [3]\n'
        '[sets.real]\npath = "films"\nsource = "nih"\n'
        '[encoders.r]\narchitecture = "resnet18"\nwidth = 8\n'
        '[mixes.m]\ntarget = "real"\n'
    )
    assert read(tmp_path / "a.json") == parse(STUDY)
    other = read(tmp_path / "b.toml")
    assert other.seeds == (3,) and other.encoders["r"].width == 8
    assert other.sets["real"].path == str(tmp_path / "films")
    assert other.bias is True


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("colour", 1, "the study: unknown field 'colour'"),
        ("encoders.small.depth", 1, "encoders.small: unknown field 'depth'"),
        ("encoders.small.architecture", "vgg", "architecture: expected one of"),
        ("encoders.small.classes", 2, "encoders.small.classes: expected 1"),
        ("encoders", {}, "encoders: expected at least one"),
        ("encoders", [], "encoders: expected a table"),
        ("encoders", {"a/b": {}}, "'a/b' is no name for a file"),
        ("sets.home.path", "x", "sets.home: expected either path or phantom"),
        ("sets.home.phantom.patients", 0, "sets.home.phantom: patients"),
        ("mixes.border.kind", "all", "mixes.border.kind: expected one of"),
        ("mixes.border.target", "away", "mixes.border.target: expected one of"),
        ("mixes.border.kind", "versus", "mixes.border.other: expected one of"),
        ("pretrainings", {"p": {"set": "no"}}, "pretrainings.p.set"),
        ("pretrainings", {"p": {"epochs": 0}}, "pretrainings.p.epochs"),
        ("tests", ["nowhere"], "tests: expected one of"),
        ("tests", [], "tests: expected at least one"),
        ("preprocessing", ["clahe"], "preprocessing: expected one of"),
        ("protocol", "mine", "protocol: expected one of"),
        ("repairs", ["split"], "repairs: those of protocol 'published'"),
        ("repairs", ["lungs"], "repairs: expected one of"),
        ("pretrainings", {"p": {"labels": ["a"]}}, "p.labels: expected several"),
        ("seeds", [1, 1], "seeds: expected different"),
        ("epochs", 0, "epochs: expected at least 1"),
        ("side", 16, "side: expected at least 32"),
        ("side", "64", "side: expected a whole number, got '64'"),
        ("side", True, "side: expected a whole number, got True"),
        ("epochs", 2.5, "epochs: expected a whole number, got 2.5"),
        ("seeds", 3, "seeds: expected a list, got 3"),
        ("seeds", ["a"], "seeds: expected a whole number, got 'a'"),
        ("rate", float("nan"), "rate: expected a number, got nan"),
        ("rate", -0.1, "rate: expected a number above 0"),
        ("bias", "no", "bias: expected true or false, got 'no'"),
        ("tests", "own", "tests: expected a list, got 'own'"),
        ("tests", ["own", "own"], "tests: .* is there twice"),
        ("preprocessing", ["none", "none"], "preprocessing: .* is there twice"),
        ("allow", "patients", "allow: expected a list"),
        ("name", "", "name: expected text"),
        ("name", "a/b", "name: expected text without a slash"),
        ("name", "a\nb", "name: expected a short line"),
        ("name", "a" * 300, "name: expected a short line"),
        ("seeds", [2**70], "seeds: expected an integer from"),
        ("encoders.small.hidden", -1, "encoders.small.hidden: expected an integer"),
        ("pretrainings", {"p": {"set": "home", "label": ""}}, "p.label: expected a"),
        ("label", 5, "label: expected text, got 5"),
        ("segmenter", 5, "segmenter: expected text"),
        ("encoders.small.width", "4", "encoders.small.width: expected a whole"),
        ("encoders.small.norm", "bach", "encoders.small.norm: expected one of"),
        ("pretrainings", {"p": {"weights": 1}}, "pretrainings.p.weights: expected te"),
        ("sets.own", {"phantom": {}, "seed": 9}, "sets: 'own' is the test part"),
        ("sets.home", {"path": 5}, "sets.home.path: expected text, got 5"),
        ("sets.home.phantom.patients", "9", "home.phantom.patients: expected a whole"),
        ("sets.home.phantom.hospitals", {}, "phantom.hospitals: expected a list"),
        ("sets.home.phantom.shortcuts", 1, "phantom.shortcuts: expected a table"),
        (
            "sets.home",
            {"table": "t", "labels": {"covid": {"positive": "covid"}}},
            "sets.home.labels.covid.positive: expected a list, got 'covid'",
        ),
        (
            "sets.home",
            {"table": "t", "labels": {"covid": {"positive": [1]}}},
            "sets.home.labels.covid.positive: expected text, got 1",
        ),
        (
            "sets.home",
            {"table": "t", "columns": {"image": 5}},
            "sets.home.columns.image: expected text, got 5",
        ),
    ],
)
def test_bad_fields_are_named(path, value, message):
    with pytest.raises(ValueError, match=message):
        parse(changed(path, value))


def test_what_the_published_protocol_would_ignore_is_refused():
    given = changed("protocol", "published")
    for name in ("batch", "rate"):
        with pytest.raises(ValueError, match=f"^{name}: protocol 'published' has its"):
            parse(given)
        del given[name]
    with pytest.raises(ValueError, match=r"small\.architecture: expected one"):
        parse(given)  # a ResNet-10 was not published
    given["encoders"]["small"] = {"architecture": "resnet50", "width": 8}
    config = parse(given)
    assert config.protocol == "published" and config.encoder("small").hidden == 64
    given["encoders"]["small"]["hidden"] = 3
    with pytest.raises(ValueError, match=r"encoders\.small\.hidden: protocol 'publ"):
        parse(given)
    assert parse({**given, "repairs": ["head"]}).encoder("small").hidden == 3


def test_the_file_is_named(tmp_path):
    file = tmp_path / "broken.json"
    file.write_text("{")
    with pytest.raises(ValueError, match=r"broken\.json: cannot be read"):
        read(file)
    file.write_text('{"name": "x"}')
    with pytest.raises(ValueError, match=r"broken\.json: the study: .*sets"):
        read(file)
    with pytest.raises(OSError, match="absent"):
        read(tmp_path / "absent.json")
