"""Download and read datasets of parquet shards on the Hugging Face hub."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from nanochat.contract.dataset import SCORED_SHARE, DataError
from nanochat.contract.sources import Shards
from nanochat.contract.text import printable
from nanochat.data.download import fetch, hub
from nanochat.data.splits import split_of

if TYPE_CHECKING:
    import pyarrow


def documents(shards: Shards, count: int, cache: Path, say: Callable[[str], None]) -> Iterator[tuple[str, str]]:
    """Yield (split, text) of every document of the first `count` training shards and of the validation shard.

    Args:
        shards: The dataset.
        count: Number of training shards.
        cache: Folder for downloads.
        say: Called with lines for the user.

    Raises:
        DataError: A shard cannot be downloaded or read.
    """
    import pyarrow
    import pyarrow.parquet as parquet

    base = f"{hub()}/datasets/{shards.repository}/resolve/main/"
    names = [shards.names(index) for index in range(count)] + ([shards.val] if shards.val else [])
    for name in names:
        path = fetch(base + name, cache / Path(name).name, check=_is_parquet, say=say)
        try:
            file = parquet.ParquetFile(path)
            _check_column(file.schema_arrow, path)
            for batch in file.iter_batches(columns=["text"]):
                for text in batch.column(0).to_pylist():
                    if not text:
                        continue
                    yield _split_in_shard(text, name, shards), text
        except (pyarrow.ArrowException, UnicodeError, OSError) as error:
            raise DataError(
                f"The download {printable(str(path))} is damaged ({error}). Delete it and prepare again."
            ) from None


def _split_in_shard(text: str, name: str, shards: Shards) -> str:
    """Return the split of a document by its shard. The validation shard is divided equally into val and test.

    Without a validation shard the split depends on a hash of the text.
    """
    if shards.val is None:
        return split_of(text.encode(), SCORED_SHARE, SCORED_SHARE)
    return "train" if name != shards.val else split_of(text.encode(), 0.5, 0.5)


def _check_column(schema: pyarrow.Schema, path: Path) -> None:
    """Check that a file has a string column `text`. Raises DataError."""
    import pyarrow

    place = schema.get_field_index("text")  # -1 if there are none or several
    kind = schema.field(place).type if place >= 0 else None
    kind = kind.value_type if isinstance(kind, pyarrow.DictionaryType) else kind
    if kind is None or not any(is_text(kind) for is_text in (pyarrow.types.is_string, pyarrow.types.is_large_string)):
        raise DataError(
            f"The download {printable(str(path))} has no column `text` of strings, so it is not the dataset that it should be. "
            f"Check HF_ENDPOINT, delete the file and prepare again."
        )


def _is_parquet(path: Path) -> None:
    """Check that a file is a complete parquet file. Raises ValueError."""
    import pyarrow
    import pyarrow.parquet as parquet

    try:
        parquet.ParquetFile(path).metadata  # noqa: B018  reading the footer is the check
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(f"it is not a complete parquet file ({error})") from error
