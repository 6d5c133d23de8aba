"""What every phase of a study works with."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from study.config.secrets import mask_password, resolve_storage
from study.design.arms import list_arms, pretrained_encoders

if TYPE_CHECKING:
    from study.config.study import StudyConfig
    from study.design.arms import Arm
    from study.storage.run_directory import RunDirectory
    from study.terminal.progress import Progress


@dataclass(frozen=True)
class StudyContext:
    """One study as its phases see it. Nothing in it changes while the study runs."""

    config: StudyConfig
    """Configuration with absolute paths and a masked password."""
    directory: RunDirectory
    """Run directory of the study, held by this process."""
    progress: Progress
    """Where the phases are shown."""
    address: str | None
    """Address of a Ray cluster; None starts Ray on this machine."""
    storage: str = field(repr=False)
    """Storage of the Optuna mirror with its password: ``memory``, ``journal`` or a URL."""
    arms: tuple[Arm, ...]
    """All arms, controls included."""
    encoders: tuple[str, ...]
    """Names of the encoders whose pretrained weights the arms need."""

    @classmethod
    def of(
        cls, config: StudyConfig, directory: RunDirectory, progress: Progress, address: str | None = None
    ) -> StudyContext:
        """The context of a study.

        Args:
            config: Configuration with absolute paths.
            directory: Run directory of the study, held by this process.
            progress: Where the phases are shown.
            address: Address of a Ray cluster; None takes the configured one.
        """
        storage = resolve_storage(config.search.storage)
        # From here on only the Optuna mirror sees the password.
        masked = config.search.model_copy(update={"storage": mask_password(storage)})
        config = config.model_copy(update={"search": masked})
        arms = list_arms(config)
        return cls(
            config=config,
            directory=directory,
            progress=progress,
            address=address or config.resources.address,
            storage=storage,
            arms=arms,
            encoders=pretrained_encoders(arms),
        )

    @property
    def trackers(self) -> list[str]:
        """Names of the experiment trackers that the finished study is exported to."""
        return [name for name, wanted in self.config.tracking.model_dump().items() if wanted]
