"""CUDA inside the sandbox: part by part, the driver's first start, memory behind NVML, memory lent by descriptor."""

from __future__ import annotations

import platform
from typing import Any

import pytest

from tests.gpu.support import in_child

PARTS = ("none", "namespaces", "rights", "namespaces rights")


@pytest.fixture(scope="module")
def by_part(real_device: str) -> dict[str, Any]:
    return in_child("parts", device=real_device)


@pytest.mark.parametrize("part", PARTS)
def test_matrices_are_multiplied_in_each_sandbox_part(by_part: dict[str, Any], part: str) -> None:
    report = by_part[part]
    assert report.get("sum") == 512**3 and report.get("low") == 64**3, report


def test_the_fork_server_starts_the_driver_and_stays_free_to_fork(card: str) -> None:
    report = in_child("start-driver", device=card)
    assert report["error"] is None and not report["initialised_here"] and report["threads"] == 1, report
    if "microsoft" not in platform.release().lower():  # WSL2 reaches the card by /dev/dxg
        assert "nvidia-uvm" in report["nodes"], report
    assert report["afterwards"].get("sum") == 512**3, report


def test_out_of_memory_is_known_in_a_fork_of_a_process_that_read_the_card(real_device: str) -> None:
    report = in_child("memory", device=real_device)
    assert real_device == "cpu" or report["used"] > 0, "the driver's library tells the memory in use"
    assert report["fork"].get("known") is True, report
    assert report["fork"]["seconds"] < 10


def test_memory_lent_by_descriptor_crosses_the_sandbox_and_the_copy_is_private(card: str) -> None:
    report = in_child("lend", device=card)
    if "NotLent" in str(report.get("error")):
        pytest.skip(
            f"this driver does not lend memory by descriptor ({report['error']}); answers go through the host then"
        )
    assert "error" not in report and "error" not in report["borrower"], report
    assert report["borrower"]["before"] == 0.0, "the borrower sees what the lender wrote"
    assert report["written"] == "written" and report["private"] == [7.0, 7.0, 7.0]
    assert report["again"] == "again" and report["lent_later"] == 9.0, "both see the same memory"
    assert report["borrower_gone"] and report["readable_afterwards"] == 9.0, "it outlives the borrower"
