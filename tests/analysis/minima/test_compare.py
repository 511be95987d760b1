"""A tiny comparison on digits, from training to report, resumed and refused."""

import json
from dataclasses import replace

import jax
import numpy as np
import pytest

from analysis import __main__ as program
from analysis.experiments import _minima, _results_minima
from analysis.minima import command, compare, measures, report, twins
from analysis.minima import solutions as pairs
from analysis.minima.config import defaults
from synaptax.training import evaluation
from synaptax.trees import named_leaves

pytestmark = pytest.mark.runs

TINY = replace(
    defaults("digits"),
    seeds=(3, 5),
    levels=(1.5,),
    rewind=False,
    layerwise=False,
    ticket=False,
    equal_epochs=4,
    equal_levels=2,
    transfer="none",
    patience=1,
    tolerance=3.0,
    accept=1.0,
    dense_epochs=3,
    prune_epochs=6,
    tune_epochs=2,
    limit=600,
    curvature_examples=120,
    lanczos_steps=3,
    probes=2,
    entropy_examples=150,
    plane_points=3,
    plane_examples=120,
    eigenvalue_points=0,
)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("minima") / "run"
    return compare.compare(TINY, folder, quiet=True)


@pytest.fixture(scope="module")
def shared():
    return pairs.setting(TINY, quiet=True)


@pytest.fixture(scope="module")
def solutions(done, shared):
    """Every network of the comparison by name, read from its folder."""
    place = compare.runs.RunFolder(done.folder)
    clock = compare._Clock(place)
    found = compare._solutions(shared, place, None, None, clock, True)
    return {one.name: one for one in found}


@pytest.fixture(scope="module")
def short(done, shared):
    """The dense networks that all begin from, by seed."""
    run = done.folder / "gradual"
    return {s.seed: s for s in pairs.read_run(run, "dense", shared.like, dense=True)}


def test_the_pair_is_equally_sparse_and_begins_alike(done, solutions, short):
    for seed in TINY.seeds:
        g, s = (solutions[f"{arm}-seed{seed}"] for arm in ("gradual", "one-shot"))
        assert g.kept == s.kept < g.total == s.total
        assert done.measures[s.name]["kept"] == g.kept
        for tree, mask in ((g.params, g.masks), (s.params, s.masks)):
            for leaf, kept in zip(*map(jax.tree.leaves, (tree, mask)), strict=True):
                assert not np.any(np.asarray(leaf)[~np.asarray(kept)])
        # S keeps the largest weights of the dense network, none that is smaller. (Of
        # the biases one is kept in any case.)
        trees = short[seed].params, s.masks
        weights, kept = (
            np.concatenate([np.ravel(a) for a in jax.tree.leaves(tree) if a.ndim > 1])
            for tree in trees
        )
        assert np.abs(weights[kept]).min() >= np.abs(weights[~kept]).max()


def test_a_level_is_exactly_the_level(done, solutions):
    levels = [s for s in solutions.values() if s.level is not None]
    assert {(s.arm, s.seed) for s in levels} == {
        (arm, seed) for arm in ("gradual", "one-shot") for seed in TINY.seeds
    }
    for one in levels:
        assert one.kept == round(one.total / 1.5) == done.measures[one.name]["kept"]


@pytest.mark.parametrize("kept", [12345, 1543])  # of the last bias nothing is left
def test_a_cut_by_layer_keeps_as_many_at_one_density(short, kept):
    masks = pairs.cut_once(TINY, short[3], kept, by_layer=True)
    leaves = jax.tree.leaves(masks)
    assert sum(int(np.sum(leaf)) for leaf in leaves) == kept
    densities = [float(np.mean(leaf)) for leaf in leaves if leaf.ndim > 1]
    assert max(densities) - min(densities) < 1e-3


def test_a_level_that_was_not_reached_is_left_out(done, shared):
    config = replace(TINY, levels=(1e4,))
    assert not pairs.read_level(config, done.folder / "gradual", shared.like, 1e4)
    heading = report.level_heading(done.measures, config, 1e4)
    assert "Not reached by G of seeds [3, 5]" in heading[-1]


def test_measures_are_what_they_say(done, solutions, shared):
    name = "one-shot-seed3"
    found, solution = done.measures[name], solutions[name]
    apply_fn = evaluation.evaluating(shared.net, solution.stats)
    test = jax.device_put(shared.data.test)
    loss, error = evaluation.evaluate(apply_fn, solution.params, test)
    assert found["error"] == pytest.approx(float(error), abs=1e-6)
    assert found["test_loss"] == pytest.approx(float(loss), rel=1e-4)
    layers = found["layers"]
    assert found["neurons"] == 400 == sum(one["neurons"] for one in layers.values())
    weighted = sum(one["H1"] * one["neurons"] for one in layers.values()) / 400
    assert found["H1"] == pytest.approx(weighted)
    counted = sum(sum(map(int, h)) for h in found["histograms"].values())
    assert counted == found["live"] <= 400
    assert 0 < found["H1_live"] < 1 and "probe_error" not in found
    plane = done.maps["pair-one-shot-seed3"]["plane"]
    line = done.maps["pair-one-shot-seed3"]["line"]
    assert np.shape(plane["loss"]) == (3, 3)
    assert list(plane["a"]) == [-1, 0, 1] and plane["b"][1] == 0  # G and S are nodes
    for node, end in ((1, 0), (2, -1)):
        assert plane["loss"][1][node] == pytest.approx(line["loss"][end], rel=1e-4)


def test_the_twins_meet_at_equal_loss(done, solutions, shared):
    meters = measures.meter(shared, quiet=True)
    ways = [
        twins.Way(one, (0.5, 0.1), ((one.params, {}), (short_of(one), {})))
        for one in (solutions["gradual-seed3"], solutions["one-shot-seed3"])
    ]
    assert twins.common_losses(*ways, 2) == [0.5, 0.1]
    train = jax.device_put(shared.data.train)
    for way in ways:
        ends = [float(meters.train_loss(state, train)) for state in way.states]
        way = way._replace(losses=tuple(sorted(ends, reverse=True)))
        way = way._replace(states=way.states if ends[0] > ends[1] else way.states[::-1])
        loss = sum(ends) / 2
        met = twins.at_loss(meters, way, loss)
        again = float(meters.train_loss((met.params, {}), train))
        assert again == pytest.approx(loss, rel=1e-4)
        assert twins.at_loss(meters, way, way.losses[0]).params is way.states[0][0]
    for seed in TINY.seeds:  # and in the comparison, where a loss is common
        pair = done.equal[f"one-shot-seed{seed}"]
        for one in pair["levels"]:
            for side in ("first", "second"):
                assert one[side]["train_loss"] == pytest.approx(one["loss"], rel=1e-3)
    assert "one-shot, at equal loss" in done.views


def short_of(solution):
    """Return a solution's weights nearer to zero, under the same mask."""
    return jax.tree.map(lambda leaf: 0.5 * leaf, solution.params)


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ((1.0, 0.5, 0.1), (0.8, 0.2), [0.8, 0.4, 0.2]),
        ((0.1, 0.05), (0.8, 0.2), []),  # the second never comes down to the first
        ((0.2, 0.3), (0.2, 0.25), [0.2]),
        ((0.0, 0.0), (0.2, 0.0), []),
    ],
)
def test_common_losses(first, second, expected):
    ways = [twins.Way(None, losses, ()) for losses in (first, second)]
    assert twins.common_losses(*ways, 3) == pytest.approx(expected)


def test_neurons_without_weights_are_not_alive(solutions):
    solution = solutions["gradual-seed3"]
    kernel = np.array(solution.masks["Dense_0"]["kernel"])
    kernel[:, 7] = False
    layer = {**solution.masks["Dense_0"], "kernel": kernel}
    cut = solution._replace(masks={**solution.masks, "Dense_0": layer})
    found = measures.alive_neurons(cut, ["one", "two"])
    np.testing.assert_array_equal(found["one"], kernel.any(axis=0))
    assert not found["one"][7] and found["two"].shape == (100,)
    assert measures.alive_neurons(cut, ["one"]) == {}  # not a LeNet's layers


def test_a_finished_comparison_is_not_done_again(done):
    metrics = (done.folder / "metrics.jsonl").read_text()
    steps = [json.loads(line)["step"] for line in metrics.splitlines()]
    again = compare.compare(TINY, done.folder, resume=True, quiet=True)
    text = (done.folder / "metrics.jsonl").read_text()
    new = [json.loads(line)["step"] for line in text.splitlines()][len(steps) :]
    assert not [step for step in new if step.startswith(("measures", "maps"))]
    assert again.measures == done.measures
    assert [c.verdict for c in again.claims] == [c.verdict for c in done.claims]


def test_training_goes_on_where_it_stopped(solutions, short, shared, tmp_path):
    dense, g = short[3], solutions["gradual-seed3"]
    start = compare.start(shared, pairs.ONE_SHOT, dense, g)
    epochs = []

    def stop(record):
        epochs.append(record)
        if len(epochs) == TINY.prune_epochs + 1:  # in the second stage
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pairs.retrain(shared, start, tmp_path, report=stop)
    more = []
    found = pairs.retrain(shared, start, tmp_path, report=more.append)
    assert 0 < len(more) <= TINY.tune_epochs  # the first stage was not done again
    whole = solutions["one-shot-seed3"]
    for (name, a), (_, b) in zip(
        named_leaves(found.params), named_leaves(whole.params), strict=True
    ):
        np.testing.assert_array_equal(a, b, err_msg=name)


def test_the_report_states_every_claim(done):
    written = report.write(done)
    text = written[0].read_text()
    for number in range(1, 9):
        assert f"| **{number}** |" in text
    for claim in done.claims:
        assert claim.text in text and claim.verdict in text
    assert "95 % Student t" in text and "nan" not in text.lower()
    images = [path for path in written if path.suffix == ".png"]
    assert len(images) == 6 and all(p.stat().st_size < 300_000 for p in images)
    assert all(f"(figures/{path.name})" in text for path in images)


def test_the_record_is_enough_for_the_results(done):
    record = _minima.reduced(json.loads((done.folder / "summary.json").read_text()))
    record |= {"experiment": "tiny", "note": "Tiny.", "figures": ["a.png"]}
    assert "histograms" not in json.dumps(record)
    lines = "\n".join(_results_minima.comparison(record))
    assert "### lenet300 on digits, 2 seeds" in lines and "Tiny." in lines
    assert lines.count("**") >= 3 * 2 * 8
    for claim, other in zip(
        _results_minima.claims_of(record), done.claims, strict=True
    ):
        assert claim.verdict == other.verdict
        assert claim.parts[0].values == pytest.approx(
            other.parts[0].values, nan_ok=True
        )


def test_recorded_comparisons_make_sections():
    text = "\n".join(_results_minima.sections())
    assert text.startswith("## Two minima")


def test_the_command_takes_up_a_folder(done, capsys):
    code = program.main(["minima", "--resume", "--run-dir", str(done.folder)])
    said = capsys.readouterr()
    assert code == 0, said.err
    assert "Two minima: lenet300 on digits, 2 seeds" in said.out
    assert "report.md and 6 figures" in said.out


def test_the_help_names_the_commands(capsys):
    assert program.main([]) == 0
    assert "minima" in capsys.readouterr().out
    with pytest.raises(SystemExit) as stopped:
        program.main(["minima", "--help"])
    assert stopped.value.code == 0
    assert "--one-shot" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["maxima"], "unknown command 'maxima'"),
        (["minima", "--resume"], "resume: name the folder"),
        (["minima", "--seeds", "1"], "seeds: expected two or more"),
        (["minima", "--resume", "--run-dir", "nowhere"], "no comparison to go on with"),
        (["minima", "--gradual", "nowhere"], "gradual: nowhere holds no finished run"),
        (["minima", "--one-shot", "no"], "one_shot: no holds no finished run"),
    ],
)
def test_bad_commands(options, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert program.main(options) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("error: ") and message in said


def test_runs_that_cannot_be_read(done, shared, tmp_path):
    like = shared.like
    with pytest.raises(ValueError, match="expected a finished run"):
        pairs.read_run(tmp_path, "gradual", like)
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(ValueError, match=r"summary\.json: field command: missing"):
        pairs.read_run(tmp_path, "gradual", like)
    wider = jax.tree.map(
        lambda a: jax.ShapeDtypeStruct((*a.shape[:-1], 7), a.dtype), like
    )
    with pytest.raises(ValueError, match=r"of another network: params: leaf Dense_0"):
        pairs.read_run(done.folder / "gradual", "gradual", wider)
    other = replace(TINY, seeds=(3, 4))
    with pytest.raises(ValueError, match=r"does not hold the seeds \[3, 4\]"):
        compare.compare(
            other, tmp_path / "new", gradual=done.folder / "gradual", quiet=True
        )
    (tmp_path / "config.json").write_text('{"rate": 1}')
    with pytest.raises(ValueError, match=r"config\.json: not the config of a"):
        command.main(["--run-dir", str(tmp_path), "--resume"])
