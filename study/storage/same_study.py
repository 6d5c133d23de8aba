"""Whether a run directory holds the study that a configuration describes, or one that it extends."""

from __future__ import annotations

from study.config.changes import compare_configs, grown_settings
from study.config.files import check_config, read_yaml
from study.config.study import StudyConfig
from study.errors import UsageError
from study.storage.run_directory import RunDirectory


def check_same_study(directory: RunDirectory, config: StudyConfig) -> list[str]:
    """Refuse to mix two studies in one run directory.

    Returns:
        What the configuration adds to the study that is there, one line each.

    Raises:
        UsageError: the directory holds a study with another configuration; the message lists the differences.
    """
    if not directory.exists:
        # Empty folders are nothing: one may be a disk of its own, mounted beforehand.
        if any(path.is_file() and path.name != ".lock" for path in directory.folder.rglob("*")):
            raise UsageError(
                f"{directory.folder}: found files but no study.yaml, expected a study or nothing. Choose another --name"
            )
        return []
    existing = check_config(read_yaml(directory.config_file), str(directory.config_file))
    differences = compare_configs(existing, config)
    if differences:
        raise UsageError(
            f"{directory.folder} holds a study with another configuration:\n  "
            + "\n  ".join(differences)
            + "\nGive this one another --name, or set the old one aside with --restart"
        )
    return list(grown_settings(existing, config).values())
