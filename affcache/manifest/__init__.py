r"""Which videos a dataset has: whose face, which subject, which split, which annotation.

A manifest is a TOML file that describes a dataset without naming anybody's disk; `resolve` holds
it against a folder and gives frozen rows, one for each face that is to be followed in a video.

    name = "mine"                        # a safe folder name
    title = "Interviews, 2024"           # in words
    tasks = ["va"]                       # of va, expr, au; [] where nothing is annotated
    root_variable = "MINE_ROOT"          # environment variable for the data's folder; --root wins
    subject = "(p\\d+)_"                 # regular expression matched at the start of the id; its
                                         # group is the person. Without it every id is a person
    fps = 25                             # only if the format fixes it; others are mentioned
    assets = ["pyfeat-clips"]            # instead of a folder: videos that `affcache assets` has

    [videos]
    globs = ["videos/**/*.mp4"]          # relative to the root; names with a leading dot are left
    id = "{stem}"                        # of {stem} and {parent} (the name of the folder)
    face = "largest"                     # or left, right: whose face, as seen in the image
    faces = {left = "_left"}             # an annotation of <id>_left gives a row of that face

    [[videos.table]]                     # instead of globs: one video each; only path is needed
    path = "a.mp4"
    id = "a"
    face = "left"
    subject = "p01"
    split = "train"
    labels = {va = "a.csv"}

    [split]                              # one of four rules
    by = "share"                         # of the persons, in the order of their names
    train = 0.6
    validation = 0.15
    test = 0.25
    # by = "id"                          # or "subject": shell patterns, tried in this order
    # train = ["p0*"]
    # test = ["*"]
    # by = "annotation"                  # the folder that the annotation lies in, for each task;
    #                                    # a video without an annotation of the task is test

    [labels]
    format = "frame-csv"                 # or affwild2, sewa (see `affcache.labels`)
    scale = 10                           # frame-csv: values are divided by it (AFEW-VA: 10)
    [labels.files]                       # relative to the root, of {id}, {stem}, {parent}
    va = ["labels/{id}.csv"]             # the one that exists
    # [labels.files.va]                  # with by = "annotation": per split
    # train = ["VA_Set/Train_Set/{id}.txt"]
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

import affcache
from affcache.errors import ManifestError
from affcache.manifest.description import LabelFiles, Manifest, parse
from affcache.manifest.rows import Row, annotation_files, rows_under

__all__ = ["LabelFiles", "Manifest", "Row", "load", "names", "orphans", "resolve", "root_of"]

FOLDER = Path(affcache.__file__).parents[1] / "manifests"


def names() -> list[str]:
    """The manifests that come with affcache."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name_or_file: str) -> Manifest:
    """Read a manifest by its name, or from a file that ends in .toml.

    Raises
    ------
    ManifestError
        If there is none, or it is not TOML. Mistakes inside it wait in `problems` for `resolve`.
    """
    path = Path(name_or_file)
    if path.suffix != ".toml":
        path = FOLDER / f"{name_or_file}.toml"
        if name_or_file not in names():
            close = difflib.get_close_matches(name_or_file, names(), n=1)
            meant = f"did you mean {close[0]!r}? " if close else ""
            raise ManifestError(
                f"no manifest is called {name_or_file!r}; {meant}known: {', '.join(names())}; "
                "for your own, give its .toml file"
            )
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ManifestError(f"{path}: no such manifest") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ManifestError(f"{path}: cannot be read ({error})") from None
    return parse(text, str(path))


def root_of(manifest: Manifest, root: Path | None) -> Path:
    """The folder that a manifest's paths start from, absolute.

    It is the given one, else the one that the manifest's environment variable names, else that of
    the assets that the manifest lists, which are fetched if they are absent.
    """
    variable = manifest.root_variable
    if root is None and variable is not None and os.environ.get(variable):
        root = Path(os.environ[variable]).expanduser()
    if root is None and manifest.assets:
        from affcache import assets

        for name in manifest.assets:
            assets.fetch(name)
        return assets.home() / "assets"
    if root is None:
        hint = f" or set {variable}" if variable else ""
        raise ManifestError(f"manifest {manifest.name}: where is the data? Give --root DIR{hint}")
    if not root.is_dir():
        raise ManifestError(f"manifest {manifest.name}: the root {root} is not a folder")
    return root.absolute()


def resolve(manifest: Manifest, root: Path | None) -> list[Row]:
    """Hold a manifest against a folder.

    Parameters
    ----------
    manifest : from `load`
    root : the data's folder; None looks where the manifest says (see `root_of`)

    Returns
    -------
    One row for each face to be followed, in the order of the videos' paths or of the table.

    Raises
    ------
    ManifestError
        With every problem there is, of the file and of what it describes: an unknown key, a
        missing file, two rows with one id, a path that leaves the root, an unsafe id, no video.
    """
    problems = list(manifest.problems)
    try:
        folder = root_of(manifest, root)
    except ManifestError as error:
        if not problems:
            raise
        problems.append(str(error))
        rows = []
    else:
        rows = rows_under(manifest, folder, problems)
    if problems:
        raise ManifestError(_listing(manifest.name, list(dict.fromkeys(problems))))
    return rows


def orphans(manifest: Manifest, root: Path | None, rows: list[Row]) -> list[Path]:
    """Annotation files of the manifest's layout that belong to none of the rows' videos."""
    used = {path for row in rows for path in row.annotations.values()}
    return [
        path for path in annotation_files(manifest, root_of(manifest, root)) if path not in used
    ]


def _listing(name: str, problems: list[str]) -> str:
    if len(problems) == 1:
        return f"manifest {name}: {problems[0]}"
    lines = "".join(f"\n  - {problem}" for problem in problems)
    return f"manifest {name}: {len(problems)} problems{lines}"
