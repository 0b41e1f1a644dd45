"""The platforms of machines."""

from __future__ import annotations

import pytest

from nixdock.oci.platforms import machine_platform, platform_text


@pytest.mark.parametrize(
    ("os", "machine", "text"),
    [
        ("linux", "x86_64", "linux/amd64"),
        ("windows", "x86_64", "windows/amd64"),
        ("linux", "aarch64", "linux/arm64"),
        ("linux", "armv6l", "linux/arm/v6"),
        ("linux", "arm64", "linux/arm64"),
        ("linux", "riscv64", "linux/riscv64"),
    ],
)
def test_machines_have_names_of_the_kernel_and_of_go(os: str, machine: str, text: str) -> None:
    assert platform_text(machine_platform(os, machine)) == text
