"""A TensorFlow Datasets builder over the same tables; TensorFlow itself is not needed.

``prepare(name, manual_dir, data_dir)`` writes one source's radiographs, squared to one
size, as array_record files for ``tfds.data_source``. The parts train, validation and
test are by patient. An example read back is a dict: ``image`` (S, S, 1) uint8;
``lungs`` (S, S, 1) uint8, 255 inside, all 0 where there is no mask; ``covid``,
``pneumonia`` and ``no_finding``, int8: 1, 0, or -1 for unknown; ``patient``,
``source``, ``view``, ``sex``, ``id`` and ``flags``, text, of flags with commas between
them; ``age``, float32, NaN for unknown. A
study takes the prepared folder as a set: ``{"path": ".../nih_64/1.1.0", "source":
"tfds"}``.
"""

from __future__ import annotations

import functools
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from covid_cxr import sources
from covid_cxr.images.resizing import square, square_mask
from covid_cxr.index import Index
from covid_cxr.sources.registry import UNCERTAIN
from covid_cxr.splits import assign

_LABELS = ("covid", "pneumonia", "no_finding")
_EXTRA = "the TFDS builder needs: pip install 'synaptax[cxr]'"
_DESCRIPTION = "Chest X-rays of one source, squared, split by patient."
_INSTRUCTIONS = """Get the set from its owners, under their terms, and put its folder,
unpacked and unchanged, at <manual_dir>/<source>, such as <manual_dir>/nih."""


@functools.cache
def builder_class() -> Any:
    """Return the builder class, made on first use so that TFDS is imported lazily.

    It has a config a source and size, ``nih_64`` for example, and reads
    ``<manual_dir>/<source>``. What an example holds, this module's text says.

    Returns:
        A subclass of ``tfds.core.GeneratorBasedBuilder``.

    Raises:
        ImportError: naming the extra.
    """
    try:
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core.dataset_metadata import DatasetMetadata
    except ImportError as error:
        raise ImportError(_EXTRA) from error

    class ChestXray(tfds.core.GeneratorBasedBuilder):
        """Chest X-rays of one source, squared, split by patient."""

        VERSION = tfds.core.Version("1.1.0")
        RELEASE_NOTES = {"1.1.0": "Flags."}  # noqa: RUF012
        MANUAL_DOWNLOAD_INSTRUCTIONS = _INSTRUCTIONS
        BUILDER_CONFIGS = [  # noqa: RUF012
            tfds.core.BuilderConfig(
                name=f"{name}_{side}", description=f"{name}, {side} px"
            )
            for name in sources.SOURCES
            for side in (64, 224)
        ]

        @classmethod
        def get_metadata(cls) -> Any:
            """Say nothing beyond :meth:`_info`: the package holds no metadata files."""
            return DatasetMetadata(description=_DESCRIPTION, citation="", tags=[])

        def _info(self) -> Any:
            side = self._source_and_side()[1]
            return tfds.core.DatasetInfo(
                builder=self,
                description=_DESCRIPTION,
                features=_features(tfds, side),
            )

        def _split_generators(self, dl_manager: Any) -> dict[str, Any]:
            name, side = self._source_and_side()
            index = _table(Path(dl_manager.manual_dir) / name, name)
            parts = assign(index)
            return {
                part: self._generate_examples(index.select(parts == part), side)
                for part in ("train", "validation", "test")
            }

        def _generate_examples(
            self, index: Index, side: int
        ) -> Iterator[tuple[str, dict[str, Any]]]:
            yield from examples(index, side)

        def _source_and_side(self) -> tuple[str, int]:
            assert self.builder_config is not None
            name, _, side = self.builder_config.name.rpartition("_")
            return name, int(side)

    return ChestXray


def _features(tfds: Any, side: int) -> Any:
    """Return what an example holds."""
    image = tfds.features.Image(shape=(side, side, 1))
    features = {"image": image, "lungs": image, "age": np.float32}
    features |= dict.fromkeys(_LABELS, np.int8)
    for name in ("id", "patient", "source", "view", "sex", "flags"):
        features[name] = tfds.features.Text()
    return tfds.features.FeaturesDict(features)


def examples(index: Index, side: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield a key and an example for each image of a table.

    Args:
        index: the table.
        side: pixels a side.

    Yields:
        (source/path, example); see this module's text.

    Raises:
        ImageError: naming the first radiograph that cannot be read: a prepared set with
            silent holes would be another set. ``verify`` lists them all.
    """
    for row in range(len(index)):
        lungs = np.zeros((side, side), bool)
        if sources.has_mask(index, row):
            lungs = square_mask(sources.read_mask(index, row), side)
        pixels = square(sources.read(index, row).pixels, side)
        uid = str(index.uid[row])
        yield (
            uid,
            {
                "image": _png(pixels),
                "lungs": _png(lungs),
                "age": np.float32(index.age[row]),
                "id": uid,
                "flags": ",".join(
                    name for name in sorted(index.flags) if index.flags[name][row]
                ),
                **{name: np.int8(index.label(name)[row]) for name in _LABELS},
                **{
                    name: str(getattr(index, name)[row])
                    for name in ("patient", "source", "view", "sex")
                },
            },
        )


def prepare(
    config: str,
    manual_dir: str | os.PathLike[str],
    data_dir: str | os.PathLike[str],
) -> Any:
    """Write a set as array_record files, and return its builder.

    Args:
        config: source and size, such as "nih_64".
        manual_dir: the folder that has the source's folder, named by the source.
        data_dir: where to write.

    Returns:
        The builder: ``builder.as_data_source("train")`` reads without TensorFlow.

    Raises:
        ImportError: naming the extra.
        OSError: naming a folder, table or radiograph that is absent or broken.
        ValueError: for an unknown config, or a table that cannot be read.
    """
    builder_type = builder_class()
    names = [one.name for one in builder_type.BUILDER_CONFIGS]
    if config not in names:
        raise ValueError(f"config: expected one of {', '.join(names)}, got {config!r}")
    import tensorflow_datasets as tfds

    builder = builder_type(config=config, data_dir=data_dir, file_format="array_record")
    options = tfds.download.DownloadConfig(manual_dir=manual_dir)
    builder.download_and_prepare(download_config=options)
    return builder


def _table(root: Path, name: str) -> Index:
    """Return a source's table; uncertain labels stay unknown."""
    options = {"uncertain": "ignore"} if name in UNCERTAIN else {}
    return sources.build(root, name, **options).index


def _png(pixels: np.ndarray) -> io.BytesIO:
    """Return values in [0, 1] as 8-bit PNG; TFDS's own encoder needs TensorFlow."""
    from PIL import Image

    # Rounded, not cut off: 8 bits are within half a level.
    values = np.rint(np.clip(pixels.astype(np.float32), 0, 1) * 255)
    file = io.BytesIO()
    Image.fromarray(values.astype(np.uint8)).save(file, "PNG")
    file.seek(0)
    return file
