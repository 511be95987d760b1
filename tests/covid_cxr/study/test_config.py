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
        ("seeds", [1, 1], "seeds: expected different"),
        ("epochs", 0, "epochs: expected at least 1"),
        ("side", 16, "side: expected at least 32"),
    ],
)
def test_bad_fields_are_named(path, value, message):
    with pytest.raises(ValueError, match=message):
        parse(changed(path, value))


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
