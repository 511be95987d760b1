"""Every public name has an example, and the examples give what they say."""

import doctest
import importlib
import inspect
import pkgutil
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

PACKAGES = ("synaptax", "pruning", "analysis", "binary", "covid_cxr")
# What an example may use without an import, beside the packages.
IMPORTED = {"jax": jax, "jnp": jnp, "np": np, "optax": optax}


def public_packages():
    """Yield the packages and subpackages that say what is public."""
    for name in PACKAGES:
        package = importlib.import_module(name)
        yield package
        for info in pkgutil.iter_modules(package.__path__, f"{name}."):
            if info.ispkg and hasattr(
                module := importlib.import_module(info.name), "__all__"
            ):
                yield module


PUBLIC = {p.__name__: p for p in public_packages()}


# What only a whole network, a cohort or a training can show: minutes, so .ci/full.
SLOW = {
    "covid_cxr.bias.grad_cam",
    "covid_cxr.bias.integrated_gradients",
    "covid_cxr.bias.of_data",
    "covid_cxr.bias.of_network",
    "covid_cxr.bias.sweep",
    "covid_cxr.models.Network",
    "covid_cxr.models.network",
    "covid_cxr.phantom.Phantom",
    "covid_cxr.phantom.PhantomRadiograph",
    "covid_cxr.phantom.generate",
    "covid_cxr.phantom.radiograph",
    "covid_cxr.phantom.radiographs",
    "covid_cxr.phantom.stacks",
}


def texts(name, value):
    """Yield (name, docstring) of a public thing and, of a module, of what it defines.

    A plain constant, which has no docstring of its own, yields nothing.
    """
    if isinstance(value, types.ModuleType):
        yield name, value.__doc__ or ""
        for inner, member in vars(value).items():
            own = getattr(member, "__module__", "") == value.__name__
            if own and not inner.startswith("_") and callable(member):
                yield f"{name}.{inner}", member.__doc__ or ""
    elif inspect.isfunction(inspect.unwrap(value)) or inspect.isclass(value):
        yield name, value.__doc__ or ""


def named(package):
    """Yield (full name, value) of what a package says is public."""
    for name in getattr(package, "__all__", ()):
        yield f"{package.__name__}.{name}", getattr(package, name)


def without_example(package):
    """Yield the public names of a package that no example shows.

    What has no docstring of its own is shown by the docstring of its package.
    """
    parser = doctest.DocTestParser()
    shown = "".join(x.source for x in parser.get_examples(package.__doc__ or ""))
    for name, value in named(package):
        own = [text for _, text in texts(name, value)]
        if own:
            there = any(">>>" in text for text in own)
        else:
            there = name.rpartition(".")[2] in shown
        if not there:
            yield name


def examples(package, slow):
    """Return {docstring with examples: name}, of a package; each docstring once."""
    found = {package.__doc__ or "": package.__name__}
    for name, value in named(package):
        for inner, text in texts(name, value):
            found.setdefault(text, inner)
    return {t: n for t, n in found.items() if ">>>" in t and (n in SLOW) == slow}


def run(package, slow):
    """Run the examples of a package; return what went wrong."""
    known = {**IMPORTED, **{name: importlib.import_module(name) for name in PACKAGES}}
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    # Without verbose it looks for -v in sys.argv, which is pytest's here.
    runner, wrong = doctest.DocTestRunner(optionflags=flags, verbose=False), []
    for text, name in examples(package, slow).items():
        test = doctest.DocTestParser().get_doctest(text, dict(known), name, name, 0)
        runner.run(test, out=wrong.append)
    return "\n".join(wrong)


@pytest.mark.parametrize("package", PUBLIC)
def test_every_public_name_has_an_example(package):
    assert not list(without_example(PUBLIC[package]))


@pytest.mark.parametrize("package", PUBLIC)
def test_examples_give_what_they_say(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(PUBLIC[package], slow=False) == ""


@pytest.mark.slow
@pytest.mark.parametrize("package", sorted({n.rpartition(".")[0] for n in SLOW}))
def test_long_examples_give_what_they_say(package, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run(PUBLIC[package], slow=True) == ""
