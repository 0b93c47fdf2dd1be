"""Rows of the table: runs that differ in their seed alone become one row."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

from infocl.config import TargetName
from infocl.config.titles import has_weight, objective_title, regularizer_title
from infocl.experiments.table.experiments import Experiment
from infocl.experiments.table.published import Published, PublishedRow
from infocl.experiments.table.settings import differences, method_of, setting_of
from infocl.experiments.table.stats import Estimate, estimate, paired_difference
from infocl.pretrain.objectives.params import OBJECTIVES
from infocl.pretrain.regularizers.params import REGULARIZERS

TARGETS = get_args(TargetName)


class Row(NamedTuple):
    """One method under one setting; accuracies are shares in 0..1, differences too."""

    setting: str  # A, B, ...; a row of the paper has none
    objective: str
    regularizer: str
    weight: float | None
    label: str
    accuracy: dict[str, Estimate]  # by column: source, then targets
    mean: Estimate
    to_plain: Estimate | None
    to_noise: Estimate | None
    published: bool = False


class Section(NamedTuple):
    """The rows of one source data set."""

    title: str
    targets: list[str]
    settings: dict[str, dict[str, str]]  # what differs between several settings, by their letter
    rows: list[Row]
    repeated: int  # runs left out because a later one has the same params and seed


class _Method(NamedTuple):
    setting: str
    objective: str
    regularizer: str


Seeds = dict[int, Experiment]


def build_sections(runs: Iterable[Experiment], published: Published | None = None) -> list[Section]:
    """One section for each source data set, with the published rows where their data are the same.

    The order of `runs` does not matter. Of several runs with the same params and seed the latest counts.
    """
    by_data: dict[str, list[Experiment]] = defaultdict(list)
    for run in runs:
        by_data[data_of(run.params)].append(run)
    if published:
        by_data.setdefault(published.data, [])
    return [
        _section(data, found, published if published and published.data == data else None)
        for data, found in sorted(by_data.items())
    ]


def data_of(params: Mapping[str, Any]) -> str:
    """What was learned from: the data set's name, or the name of the folder of images."""
    data = params["data"]
    return Path(data["root"]).name if data["name"] == "folder" else str(data["name"])


def _section(data: str, runs: list[Experiment], published: Published | None) -> Section:
    methods: dict[_Method, Seeds] = defaultdict(dict)
    for run in sorted(runs, key=lambda run: (run.finished, run.revision)):
        methods[_method(run)][run.seed] = run
    letters = _letters([method.setting for method in methods for _ in methods[method]])
    labels = _labels(methods)
    rows = [
        _row(method, seeds, methods, letters[method.setting], labels[method])
        for method, seeds in sorted(methods.items(), key=lambda item: _order(item[0], letters))
    ]
    forms = list(letters)
    return Section(
        data if published is None else f"{data} ({published.title[0].lower()}{published.title[1:]})",
        _in_order({target for run in runs for target in run.targets}, published),
        dict(zip(letters.values(), differences(forms), strict=True)) if len(forms) > 1 else {},
        _with_published(rows, published) if published else rows,
        len(runs) - sum(map(len, methods.values())),
    )


def _method(run: Experiment) -> _Method:
    return _Method(setting_of(run.params), method_of(run.params, "objective"), method_of(run.params, "reg"))


def _letters(settings: Sequence[str]) -> dict[str, str]:
    """A, B, ... for each setting, the one with the most runs first."""
    ranked = sorted(set(settings), key=lambda form: (-settings.count(form), form))
    return {form: chr(ord("A") + index) if index < 26 else f"#{index}" for index, form in enumerate(ranked)}


def _order(method: _Method, letters: Mapping[str, str]) -> tuple[object, ...]:
    reg = json.loads(method.regularizer)
    return (
        list(letters).index(method.setting),
        _place(json.loads(method.objective)["name"], list(OBJECTIVES)),
        method.objective,
        _place(reg["name"], list(REGULARIZERS)),
        reg.get("reg.weight", 0.0),
        method.regularizer,
    )


def _place(name: str, known: Sequence[str]) -> tuple[int, str]:
    return (known.index(name) if name in known else len(known), name)


def _in_order(targets: set[str], published: Published | None) -> list[str]:
    """Our targets in the schema's order, then those that only the paper has, in its order."""
    ours = sorted(targets, key=lambda name: _place(name, TARGETS))
    return ours + [target for target in (published.targets if published else []) if target not in targets]


def _labels(methods: Iterable[_Method]) -> dict[_Method, str]:
    """Such as "SimCLR + RC (λ = 1)"; knobs are named where two methods would read the same."""
    groups: dict[tuple[str, str], list[_Method]] = defaultdict(list)
    for method in methods:
        groups[method.setting, _label(method)].append(method)
    labels = {}
    for (_, label), alike in groups.items():
        knobs = [
            form_o | form_r
            for form_o, form_r in zip(
                differences([method.objective for method in alike]),
                differences([method.regularizer for method in alike]),
                strict=True,
            )
        ]
        for method, unlike in zip(alike, knobs, strict=True):
            labels[method] = ", ".join([label, *(f"{key} {value}" for key, value in unlike.items())])
    return labels


def _label(method: _Method) -> str:
    reg = json.loads(method.regularizer)
    return label(json.loads(method.objective)["name"], reg["name"], reg.get("reg.weight"))


def label(objective: str, regularizer: str, weight: float | None, knob: str = "") -> str:
    """A row's name, such as "SimCLR", "SimCLR + noise only" or "SimCLR + LBE (critic=pixels, λ = 1)"."""
    name = objective_title(objective)
    return name if regularizer == "none" else f"{name} + {term_label(regularizer, weight, knob)}"


def term_label(regularizer: str, weight: float | None, knob: str = "") -> str:
    """The regulariser's part of a row's name, such as "noise only" or "RC (λ = 1)"."""
    details = [*([knob] if knob else []), *([f"λ = {weight:g}"] if has_weight(regularizer) else [])]
    title = regularizer_title(regularizer)
    return f"{title} ({', '.join(details)})" if details else title


def _row(method: _Method, seeds: Seeds, methods: Mapping[_Method, Seeds], letter: str, label: str) -> Row:
    objective, reg = json.loads(method.objective)["name"], json.loads(method.regularizer)
    runs = list(seeds.values())
    columns = {target: [run.targets[target] for run in runs] for target in runs[0].targets}
    columns["source"] = [run.source for run in runs if run.source is not None]
    return Row(
        letter,
        objective,
        reg["name"],
        reg.get("reg.weight"),
        label,
        {column: found for column, values in columns.items() if (found := estimate(values))},
        _certain(estimate([run.mean for run in runs])),
        None if reg["name"] == "none" else _against("none", method, methods),
        _against("noise", method, methods) if has_weight(reg["name"]) else None,
    )


def _certain(found: Estimate | None) -> Estimate:
    if found is None:
        raise ValueError("a row has at least one run")
    return found


def _against(name: str, method: _Method, methods: Mapping[_Method, Seeds]) -> Estimate | None:
    """Paired difference of the mean accuracy to the control `name` of the same objective and setting.

    None without such a control, or with several (noise of several strengths), which no row can choose among.
    """
    controls = [
        seeds
        for other, seeds in methods.items()
        if other[:2] == method[:2] and json.loads(other.regularizer)["name"] == name
    ]
    if len(controls) != 1:
        return None
    return paired_difference(_means(methods[method]), _means(controls[0]))


def _means(seeds: Seeds) -> dict[int, float]:
    return {seed: run.mean for seed, run in seeds.items()}


def _with_published(rows: list[Row], published: Published) -> list[Row]:
    """Each published row below ours of the same objective and regulariser; the others in their order."""
    result, waiting = list(rows), []
    for row in published.rows:
        ours = [
            index
            for index, other in enumerate(result)
            if (other.objective, other.regularizer) == (row.objective, row.regularizer)
            and not other.published
        ]
        if ours:
            result.insert(ours[-1] + 1, _published_row(row, published))
        else:
            waiting.append(_published_row(row, published))
    return result + waiting


def _published_row(row: PublishedRow, published: Published) -> Row:
    means = {other.regularizer: other.mean for other in published.rows if other.objective == row.objective}
    weight = row.weight if has_weight(row.regularizer) else None
    to = {
        name: Estimate(row.mean - means[name], None, 1)
        for name in ("none", "noise")
        if name in means and row.regularizer not in ("none", name)
    }
    return Row(
        "",
        row.objective,
        row.regularizer,
        weight,
        f"{label(row.objective, row.regularizer, weight)}, published",
        {column: Estimate(value, None, 1) for column, value in row.accuracy.items()},
        Estimate(row.mean, None, 1),
        to.get("none"),
        to.get("noise"),
        published=True,
    )
