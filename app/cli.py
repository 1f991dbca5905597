"""`inpaint`: the command line. A command's body is imported when it is called, so that `--help` is quick.

Options that are not given fall back to environment variables (HOST, PORT,
DATA_DIR, ...), listed in app/settings.py and worker/settings.py. Exit status:
0 all went well, 1 something failed, 2 the command line cannot be used.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from app.keys import Scope
from models.catalog import Family
from models.threads import wait_briefly
from worker.contracts import Blend, ImageFormat, Strategy
from worker.settings import SettingsError

commands = typer.Typer(
    name="inpaint",
    help="Image completion (GLCIC) and GAN samples: a web service, and the same on the command line.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

Device = Annotated[str, typer.Option(help="`auto`, `cpu`, `cuda`, `cuda:1`.")]
LogLevel = Annotated[str | None, typer.Option(help="`debug`, `info`, `warning`, `error`. [env: LOG_LEVEL, else info]")]


@commands.callback()
def _prepare() -> None:
    wait_briefly()


@commands.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen at. [env: HOST, else 127.0.0.1]")] = None,
    port: Annotated[int | None, typer.Option(help="[env: PORT, else 8000]")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Where everything is kept. [env: DATA_DIR, else .data]")] = None,
) -> None:
    """Start everything on this machine: broker, workers, API and page. Ctrl-C stops it."""
    from app.commands.serve import serve

    raise typer.Exit(serve(host=host, port=port, data_dir=data_dir))


@commands.command()
def api() -> None:
    """Start the API and the page alone, at HOST and PORT; broker and workers run elsewhere (REDIS_URL)."""
    from app.commands.api import api

    raise typer.Exit(api())


@commands.command()
def key(
    name: Annotated[str, typer.Argument(help="Of its owner: keys of one name see the same jobs.")],
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What it may do; may be given several times. [default: use]")
    ] = None,
    file: Annotated[Path | None, typer.Option(help="Add the entry to this file (API_KEYS_FILE).")] = None,
) -> None:
    """Make an API key, shown once, and the entry for API_KEYS that lets it in."""
    from app.commands.key import key

    raise typer.Exit(key(name, scope or [Scope.USE], file))


@commands.command()
def worker(
    queue: Annotated[str, typer.Argument(help="`inference` or `training`.")] = "inference",
    name: Annotated[str | None, typer.Option(help="Of this worker; the same when it is started again.")] = None,
    check: Annotated[bool, typer.Option("--check", help="Only say by the exit status whether it lives.")] = False,
    log_level: LogLevel = None,
) -> None:
    """Run the jobs of one queue, on this host or in a container."""
    from app.commands.worker import worker

    worker(queue, name=name, check=check, log_level=log_level)


@commands.command()
def run(
    images: Annotated[list[Path], typer.Argument(help="Pictures, or folders of pictures.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="File for one picture, folder for several.")],
    mask: Annotated[
        Path | None,
        typer.Option(help="One mask for all (white or opaque = fill), or a folder of masks with the pictures' names."),
    ] = None,
    box: Annotated[list[str] | None, typer.Option(help="`x,y,width,height`; may be given several times.")] = None,
    model: Annotated[
        str | None, typer.Option(help="`NAME`, `NAME@VERSION`, or a run's folder. [default: the service's]")
    ] = None,
    strategy: Annotated[Strategy, typer.Option(help="What the network sees.")] = Strategy.AUTO,
    dilate: Annotated[int, typer.Option(min=0, max=256, help="Pixels by which the hole grows first.")] = 0,
    blend: Annotated[Blend, typer.Option(help="How the hole is joined to its surroundings.")] = Blend.AUTO,
    format: Annotated[ImageFormat | None, typer.Option(help="Of the result. [default: by the file's name]")] = None,
    quality: Annotated[int, typer.Option(min=1, max=100, help="For JPEG and WebP.")] = 95,
    device: Device = "auto",
) -> None:
    """Complete pictures here, without the service."""
    from app.commands.run import run

    raise typer.Exit(
        run(
            images,
            output,
            mask=mask,
            boxes=box or [],
            model=model,
            strategy=strategy,
            dilate=dilate,
            blend=blend,
            image_format=format,
            quality=quality,
            device=device,
        )
    )


@commands.command()
def sample(
    model: Annotated[str, typer.Argument(help="`dcgan` or `vanilla-gan`, a model's name, or a run's folder.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="PNG or WebP for a grid, ZIP for single pictures.")],
    n: Annotated[int, typer.Option("-n", min=1, max=64, help="How many.")] = 16,
    seed: Annotated[int, typer.Option(min=0, help="Same seed, same pictures.")] = 0,
    columns: Annotated[int | None, typer.Option(min=1, help="Of the grid. [default: about square]")] = None,
    interpolate: Annotated[int | None, typer.Option(min=0, help="Second seed: walk from --seed to it.")] = None,
    device: Device = "auto",
) -> None:
    """Draw pictures from a generator."""
    from app.commands.sample import sample

    raise typer.Exit(sample(model, output, n=n, seed=seed, columns=columns, interpolate=interpolate, device=device))


@commands.command()
def train(
    family: Annotated[Family, typer.Argument(help="Whose paper.")],
    data: Annotated[Path, typer.Option(help="Folder or zip of pictures, CelebA as it comes, or MNIST's idx files.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder of the run: checkpoints, log, previews.")],
    preset: Annotated[str | None, typer.Option(help="`paper`, `course`, `cpu` (if none is named), `gpu`.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="`NAME=VALUE` over the preset; may be given several times.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out, by its options.")] = False,
    init: Annotated[str, typer.Option(help="Weights to start from: a file or a model's name (glcic only).")] = "",
) -> None:
    """Train a model here, in this process; several under torchrun."""
    from app.commands.train import train

    raise typer.Exit(train(family, data, out, preset=preset, assignments=set_ or [], resume=resume, init=init))


@commands.command()
def evaluate(
    family: Annotated[Family, typer.Argument(help="Whose paper.")],
    data: Annotated[Path, typer.Option(help="Held-out pictures: folder, zip, or MNIST's idx files.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the JSON report and the figure.")],
    model: Annotated[
        str | None, typer.Option(help="`NAME`, `NAME@VERSION`, or a run's folder. [default: the family's]")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Use so many pictures. [default: all]")] = None,
    device: Device = "auto",
) -> None:
    """Measure a model on held-out pictures, beside baselines on the same holes."""
    from app.commands.evaluate import evaluate

    raise typer.Exit(evaluate(family, data, out, model=model, limit=limit, device=device))


@commands.command()
def bench(
    names: Annotated[list[str] | None, typer.Argument(help="Which benchmarks. [default: all]")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="JSON file for the figures.")] = None,
) -> None:
    """Benchmarks: a table, and JSON."""
    from app.commands.bench import bench

    raise typer.Exit(bench(names or [], out))


def main() -> None:
    """The program. A variable that cannot be used ends every command with a sentence."""
    try:
        commands()
    except SettingsError as error:
        typer.echo(error, err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
