"""What RESULTS.md says of this package comes from recorded runs."""

from analysis.experiments import entropy_lenet5_mnist, results
from synaptax import runs


def test_sections_are_markdown_lines():
    (page,) = results.contribution().pages
    lines = page.lines
    assert all(isinstance(line, str) for line in lines)
    assert [line for line in lines if line.startswith("# ")] == []


def test_the_entropy_section_reads_its_record(tmp_path, monkeypatch):
    monkeypatch.setattr(entropy_lenet5_mnist, "RECORDED", tmp_path)
    assert entropy_lenet5_mnist.sections() == []
    layer = {
        "neurons": 11520,
        "live": 11000,
        "bits_per_class": 0.5551,
        "over_neurons": [0.55, 0.56],
        "over_examples": [0.54, 0.57],
        "z2": 1.25,
    }
    record = {
        "command": "python -m analysis.experiments.entropy_lenet5_mnist",
        "seed": 1,
        "epochs": 10,
        "wall_s": 120.0,
        "test_error": 0.0101,
        "layers": {"Conv_0/relu_0": layer},
    }
    runs.write_json(tmp_path / "entropy_lenet5_mnist.json", record)
    text = "\n".join(entropy_lenet5_mnist.sections())
    row = "| Conv_0/relu_0 | 11,520 | 11,000 | 0.555 | 0.550 to 0.560 |"
    assert row in text and "Test error 1.01 %" in text
