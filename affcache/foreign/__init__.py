"""Caches from features that others extracted, with no video: one TOML file says what is what.

`affcache import --features DIR [--labels DIR] --spec SPEC.toml --out CACHE` reads one file a video,
or one group a video of one HDF5 file. Three specs to start from lie in `affcache/foreign/examples`
and can be given by name: `--spec openface` (OpenFace 2 CSV), `--spec avec` (AVEC 2016's ARFF
features and gold standard) and `--spec npz` (one NPZ a video). The keys, all texts unless said:

    dataset     a name for the cache (required)
    about       who extracted what, for the provenance
    subject     regular expression over the id whose (group) is the person; default: the id

    [features]
    format      "csv", "openface", "arff", "npz", "npy" or "hdf5" (required)
    files       path below --features; {id} stands for the video's id, * and ? for anything
                (required). Without {id} (hdf5 only) `group` has it
    group       hdf5: the group (or the one array) of a video, such as "clips/{id}"
    columns     list of names or shell patterns: the features, in the file's order
                (default: all that no other key of [features] names)
    exclude     list of names or patterns that are no features
    time        column of seconds; without it row k lies at k / fps
    seconds     seconds in one unit of time (number, default 1)
    fps         frames per second (number)
    frame       column of frame numbers: missing numbers become frames without a face
    valid       column that is 0 where there is no face
    confidence  column of the detector's confidence, kept as `score`
    least_confidence    rows below it have no face (number)
    name        column that must say the video's id in every row
    delimiter   csv: between fields (default ",")
    header      csv: whether the first line names the columns (default true; else "1", "2", ...)
    [features.where]    column = value (number): only these rows, such as face_id = 0

    [[labels]]  any number of tables; for "va" one may give valence and another arousal
    task        "va", "expr", "au" or "au_intensity" (required)
    format, files, group, time, seconds, fps, name, delimiter, header, where     as above, below
                --labels; with neither time nor fps, row k is frame k
    valence, arousal    columns (va)
    scale       what valence and arousal are divided by (number, default 1)
    expression  column of numbers or names (expr)
    classes     list of names in the order of the numbers (default: affcache's seven); those that
                are none of the seven are unlabelled
    units       table, action unit = column, such as 12 = "AU12_c" (au)
    columns, exclude    the intensities, in the file's order (au_intensity)
    missing     list of numbers that mean "none"
    resample    "linear" (va, au_intensity) or "nearest" (default of the others)

    [split]     by = "id" or "subject" with lists of shell patterns train, validation, test, or
                by = "share" with shares of the persons (see `affcache.manifest.splits`)

In NPZ, NPY and HDF5 a column is an array of frames: `va` is all of it, `va[0]` its first column,
`x[2:10]` a range of them; trailing dimensions are flattened; an array that is alone (NPY) is
`data`.

Convention: a frame is a row; a row that misses a feature (empty, "?", NaN) has no face. Frame times
are those of the features; labels at another rate are brought to them by the rule of
`affcache.foreign.resample`, which the provenance and the labels' attributes state. Features are
kept as float16, with three digits from 6e-5 to 65,504: bring what is far outside to that scale.
"""

from __future__ import annotations

FORMATS: dict[str, str] = {
    "csv": "affcache.foreign.csvtable:read",
    "openface": "affcache.foreign.csvtable:read",
    "arff": "affcache.foreign.arff:read",
    "npz": "affcache.foreign.numpyfile:read_npz",
    "npy": "affcache.foreign.numpyfile:read_npy",
    "hdf5": "affcache.foreign.hdf5group:read",
}
