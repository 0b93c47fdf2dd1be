"""The tasks in their groups, and what they say in plain words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from infocl.config.titles import method, regularizer_title
from infocl.report.inputs import Inputs
from infocl.results.reading import TaskResult
from infocl.runtime.text import counted, interval, percent


@dataclass(frozen=True)
class TaskRow:
    """One labelled task: its name and the result."""

    name: str
    result: TaskResult

    @property
    def gain(self) -> float:
        """Accuracy of the linear probe above that of always naming the most frequent class."""
        return self.result.accuracy - self.result.majority


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
            "Other tasks", "Neither the source task nor a cue that the views change.", _targets(inputs)
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
    count = len(inputs.transfer.targets)
    others = counted(count, "other task")
    mean = f"{percent(inputs.transfer.mean_accuracy)}{' on average' if count > 1 else ''}"
    if inputs.probe.source is None:
        return f"This encoder reads {others} at {mean}."
    return f"This encoder reads its own task at {percent(inputs.probe.source.accuracy)}, {others} at {mean}."


def verdict(inputs: Inputs) -> list[str]:
    """What was trained, how good it is and what it forgot, a few sentences."""
    config, images = inputs.config, len(inputs.data.pretrain)
    network = inputs.params.encoder
    lines = [
        f"A {network.arch} of width {network.width:g} learned from {images:,} images of {inputs.data.name} "
        f"by {method(config['objective'], config['regularizer'], config['reg_weight'])}, "
        f"{config['epochs']} epochs in {duration(inputs.costs['pretrain'].seconds)}."
    ]
    source = inputs.probe.source
    if source:
        lines.append(
            f"A linear probe on its frozen features is right for {percent(source.accuracy)} of "
            f"{source.test_images:,} test images of the source task (95 % interval "
            f"{interval(source.accuracy_ci95)}; always naming the most frequent class: "
            f"{percent(source.majority)})."
        )
    cues = _targets(inputs, destroyed=True)
    return [*lines, *(_surpassed(source, cues) if source else []), *_forgotten(cues)]


def _surpassed(source: TaskResult, cues: Sequence[TaskRow]) -> list[str]:
    """Which cues are read better than the source task; only where the 95 % intervals leave no doubt."""
    best = source.accuracy_ci95[1] - source.majority
    better = [cue.name for cue in cues if cue.result.accuracy_ci95[0] - cue.result.majority > best]
    if not better:
        return []
    names = " and ".join([", ".join(better[:-1]), better[-1]] if better[1:] else better)
    return [
        f"That is worse ({100 * (source.accuracy - source.majority):.1f} points above the most frequent "
        f"class) than it reads {names}, which augmentation changes from view to view."
    ]


def _forgotten(tasks: Sequence[TaskRow]) -> list[str]:
    if len(tasks) < 2:
        return []
    *_, kept = ranked = sorted(tasks, key=lambda task: task.gain)
    lost = ranked[0]
    return [
        f"Of the cues that augmentation destroys it kept {kept.name} best ({percent(kept.result.accuracy)}, "
        f"{100 * kept.gain:.1f} points above the most frequent class) and {lost.name} least "
        f"({percent(lost.result.accuracy)}, {100 * lost.gain:.1f} points above)."
    ]


def duration(seconds: float) -> str:
    """A time as a person would say it, such as "2 min 34 s"."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    if seconds < 3599.5:
        minutes, rest = divmod(round(seconds), 60)
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"{hours} h {minutes} min"
