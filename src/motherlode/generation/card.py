"""The model card: what a model is, what it cost, how good it was measured to be, and what not to expect of it.

Every line comes from the run's own records, so that the card cannot say what the run did not do. What is not known is
said to be unknown: a card without a report says that nothing was measured.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from motherlode.errors import MotherlodeError

if TYPE_CHECKING:
    from motherlode.data.dataset import Dataset
    from motherlode.training.run import Run

_MOST_LICENCES = 10


@dataclass(frozen=True)
class About:
    """What a card says of one kind of export beyond the run's own facts.

    Args:
        front: lines of the front matter.
        makes: what the model makes, as the rest of "A model of the family X that …".
        use: how to use it, in Markdown.
        limits: a sentence each.
        origin: where the weights come from; see `sampling.origin`.
    """

    front: Sequence[str]
    makes: str
    use: str
    limits: Sequence[str]
    origin: Mapping[str, Any]


def card(run: Run, about: About) -> str:
    """The card of an exported run in Markdown, with the front matter that model hubs read.

    Args:
        run: where the facts come from; its dataset may be gone.
        about: what they do not say.
    """
    facts = run.facts
    sections = [
        "\n".join(["---", *about.front, "---"]),
        f"# {facts['name']}",
        _summary(run, facts, about),
        "## Use\n\n" + about.use,
        "## Data\n\n" + "\n".join(_data(run, facts)),
        "## Training and its cost\n\n" + _table(_cost(facts)),
        "## Measures\n\n" + _measures(run),
        "## Limits\n\n" + "\n".join(f"- {line}" for line in _limits(facts, about)),
        "## Provenance\n\n" + _table(about.origin.items()),
    ]
    return "\n\n".join(sections) + "\n"


def _summary(run: Run, facts: Mapping[str, Any], about: About) -> str:
    return (
        f"A model of the family `{facts['family']}` that {about.makes}.\n"
        f"{facts['parameters']:,} parameters in training. Weights `{about.origin['variant']}` of "
        f"{about.origin['checkpoint']}, trained with Motherlode {facts['version']} in the run `{run.path.name}`."
    )


def about_sampler(facts: Mapping[str, Any], config: Mapping[str, Any], files: Sequence[str]) -> About:
    """What the card of a sampler says that turns noise into samples.

    Args:
        facts: of the run.
        config: contents of the export's `config.json`.
        files: names of the exported files.
    """
    shape = " x ".join(str(side) for side in facts["spec"]["shape"])
    asked = f", for any of {config['num_labels']} labels: {', '.join(config['labels'])}" if config["labels"] else ""
    tags = ", ".join(["generative", facts["family"], facts["spec"]["modality"]])
    makes = "makes" if config["num_noise"] else "makes codes of"
    unfit = "onnx" not in config and "coders_onnx" not in config
    return About(
        front=["library_name: motherlode", f"tags: [{tags}]"],
        makes=f"{makes} {facts['spec']['modality']} samples of {shape}{asked}",
        use=_use(config, files),
        limits=["The safetensors file loads into Motherlode's own networks; export to ONNX for other programs."]
        * unfit,
        origin=config["origin"],
    )


def _use(config: Mapping[str, Any], files: Sequence[str]) -> str:
    labels = ", torch.tensor([0, 1, 2, 3])" if config["num_labels"] else ""
    feed = ', "labels": np.array([0, 1, 2, 3])' if config["num_labels"] else ""
    num_noise = config["num_noise"]
    blocks = []
    if "model.safetensors" in files:
        first = "import torch\nfrom motherlode.generation.export import load\n\n"
        sampling = f'sampler = load(".")\nsamples = sampler(torch.randn(4, {num_noise}){labels})  # in [-1, 1]'
        coding = (
            'coders = load(".")\nsamples = torch.zeros(4, {})\ncodes = coders["encoder"](samples)\n'
            'restored = coders["decoder"](codes)  # in [-1, 1]'
        ).format(", ".join(map(str, config["spec"]["shape"])))
        blocks.append(f"```python\n{first}{sampling if num_noise else coding}\n```")
    if "model.onnx" in files:
        blocks.append(
            "```python\nimport numpy as np\nimport onnxruntime\n\n"
            'session = onnxruntime.InferenceSession("model.onnx")\n'
            f"noise = np.random.default_rng(0).standard_normal((4, {num_noise}), np.float32)\n"
            f'(samples,) = session.run(None, {{"noise": noise{feed}}})  # in [-1, 1]\n```'
        )
    if "encoder.onnx" in files:
        shape = ", ".join(map(str, config["spec"]["shape"]))
        blocks.append(
            "```python\nimport numpy as np\nimport onnxruntime\n\n"
            'encoder, decoder = (onnxruntime.InferenceSession(f"{name}.onnx") for name in ("encoder", "decoder"))\n'
            f'(encoded,) = encoder.run(None, {{"samples": np.zeros((4, {shape}), np.float32)}})  # in [-1, 1]\n'
            '(restored,) = decoder.run(None, {"encoded": encoded})\n```'
        )
    found = [config[key] for key in ("onnx",) if key in config] + list(config.get("coders_onnx", {}).values())
    if found:
        worst = ", ".join(f"{one['largest_difference']:.1e}" for one in found)
        blocks.append(f"The ONNX files were run against torch at export: largest differences {worst}.")
    return "\n\n".join(blocks)


def _data(run: Run, facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"Dataset `{facts['dataset']}` (`{facts['dataset_path']}`), {facts['train_samples']:,} samples to train on."
    try:
        dataset = run.dataset
        summary = dataset.summary()
        heldout = len(dataset.split("heldout"))
    except MotherlodeError:
        yield "\nIt is no longer at hand, so its licence and its cleaning cannot be stated here."
        return
    dropped = sum(summary["dropped"].values())
    kept = f"Of {summary['in']:,} raw samples {summary['kept']:,} were kept and {dropped:,} dropped"
    yield f"{heldout:,} held out. {kept}{':' if dropped else '.'}"
    if dropped:
        yield "\n" + _table(sorted(summary["dropped"].items(), key=lambda item: -item[1]))
    yield f"\nLicences: {_licences(dataset)}"


def _licences(dataset: Dataset) -> str:
    """The licences of the training samples, the commonest first, and how many name none."""
    import numpy as np

    train = dataset.split("train")
    if "licence" not in train.columns:
        return "not recorded"
    names, counts = np.unique([str(name or "none given") for name in train.column("licence")], return_counts=True)
    order = np.argsort(-counts)[:_MOST_LICENCES]
    return "; ".join(f"{names[place]} ({counts[place]:,})" for place in order)


def _cost(facts: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    seen = facts["samples"]
    yield "steps", f"{facts['step']:,} of {facts['total_steps']:,} ({facts['status']})"
    yield "samples seen", f"{seen:,} ({seen / max(facts['train_samples'], 1):.1f} passes over the data)"
    if facts["spec"].get("tokens"):
        yield "tokens seen", f"{seen * facts['spec']['shape'][0]:,}"
    yield "operations", f"{facts['flops']:.3g} FLOP, forward and backward, counted"
    yield "time", f"{facts['seconds']:,.0f} s on {facts['device']}, {facts['ranks']} process(es)"
    yield "peak memory", f"{facts['peak_memory_bytes'] / 1e9:.2f} GB"
    yield "energy", f"{facts['kwh']:.3g} kWh ({facts['kwh_assumption']})"
    yield "price", f"{facts['money']:.2f} {facts['currency']}" if facts["money"] else "no price given"


def _measures(run: Run) -> str:
    from motherlode.measures.report import Report

    try:
        report = Report.open(run.path)
    except MotherlodeError:
        return "Nothing was measured: run `lode evaluate`."
    lines = ["| measure | value | interval | extractor | samples | reference |", "|---|---|---|---|---|---|"]
    for name, measure in report.items():
        interval = f"{measure.low:.4g} to {measure.high:.4g} ({measure.level:.0%})"
        interval = "-" if math.isnan(measure.low) else interval
        reference = f"{measure.num_reference:,} {measure.reference}" if measure.num_reference else measure.reference
        lines.append(
            f"| {name} | {measure.value:.4g} | {interval} | {measure.extractor or '-'} | {measure.num_samples:,} | "
            f"{reference or '-'} |"
        )
    return "\n".join(lines)


def _limits(facts: Mapping[str, Any], about: About) -> Iterator[str]:
    yield "It makes samples like its training data, with that data's gaps and biases; it knows nothing else."
    yield "Measures compare only with others of the same extractor, resize, type and number of samples."
    yield from about.limits
    if facts["status"] != "finished":
        yield f"Its training had not finished: {facts['step']:,} of {facts['total_steps']:,} steps."
    for warning in facts["warnings"]:
        yield f"During training: {warning}"


def _table(rows: Any) -> str:
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in rows)])
