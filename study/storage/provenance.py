"""What a result depends on beside the configuration: versions, revision, hardware."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from study.config.secrets import mask_password

REVISION_VARIABLE = "WBC_STUDY_REVISION"
"""Environment variable by which a submitted job knows the revision of the checkout that it was sent from."""

_PACKAGES = (
    "wbc-study",
    "torch",
    "torchvision",
    "ray",
    "optuna",
    "numpy",
    "scipy",
    "scikit-learn",
    "pandas",
    "pyarrow",
    "pillow",
    "plotly",
)


def describe_environment() -> dict[str, Any]:
    """Versions, git revision, hardware and command line, as the manifest stores them."""
    return {
        "versions": {"python": platform.python_version(), **{name: _version(name) for name in _PACKAGES}},
        "git_revision": git_revision(),
        "hardware": {
            "machine": platform.machine(),
            "processor": _processor(),
            "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        },
        "command": [Path(sys.argv[0]).name, *map(mask_password, sys.argv[1:])],
    }


def file_fingerprint(file: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor()
    )


def git_revision() -> str:
    """Git revision of this code, with a plus sign when files differ from it; outside a checkout what the sender of a job knew."""
    folder = Path(__file__).parent
    try:
        # Fails where this file is not part of the checkout around it: an environment inside somebody else's project.
        subprocess.run(
            ["git", "-C", str(folder), "ls-files", "--error-unmatch", __file__], capture_output=True, check=True
        )
        revision = subprocess.run(
            ["git", "-C", str(folder), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip()
        changed = subprocess.run(
            ["git", "-C", str(folder), "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return os.environ.get(REVISION_VARIABLE, "")
    return revision + ("+" if changed else "")
