"""What is sent to a cluster with a job, and what must not be sent."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.records.errors import StudyError
from analysis.records.object_store import ObjectStore, is_remote
from study.config.changes import flatten
from study.config.files import dump_config
from study.config.secrets import STORAGE_VARIABLE, mask_password
from study.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from study.config.study import StudyConfig

CONFIG_FILE = "study.yaml"
"""Name of the packed configuration."""

_PACKAGES = ("analysis", "data_utils", "models", "study")
_SECRET = re.compile(r"SECRET|TOKEN|PASSW|PASSPHRASE|PWD$|CREDENTIALS?$|KEY", re.IGNORECASE)
"""Names of variables that hold secrets."""


def pack(config: StudyConfig, folder: Path) -> None:
    """Write what a job needs: the four packages and the configuration. Nothing else leaves this machine.

    Args:
        config: The study's configuration.
        folder: An empty folder, which a job then has as its working directory.
    """
    project = Path(__file__).parents[2]
    for package in _PACKAGES:
        shutil.copytree(project / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / CONFIG_FILE).write_text(dump_config(config), encoding="utf-8")


def chosen_variables(names: Sequence[str], environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables of this environment that a job gets.

    Args:
        names: Names of variables, as the user gave them.
        environment: Name of each variable that is set here -> value.

    Raises:
        UsageError: one is not set, or is a secret: Ray keeps a job's variables readable and shows them in process titles.
    """
    for name in names:
        if name == STORAGE_VARIABLE or _SECRET.search(name):
            raise UsageError(
                f"--env {name}: this looks like a secret, and Ray would show its value to everybody on the cluster (details of"
                " the job, process titles, logs). Set it where the nodes are started, before `ray start`"
            )
        if name not in environment:
            raise UsageError(f"--env {name}: not set in this environment")
        if mask_password(environment[name]) != environment[name]:
            raise UsageError(
                f"--env {name}: its value is an address with a password, and Ray would show it to everybody on the cluster. Set"
                " it where the nodes are started, before `ray start`"
            )
    return {name: environment[name] for name in names}


def check_travels(config: StudyConfig, root: str) -> None:
    """Refuse what would mean something else on another machine, or must not lie in its files.

    Raises:
        UsageError: a path is relative, or the configuration holds a password.
    """
    if not is_remote(root) and not Path(root).is_absolute():
        raise UsageError(
            f"--root {root}: expected s3://bucket/prefix, or the absolute path of a folder that all nodes of the cluster share"
        )
    for address in (root, config.data.root):
        if address is not None and is_remote(address):
            try:
                ObjectStore(str(address))  # which connects only when it is used
            except StudyError as error:
                raise UsageError(str(error)) from error
    if mask_password(config.search.storage) != config.search.storage:
        raise UsageError(
            "search.storage: found a password in it, which files on the cluster would hold. Leave it out there, and set"
            f" {STORAGE_VARIABLE} (the whole URL) or PGPASSFILE where the head is started"
        )
    given, absolute = (flatten(each.model_dump(mode="json")) for each in (config, config.with_absolute_paths()))
    relative = [f"{key}: {value}" for key, value in given.items() if value != absolute[key]]
    if relative:
        raise UsageError(
            f"{'; '.join(relative)}: expected absolute paths, which every node of the cluster has, or s3:// where data.root"
            " allows it"
        )
