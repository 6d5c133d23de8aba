"""Commands for clusters: ``submit`` and ``job`` run a study as a job, ``recipe`` fills in a cluster's recipe."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from study.commands.options import FAILED, USAGE, NameOption, SetOption
from study.execution.supervisor import INTERRUPTED

if TYPE_CHECKING:
    from study.cluster.jobs import Job

job_app = typer.Typer(help="Look at a submitted study, or stop it.", no_args_is_help=True)

AddressOption = Annotated[
    str,
    typer.Option(
        "--address",
        envvar="WBC_STUDY_ADDRESS",
        metavar="http://HEAD:8265",
        help="Of the Ray cluster's dashboard. A cluster with a token wants RAY_AUTH_MODE=token and RAY_AUTH_TOKEN_PATH here too.",
    ),
]
JobArgument = Annotated[str, typer.Argument(metavar="JOB", help="Id that `submit` printed.")]

NodesConfigArgument = Annotated[
    str,
    typer.Argument(
        metavar="PRESET_OR_YAML", help="A preset or a YAML file; its paths are those of the cluster's nodes."
    ),
]
SharedRootOption = Annotated[
    str,
    typer.Option(
        "--root",
        envvar="WBC_STUDY_ROOT",
        help="s3://bucket/prefix, or the absolute path of a folder that all nodes share.",
    ),
]


def submit(
    config: NodesConfigArgument,
    address: AddressOption,
    root: SharedRootOption,
    name: NameOption = None,
    overrides: SetOption = None,
    variables: Annotated[
        list[str] | None,
        typer.Option(
            "--env", metavar="NAME", help="Pass on a variable of this environment; secrets are refused. Repeatable."
        ),
    ] = None,
    detach: Annotated[bool, typer.Option("--detach", help="Do not wait for its end.")] = False,
) -> None:
    """Run a study as a job of a Ray cluster, or continue it, and show what it prints. It goes on when this command ends."""
    from study.cluster.jobs import JobClient
    from study.cluster.packing import chosen_variables
    from study.config.files import load_config

    settings = load_config(config, overrides or (), name)
    client = JobClient(address)
    job_id = client.submit(settings, root, chosen_variables(variables or ()))
    typer.echo(f"Job {job_id}\n{_how_to(job_id, address)}")
    if not detach:
        _follow(job_id, address)


def recipe(
    kind: Annotated[str, typer.Argument(metavar="RECIPE", help="kuberay or launcher-aws.")],
    config: NodesConfigArgument,
    root: SharedRootOption,
    image: Annotated[str, typer.Option("--image", help="Container image of the nodes, made with the Containerfile.")],
    name: NameOption = None,
    overrides: SetOption = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1, help="Nodes beside the head.")] = None,
    cpus: Annotated[int | None, typer.Option("--cpus", min=1, help="Of each worker (kuberay).")] = None,
    gpus: Annotated[int | None, typer.Option("--gpus", min=0, help="Of each worker (kuberay).")] = None,
    memory: Annotated[str | None, typer.Option("--memory", metavar="32Gi", help="Of each worker (kuberay).")] = None,
) -> None:
    """Print a cluster's recipe filled in for a study, with how to use it: a RayJob for Kubernetes, or a launcher's file."""
    from study.cluster.recipes import WorkerNodes, fill_recipe

    wanted = WorkerNodes(workers, cpus, gpus, memory)
    filled = fill_recipe(kind, config, overrides or (), root=root, image=image, name=name, workers=wanted)
    typer.echo(filled, nl=False)


@job_app.command("status")
def job_status(job_id: JobArgument, address: AddressOption) -> None:
    """State of a job, and where its study can be seen."""
    from study.cluster.jobs import JobClient

    job = JobClient(address).find(job_id)
    typer.echo(_describe(job))
    typer.echo(_where(job))
    if job.state == "FAILED":
        raise typer.Exit(FAILED)


@job_app.command("logs")
def job_logs(
    job_id: JobArgument,
    address: AddressOption,
    follow: Annotated[bool, typer.Option("--follow", help="Until the job ends.")] = False,
) -> None:
    """What a job has printed."""
    from study.cluster.jobs import JobClient

    if follow:
        _follow(job_id, address)
    else:
        typer.echo(JobClient(address).logs(job_id), nl=False)


@job_app.command("stop")
def job_stop(job_id: JobArgument, address: AddressOption) -> None:
    """End a job as Ctrl-C would. The same `submit` continues its study."""
    from study.cluster.jobs import JobClient

    client = JobClient(address)
    if client.stop(job_id):
        typer.echo(f"Job {job_id} is asked to stop. The same `wbc-study submit` continues where it stops.")
    else:
        typer.echo(_describe(client.find(job_id)))


def _follow(job_id: str, address: str) -> None:
    from study.cluster.jobs import JobClient

    try:
        job = JobClient(address).follow(job_id, lambda text: typer.echo(text, nl=False))
    except KeyboardInterrupt:
        typer.echo(f"\nNo longer watching; the job goes on.\n{_how_to(job_id, address)}", err=True)
        raise typer.Exit(INTERRUPTED) from None
    typer.echo(f"{_describe(job)}\n{_where(job)}")
    if job.state != "SUCCEEDED":
        raise typer.Exit(USAGE if job.exit_code == USAGE else FAILED)


def _how_to(job_id: str, address: str) -> str:
    return "\n".join(
        f"  wbc-study job {what} {job_id} --address {address}" for what in ("status", "logs --follow", "stop")
    )


def _describe(job: Job) -> str:
    moment = job.ended or job.began
    since = time.strftime(" since %Y-%m-%d %H:%M:%S", time.localtime(moment)) if moment else ""
    code = f" with exit code {job.exit_code}" if job.state == "FAILED" and job.exit_code is not None else ""
    # Ray repeats the end of the log in the message of a failed job.
    why = (
        f": {job.message.strip().splitlines()[0]}" if job.state in ("PENDING", "FAILED") and job.message.strip() else ""
    )
    return f"Job {job.job_id} {job.state.lower()}{code}{since}{why}"


def _where(job: Job) -> str:
    from analysis.records.object_store import is_remote

    if not job.root:
        return "It is no study's: another program submitted it."
    if is_remote(job.root):
        return (
            f"Study {job.study} in {job.root}\n"
            f"  wbc-study status {job.study} --root {job.root}\n"
            f"  wbc-study fetch {job.study} --root {job.root}"
        )
    return (
        f"Study {job.study} below {job.root} on the cluster's nodes: look there with `wbc-study status {job.study} --root"
        f" {job.root}`, or copy it with `rsync -a HEAD:{job.root}/{job.study} .`"
    )
