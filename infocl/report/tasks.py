"""The tasks in their groups, and what they say in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infocl.config import TaskKind
from infocl.config.titles import method, regularizer_title
from infocl.report.inputs import Inputs
from infocl.results.reading import TaskResult
from infocl.runtime.text import counted, percent


@dataclass(frozen=True)
class TaskRow:
    """One labelled task: its name and the result."""

    name: str
    result: TaskResult

    @property
    def gain(self) -> float:
        """Score of the linear probe above that of answers that do not look at the image."""
        return self.result.score - self.result.chance

    @property
    def words(self) -> str:
        """All its figures, for a screen reader."""
        row = self.result
        blind = row.words.chance.removeprefix("the ")
        more = f", RMSE {row.rmse:.4g} (of the mean: {row.chance_rmse:.4g})" if row.rmse is not None else ""
        of = f"{row.classes} {'labels' if row.kind == 'labels' else 'classes'}, " if row.classes else ""
        return (
            f"{self.name}: linear probe {row.shown} (95 % interval {row.shown_ci95}){more}, "
            f"nearest neighbours {row.shown_knn}, {blind} {row.shown_chance}; "
            f"{of}{row.test_images:,} test images"
        )


@dataclass(frozen=True)
class TaskGroup:
    """Tasks that belong together; `note` says why there are none, or what they have in common."""

    title: str
    note: str
    tasks: list[TaskRow]


def group_tasks(inputs: Inputs) -> list[TaskGroup]:
    """The source task, the tasks whose cue augmentation changes, and the others, where there are any."""
    name, source = inputs.data.name, inputs.probe.source
    own = [TaskRow(name, source)] if source else []
    shared_note = (
        "What both views of an image have in common, so contrasting them rewards keeping it."
        if own
        else f"The data set {name} has no labels, so there is no accuracy on it."
    )
    groups = [
        TaskGroup("Shared between views: the source task", shared_note, own),
        TaskGroup(
            "Destroyed by augmentation",
            "What cropping, flipping and colour jitter change from view to view, so contrasting rewards "
            "forgetting it.",
            _targets(inputs, destroyed=True),
        ),
        TaskGroup(
            "Other tasks",
            "Neither the source task nor one that is known to ask for a cue that the views change.",
            _targets(inputs),
        ),
    ]
    return [groups[0], *(group for group in groups[1:] if group.tasks)]


def _targets(inputs: Inputs, *, destroyed: bool = False) -> list[TaskRow]:
    return [
        TaskRow(name, result)
        for name, result in inputs.transfer.targets.items()
        if result.task.changed_by_views is destroyed
    ]


def headline(inputs: Inputs) -> str:
    """The verdict in one line: what regularising brought back, where it did, else the accuracies."""
    brought_back = [task for task in inputs.compared.tasks.values() if task.verdict == "brought back"]
    if brought_back:
        most = max(brought_back, key=lambda task: task.difference or 0.0)
        by = regularizer_title(inputs.config["regularizer"])
        return (
            f"Plain training forgot {most.name} ({percent(most.plain or 0.0)}); "
            f"{by} brought it back ({percent(most.regularised or 0.0)})."
        )
    source, others = inputs.probe.source, _others(inputs)
    if source is None:
        return f"This encoder reads {others}."
    return f"This encoder reads its own task at {source.shown}, {others}."


def _others(inputs: Inputs) -> str:
    """Such as "4 other tasks at 81.4 % on average", and those without accuracy by name."""
    transfer = inputs.transfer
    parts = [f"{name} at {row.shown}" for name, row in transfer.targets.items() if row.kind != "class"]
    if transfer.mean_accuracy is not None:
        count = transfer.with_accuracy
        average = " on average" if count > 1 else ""
        parts.insert(0, f"{counted(count, 'other task')} at {percent(transfer.mean_accuracy)}{average}")
    return ", ".join(parts)


def verdict(inputs: Inputs) -> list[str]:
    """What was trained, how good it is and what it forgot, a few sentences."""
    config, data = inputs.config, inputs.data
    images = data.count(data.pretrain_name)
    network = inputs.params.encoder
    lines = [
        f"A {network.arch} of width {network.width:g} learned from {images:,} images of {data.name} "
        f"by {method(config['objective'], config['regularizer'], config['reg_weight'])}, "
        f"{config['epochs']} epochs in {duration(inputs.costs['pretrain'].seconds)}."
    ]
    source = inputs.probe.source
    if source:
        lines.append(
            f"A linear probe on its frozen features is right for {source.shown} of "
            f"{source.test_images:,} test images of the source task (95 % interval "
            f"{source.shown_ci95}; always naming the most frequent class: "
            f"{source.shown_chance})."
        )
    cues = _targets(inputs, destroyed=True)
    return [*lines, *(_surpassed(source, cues) if source else []), *_forgotten(cues)]


def _surpassed(source: TaskResult, cues: Sequence[TaskRow]) -> list[str]:
    """Which cues are read better than the source task; only where the 95 % intervals leave no doubt."""
    best = source.score_ci95[1] - source.chance
    better = [cue.name for cue in cues if cue.result.score_ci95[0] - cue.result.chance > best]
    if not better:
        return []
    names = " and ".join([", ".join(better[:-1]), better[-1]] if better[1:] else better)
    return [
        f"That is worse ({100 * (source.score - source.chance):.1f} points above the most frequent "
        f"class) than it reads {names}, which augmentation changes from view to view."
    ]


def _forgotten(tasks: Sequence[TaskRow]) -> list[str]:
    if len(tasks) < 2:
        return []
    *_, kept = ranked = sorted(tasks, key=lambda task: task.gain)
    lost = ranked[0]
    return [
        f"Of the cues that augmentation destroys it kept {kept.name} best ({kept.result.shown}, "
        f"{100 * kept.gain:.1f} points above the most frequent class) and {lost.name} least "
        f"({lost.result.shown}, {100 * lost.gain:.1f} points above)."
    ]


OTHER_KINDS: dict[TaskKind, str] = {
    "labels": " Of several labels it is the mean average precision (mAP), and a ranking at random stands in "
    "place of the most frequent class.",
    "number": " Of numbers it is R², the share of their variance that is explained, in hundredths (below 0 "
    "drawn at 0), and the mean stands in place of the most frequent class.",
}


def other_kinds(inputs: Inputs) -> str:
    """How tasks that have no accuracy are drawn in the same pictures; empty where there are none."""
    return "".join(words for kind, words in OTHER_KINDS.items() if kind in inputs.compared.task_kinds)


def duration(seconds: float) -> str:
    """A time as a person would say it, such as "2 min 34 s"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"
