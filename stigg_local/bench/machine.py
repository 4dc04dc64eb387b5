"""The machine and the versions that figures depend on beside the code."""

import os
import platform
from typing import Any

import stigg_local
from stigg_local.store.connection import file_system_type


def environment(directory: str) -> dict[str, Any]:
    """What the figures depend on beside the code; SQLite's version is known when a file is open.

    Args:
        directory: Where what is measured lies.
    """
    return {
        "stiggLocal": stigg_local.__version__,
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "sqlite": None,
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
        "processor": _processor(),
        "processors": os.cpu_count(),
        "fileSystem": file_system_type(directory),
        "load": round(os.getloadavg()[0], 2),
    }


def _processor() -> str | None:
    """The processor's name as the kernel tells it; None where it does not."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    return value.strip()
    except OSError:
        pass
    return platform.processor() or None
