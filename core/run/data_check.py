"""Checks the prepared data of a run."""

from __future__ import annotations

from pathlib import Path

from core.machine.project import UsageError
from core.model import RunConfig
from nanochat.contract import dataset as contract
from nanochat.contract.layout import DATA


def check_data(config: RunConfig, new: bool, folder: Path) -> None:
    """Check that the data of a run is unchanged and large enough. All of it is read, at about 1 GB a second.

    A run that is continued has a copy of its data in its own folder.

    Args:
        config: The header of the run.
        new: Whether the run is new.
        folder: The folder of the run.

    Raises:
        UsageError: The data cannot be used.
    """
    own = folder / DATA
    data = own if own.is_dir() and not new else Path(config.data)
    try:
        manifest = contract.read(data)
        if manifest.fingerprint != config.fingerprint:
            raise contract.Damaged(data, "it is not what the run is scored on (its fingerprint differs)")
        contract.check_size(
            config.dataset, manifest.splits, config.seq_len, contract.least_windows(config.device) if new else 1
        )
        contract.verify(data, manifest)
    except contract.Damaged as error:
        again = error.manifest.options if error.manifest else contract.Options()
        todo = f"{contract.preparing(config.dataset, config.vocab_size, again)} prepares it again."
        if not new:
            todo = f"Start another run with --name NEW --from {folder.name}."
        raise UsageError(
            f"The data of run {folder.name} in {data} cannot be used: {error.what}. Nothing was changed. {todo}"
        ) from None
    except contract.DataError as error:
        raise UsageError(f"{error} Nothing was started.") from None
