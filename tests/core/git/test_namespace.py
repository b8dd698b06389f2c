"""Names of runs and refs."""

from __future__ import annotations

from pathlib import Path

import pytest

from core.git.errors import RepositoryError
from core.git.namespace import run_ref
from tests.core.git.checkouts import opened


@pytest.mark.parametrize("name", ["", "A", "../x", "a b", "a/b", "_before", "x.lock"])
def test_impossible_names_and_refs_of_others_are_refused(checkout: Path, name: str) -> None:
    repo = opened(checkout)
    with pytest.raises(RepositoryError, match="not a name for a run"):
        run_ref(name, "00001")
    with pytest.raises(RepositoryError, match="not a name for a run"):
        repo.refs.branch(name)
    with pytest.raises(RepositoryError, match="left alone"):
        repo.refs.point("refs/heads/main", repo.base())
