"""The TOML that says which columns of foreign files are what, read key by key.

The grammar is the docstring of `affcache.foreign`. Everything that is wrong is said at once, with
its line; a key that nobody reads is wrong.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

from affcache.errors import ForeignError
from affcache.foreign import FORMATS
from affcache.foreign.spec import FeatureSpec, Files, LabelSpec, Spec
from affcache.manifest.splits import SplitRule
from affcache.schema import ACTION_UNITS, EXPRESSIONS, SPLITS, is_safe_id
from affcache.tomltable import NUMBER, TABLES, TEXT, TEXTS, Check, TomlTable, subject_pattern

EXAMPLES = Path(__file__).parent / "examples"
TASKS = ("va", "expr", "au", "au_intensity")
OPENFACE = {"time": "timestamp", "frame": "frame", "valid": "success", "confidence": "confidence"}
ANY_NUMBER: Check = ("a number", lambda v: isinstance(v, int | float) and not isinstance(v, bool))
NUMBERS: Check = (
    "a list of numbers",
    lambda v: isinstance(v, list) and all(ANY_NUMBER[1](item) for item in v),
)
TRUTH: Check = ("true or false", lambda v: isinstance(v, bool))
DELIMITER: Check = ("one character", lambda v: isinstance(v, str) and len(v) == 1)


def load_spec(path: str | Path) -> Spec:
    """Read a spec from a file, or one of the examples by its name.

    Raises
    ------
    ForeignError
        With everything that is wrong.
    """
    example = EXAMPLES / f"{path}.toml"
    path = Path(path)
    if not path.is_file() and example.is_file():
        path = example
    if not path.is_file():
        names = ", ".join(sorted(p.stem for p in EXAMPLES.glob("*.toml")))
        raise ForeignError(f"{path}: there is no such spec; examples by name: {names}")
    return parse_spec(path.read_text(encoding="utf-8"), str(path))


def parse_spec(text: str, where: str) -> Spec:
    """Read a spec from its text; `where` names it in messages."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ForeignError(f"{where}: not TOML: {error}") from None
    problems: list[str] = []
    top = TomlTable(document, (), text, problems)
    tables = top.take("labels", TABLES, [])
    labels = [
        _labels(TomlTable(t, ("labels",), text, problems), f"labels[{k}]")
        for k, t in enumerate(tables, start=1)
    ]
    dataset = top.take("dataset", TEXT, "", required=True)
    if dataset and not is_safe_id(dataset):
        problems.append(f"dataset {dataset!r} is not made of letters, digits, '.', '_' and '-'")
    spec = Spec(
        dataset=dataset,
        about=top.take("about", TEXT, ""),
        features=_features(top.table("features")),
        labels=tuple(labels),
        subject=subject_pattern(top),
        split=_split(top.table("split")),
        text=text,
    )
    top.close()
    _check_together(spec, problems)
    if problems:
        listing = problems[0] if len(problems) == 1 else "".join(f"\n  - {p}" for p in problems)
        count = "" if len(problems) == 1 else f"{len(problems)} problems"
        raise ForeignError(f"{where}: {count}{listing}")
    return spec


def _features(table: TomlTable) -> FeatureSpec:
    files = _files(table)
    usual = OPENFACE if files.format == "openface" else {}
    spec = FeatureSpec(
        files=files,
        columns=tuple(table.take("columns", TEXTS, ["*"])),
        exclude=tuple(table.take("exclude", TEXTS, [])) + (("face_id",) if usual else ()),
        frame=table.take("frame", TEXT, usual.get("frame")),
        valid=table.take("valid", TEXT, usual.get("valid")),
        confidence=table.take("confidence", TEXT, usual.get("confidence")),
        least_confidence=float(table.take("least_confidence", NUMBER, 0.0)),
    )
    if files.time is None and files.fps is None:
        table.problems.append("[features] needs time (a column of seconds) or fps")
    if spec.least_confidence and spec.confidence is None:
        table.problems.append("features.least_confidence needs confidence, the column it is about")
    table.close()
    return spec


def _files(table: TomlTable) -> Files:
    chosen = table.take("format", TEXT, "", required=True)
    if chosen and chosen not in FORMATS:
        table.problems.append(
            f"{table.name('format')}{table.line('format')} is {chosen!r}, "
            f"expected {' or '.join(FORMATS)}"
        )
    files = table.take("files", TEXT, "", required=True)
    group = table.take("group", TEXT, "")
    if files.count("{id}") + group.count("{id}") != 1:
        table.problems.append(f"{table.name('files')} {files!r} needs {{id}} exactly once")
    if files.startswith("/") or ".." in files.split("/") or "\\" in files:
        table.problems.append(f"{table.name('files')} {files!r} leaves its folder")
    if "**" in files:
        table.problems.append(f"{table.name('files')} {files!r}: write */ for every folder, not **")
    if group and chosen != "hdf5":
        table.problems.append(f"{table.name('group')} is only for format = 'hdf5'")
    where = table.table("where")
    values = {column: float(where.take(column, ANY_NUMBER, 0.0)) for column in where.values}
    usual = OPENFACE["time"] if chosen == "openface" else None
    fps = table.take("fps", NUMBER)
    return Files(
        format=chosen,
        files=files,
        group=group,
        time=table.take("time", TEXT, usual),
        seconds=float(table.take("seconds", NUMBER, 1.0)),
        fps=None if fps is None else float(fps),
        name=table.take("name", TEXT),
        where=values,
        delimiter=table.take("delimiter", DELIMITER, ","),
        header=table.take("header", TRUTH, True),
    )


def _labels(table: TomlTable, where: str) -> LabelSpec:
    table.path = (where,)
    task = table.take("task", TEXT, "", required=True)
    if task and task not in TASKS:
        table.problems.append(f"{where}.task is {task!r}, expected {' or '.join(TASKS)}")
    singles: dict[str, str] = {}
    columns: tuple[str, ...] | None = None
    if task == "va":
        roles = {role: table.take(role, TEXT) for role in ("valence", "arousal")}
        singles = {role: column for role, column in roles.items() if column}
    elif task == "expr":
        singles = {"expression": table.take("expression", TEXT, "expression")}
    elif task == "au":
        singles = _units(table)
    elif task == "au_intensity":
        columns = tuple(table.take("columns", TEXTS, ["*"]))
    if task and not singles and columns is None:
        wanted = "valence, arousal or both" if task == "va" else "units"
        table.problems.append(f"{where} names no column: give {wanted}")
    smooth = task in ("va", "au_intensity")
    files = _files(table)
    resample = table.take("resample", TEXT, "linear" if smooth else "nearest")
    if resample not in ("linear", "nearest") or (resample == "linear" and not smooth):
        table.problems.append(f"{where}.resample {resample!r} does not suit {task}")
    spec = LabelSpec(
        task=task,
        files=files,
        singles=singles,
        columns=columns,
        exclude=tuple(table.take("exclude", TEXTS, [])) if columns else (),
        scale=float(table.take("scale", NUMBER, 1.0)) if task == "va" else 1.0,
        missing=tuple(float(v) for v in table.take("missing", NUMBERS, [])),
        classes=tuple(table.take("classes", TEXTS, list(EXPRESSIONS))) if task == "expr" else (),
        resample=resample if files.time or files.fps else "rows",
    )
    table.close()
    return spec


def _units(table: TomlTable) -> dict[str, str]:
    units = table.table("units")
    known = [str(unit) for unit in ACTION_UNITS]
    found = {unit: units.take(unit, TEXT, "") for unit in units.values if unit in known}
    units.known += [unit for unit in known if unit not in units.known]
    units.close()
    return found


def _split(table: TomlTable) -> SplitRule:
    by = table.take("by", TEXT, "id", required=bool(table.values))
    if by not in ("id", "subject", "share"):
        table.problems.append(f"split.by is {by!r}, expected id or subject or share")
    given = {s: table.take(s, NUMBER if by == "share" else TEXTS) for s in SPLITS}
    found = {split: value for split, value in given.items() if value is not None}
    table.close()
    if by == "share":
        return SplitRule(by=by, patterns={}, shares=found)
    return SplitRule(by=by, patterns={s: tuple(v) for s, v in found.items()}, shares={})


def _check_together(spec: Spec, problems: list[str]) -> None:
    """What no table can see alone: two label tables that write the same thing."""
    said = [(t.task, role) for t in spec.labels for role in (t.singles or ("all",))]
    problems += [
        f"two [[labels]] tables give {task} {role}"
        for task, role in dict.fromkeys(said)
        if said.count((task, role)) > 1
    ]
    if any(t.task in ("expr", "au", "au_intensity") for t in spec.labels):
        for task in ("expr", "au", "au_intensity"):
            if sum(t.task == task for t in spec.labels) > 1:
                problems.append(f"{task} needs one [[labels]] table, not several")
