"""Commands that show what can be configured."""

from __future__ import annotations

import typer

from study.commands.options import ConfigArgument, SetOption

config_app = typer.Typer(help="Show what can be configured.", no_args_is_help=True)


@config_app.command("show")
def config_show(config: ConfigArgument, overrides: SetOption = None) -> None:
    """A configuration, complete, as YAML."""
    from study.config.files import dump_config, load_config

    typer.echo(dump_config(load_config(config, overrides or ())), nl=False)


@config_app.command("schema")
def config_schema() -> None:
    """Every setting with its meaning, as JSON schema."""
    import json

    from study.config.study import StudyConfig

    typer.echo(json.dumps(StudyConfig.model_json_schema(), indent=2))
