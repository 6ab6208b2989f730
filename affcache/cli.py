"""The console script: one table of commands, each imported only when it is used.

`--help` prints the table's own summaries, so neither it nor any command's `--help` imports torch,
decord or dask: command modules hold click declarations and defer their work to one import.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from typing import NamedTuple, NoReturn

import click

from affcache import __version__
from affcache.errors import AffcacheError
from affcache.printable import printable


class Entry(NamedTuple):
    """Where a command lives ("module:attribute") and its line in `affcache --help`."""

    target: str
    summary: str


COMMANDS: dict[str, Entry] = {
    "assets": Entry("affcache.commands.assets:assets", "List and fetch weights and clips."),
    "manifest": Entry("affcache.commands.manifest:manifest", "Show what a dataset resolves to."),
    "simulate": Entry("stages.simulate.command:simulate", "Make simulated data with known truth."),
    "extract": Entry("stages.extract.command:extract", "Stage one: videos to a feature cache."),
    "label": Entry("affcache.commands.label:label", "Write annotations beside the features."),
    "readout": Entry("affcache.commands.readout:readout", "Fit pseudo-labels by ridge regression."),
    "verify": Entry("affcache.commands.verify:verify", "Check a cache to the byte."),
    "ls": Entry("affcache.commands.summary:ls", "List the videos of a cache."),
    "info": Entry("affcache.commands.summary:info", "Say what a cache is, holds and covers."),
    "pack": Entry("affcache.commands.copies:pack", "Write a cache, or a part, as one file."),
    "unpack": Entry("affcache.commands.copies:unpack", "Write a packed cache as a folder."),
    "subset": Entry("affcache.commands.copies:subset", "Write a part of a cache as a cache."),
    "merge": Entry("affcache.commands.copies:merge", "Write several caches as one."),
    "derive": Entry("affcache.commands.derive:derive", "Pool, reduce, standardise features."),
    "push": Entry("affcache.commands.share:push", "Send a cache to a folder, S3, GCS or SFTP."),
    "pull": Entry("affcache.commands.share:pull", "Fetch a cache from a folder, S3, GCS or SFTP."),
    "export": Entry("affcache.commands.exchange:export", "Write a cache as one HDF5 file."),
    "import": Entry(
        "affcache.commands.exchange:import_", "A cache from HDF5, or others' features."
    ),
    "train": Entry(
        "stages.train.commands.runs:train", "Stage two: train a temporal head from a cache."
    ),
    "pseudo-label": Entry(
        "stages.train.commands.pseudo_label:pseudo_label",
        "Label frames by a run or rules where sure.",
    ),
    "crossval": Entry(
        "stages.train.commands.crossval:crossval", "Train folds by person and let them vote."
    ),
    "evaluate": Entry(
        "stages.train.commands.runs:evaluate", "Score a trained run beside pseudo-labels."
    ),
    "ensemble": Entry("stages.train.commands.ensemble:ensemble", "Let several runs speak as one."),
    "postprocess": Entry(
        "stages.train.commands.postprocess:postprocess", "Filter, centre, scale, shift predictions."
    ),
    "compound": Entry(
        "stages.train.commands.compound:compound", "Recognise mixed expressions without examples."
    ),
    "sweep": Entry(
        "stages.train.commands.sweep:sweep", "Score every amount and choice of context."
    ),
    "predict": Entry(
        "stages.train.commands.runs:predict", "Predict per frame on a video or a cache."
    ),
    "bench": Entry("stages.train.commands.bench:bench", "Measure what the heads cost."),
}


class LazyGroup(click.Group):
    """A group whose commands are rows of a table, imported when they are invoked."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the table, which is the order of the work."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command behind a name, or None for click's own "no such command"."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name].target.split(":")
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Print the table's summaries without importing a single command."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.summary) for name, entry in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__)
@click.option("--debug", is_flag=True, help="Show the traceback of an error; of any command.")
def affcache(debug: bool) -> None:
    """Facial-affect features extracted once, cached, shared, and trained from.

    A first tour:  affcache manifest show NAME --root DIR,  affcache extract,  affcache train,
    affcache evaluate.  Every command has its own --help.
    """


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line; a user's mistake is one line on stderr and exit status 2."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    words = [word for word in given if word != "--debug"]  # wherever it stands
    try:
        status = affcache.main(words, prog_name="affcache", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        sys.exit(2)
    except (AffcacheError, click.ClickException, OSError) as error:
        if "--debug" in given:
            raise
        sys.exit(_report(error))
    except (click.Abort, KeyboardInterrupt):
        click.echo("affcache: interrupted", err=True)
        sys.exit(130)
    sys.exit(status if isinstance(status, int) else 0)


def _report(error: Exception) -> int:
    if isinstance(error, click.UsageError) and error.ctx is not None:
        hint = f" (see `{error.ctx.command_path} --help`)"
    else:
        hint = ""
    if isinstance(error, click.ClickException):
        text = error.format_message()
    elif isinstance(error, OSError) and error.filename is not None:
        text = printable(f"{os.fsdecode(error.filename)}: {error.strerror}")
    else:  # names in it may be a stranger's; of ours are only the breaks of a list
        text = "\n  - ".join(map(printable, str(error).split("\n  - ")))
    click.echo(f"affcache: {text}{hint}", err=True)
    return 2
