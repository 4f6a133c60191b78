"""Recipes: strict, typed, one section a stage. What a recipe does not say has its default here and nowhere else."""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator, model_validator

from stages.core.errors import KormedError
from stages.core.records import Variant

Subset = Literal["doctor", "nurse", "pharm", "dentist"]
Loss = Literal["sigmoid", "ipo", "hinge", "robust"]
Rule = Literal[  # of quality, in the order in which they run; what each does: stages/core/quality.py
    "broken_encoding",
    "control_characters",
    "markup",
    "whitespace",
    "advert_sentences",
    "greeting",
    "too_long",
    "repeated_characters",
    "advert",
    "no_answer",
    "too_short",
    "not_korean",
    "question_is_answer",
]

PROMPT = Path(__file__).parent / "prompts" / "restructure.md"  # of restructure, unless the recipe names another
DEPARTMENTS = {  # of Hidoc, by code
    "PD000": "소아청소년과",
    "PF000": "가정의학과",
    "PMG00": "소화기내과",
    "PN000": "신경과",
    "PY000": "산부인과",
    "PR000": "재활의학과",
    "PU000": "비뇨의학과",
    "PE000": "이비인후과",
    "PP000": "정신건강의학과",
    "PO000": "정형외과",
    "PS000": "피부과",
}


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Model(Section):
    """The base model that every checkpoint stands on."""

    base: str  # hub id or local folder
    revision: str | None = None  # hub commit or tag; None: the hub's newest
    quantization: Literal["auto", "nf4", "none"] = "auto"  # auto: NF4 on a GPU, none on a CPU
    dtype: Literal["bfloat16", "float32"] = "bfloat16"  # never float16: Gemma 2 overflows in it
    # of padded rows and of generation; eager keeps Gemma 2's soft-capping (transformers#32309). Training without
    # padding (padding_free) has its own
    attention: Literal["eager", "sdpa"] = "eager"


class Collect(Section):
    """Hidoc pages to raw consults: one request at a time, as robots.txt allows, every page kept."""

    seed: int  # of the jitter
    # e-mail address or web page of who answers for this crawl, in the user agent; None: no crawl, unless offline
    contact: str | None = Field(None, pattern=r"^[!-~]+[@.][!-~]+$")
    site: str = Field("https://www.hidoc.co.kr", pattern=r"^https?://[\w.-]+(:\d+)?$")
    departments: tuple[str, ...] = Field(tuple(DEPARTMENTS), min_length=1)
    pages: int | None = Field(None, gt=0)  # list pages a department; None: until `consults` are found or none is left
    consults: int | None = Field(None, gt=0)  # usable consults to find; None: all on the list pages
    store: Path = Path("data/hidoc")  # raw pages, compressed; shared by recipes, never fetched twice
    refresh: bool = False  # True: ask for consult pages in the store again, if they have changed since
    offline: bool = False  # True: read the store alone, ask nobody; for pages that are to be parsed anew
    delay_seconds: float = Field(3.0, ge=0)  # between the end of one request and the next; robots.txt may ask for more
    jitter_seconds: float = Field(2.0, ge=0)  # up to so much more, drawn by seed
    timeout_seconds: float = Field(20.0, gt=0)  # of one request, to its last byte
    retries: int = Field(4, ge=0)  # of one page, the wait doubling each time
    retry_seconds: float = Field(5.0, gt=0)  # the first wait, unless the server names a longer one
    max_refusals: int = Field(3, ge=1)  # pages refused in a row, each after its retries, until the crawl stops
    max_unread: float = Field(0.1, ge=0, lt=1)  # share of consult pages that may not fit the known layouts

    @model_validator(mode="after")
    def _has_an_end(self) -> "Collect":
        if self.pages is None and self.consults is None:
            raise ValueError("how far to go: set pages (list pages a department) or consults (how many), or both")
        if self.offline and self.refresh:
            raise ValueError("offline asks nobody and refresh asks again; set one of them to false")
        return self


class ConsultColumns(Section):
    """Which column of the user's file is what; None: there is no such column."""

    question: str = "question"
    answer: str = "answer"
    id: str | None = None
    title: str | None = None
    patient_information: str | None = None
    instruction: str | None = None  # the report's form, from which the patient information is taken
    doctor: str | None = None
    clinic: str | None = None
    recommendations: str | None = None
    date: str | None = None
    tags: str | None = None
    department: str | None = None


class QuestionColumns(Section):
    """Which column of the user's file is what; None: there is no such column."""

    question: str = "question"
    A: str = "A"
    B: str = "B"
    C: str = "C"
    D: str = "D"
    E: str = "E"
    answer: str = "answer"  # 1 to 5, A to E or ① to ⑤
    subset: str | None = None
    split: str | None = None


class ImportConsults(Section):
    """Consults of the user's own: JSONL, CSV (or TSV) or parquet, told by the file's ending."""

    path: Path
    columns: ConsultColumns = ConsultColumns()


class ImportQuestions(Section):
    """Exam questions of the user's own: more training rows, or with `prepare.benchmark: null` the benchmark."""

    path: Path
    columns: QuestionColumns = QuestionColumns()
    subset: Subset = "doctor"  # of rows that name none


class Import(Section):
    """Data of the user's own, in `collect`'s place."""

    seed: int
    consults: ImportConsults | None = None
    questions: ImportQuestions | None = None

    @model_validator(mode="after")
    def _has_something(self) -> "Import":
        if self.consults is None and self.questions is None:
            raise ValueError("consults or questions to import were wanted, each with its path")
        return self


class Rewriter(Section):
    """Who tells question and patient information apart; the published report used aya-expanse-32b."""

    kind: Literal["local", "server", "none"] = "local"  # server: OPENAI_BASE_URL, OPENAI_API_KEY; none: as imported
    model: str = "CohereLabs/aya-expanse-32b"  # hub id or local folder; for a server the name it serves
    revision: str | None = None
    quantization: Literal["auto", "nf4", "none"] = "auto"
    temperature: float = Field(0.0, ge=0)  # of the first try; 0: greedy
    retry_temperature: float = Field(0.3, gt=0)  # of the next ones: a greedy second try would say the same again
    tries: int = Field(3, ge=1)
    max_new_tokens: int = Field(768, gt=0)
    batch_size: int = Field(8, gt=0)  # of a local model
    in_flight: int = Field(8, gt=0)  # requests at once to a server
    timeout_seconds: float = Field(120, gt=0)  # of one request to a server


class Restructure(Section):
    """Raw consults to question, patient information and answer, de-identified before and after."""

    seed: int
    rewriter: Rewriter = Rewriter()
    prompt: Path | None = None  # None: the one that kormed ships, stages/core/prompts/restructure.md
    answers: Literal["longest_in_bounds", "most_recommended", "each"] = "longest_in_bounds"
    answer_characters: tuple[int, int] = (40, 4000)  # an answer outside these is not chosen
    max_characters: int = Field(8000, gt=0)  # of title, body and patient information; a longer consult is dropped


class Quality(Section):
    """Rules that clean consults or drop them. Bounds are wide: on the demo's 72 consults they change nothing."""

    skip: tuple[Rule, ...] = ()  # rules that are not applied
    question_characters: tuple[int, int] = (8, 4000)
    answer_characters: tuple[int, int] = (30, 4000)
    min_hangul: float = Field(0.3, ge=0, le=1)  # share of the letters; drug names and lab values are Latin


class Prepare(Section):
    """KorMedMCQA and consults to training rows."""

    seed: int
    benchmark: str | None  # hub id, local mirror in the hub's layout, folder of <subset>/<split>.jsonl; None: imported
    benchmark_revision: str | None = None
    subsets: tuple[Subset, ...] = Field(("doctor", "nurse", "pharm", "dentist"), min_length=1)
    consults: Path | None = None  # JSONL in the report's form; None: collected or imported ones, or no consults
    deidentify: bool = True  # of that file; collected and imported consults always are
    quality: Quality = Quality()
    decontaminate: Literal["stem", "stem_and_choices", "report"] = "stem"  # what must be alike for a row to be dropped
    # Jaccard of 3-character shingles from which texts are alike: decontamination, duplicates and split; 1: only equal
    # ones. 0.5 was chosen on the benchmark and on planted paraphrases (tests/benchmarks/decontamination.py)
    near: float = Field(0.5, gt=0, le=1)
    # where the benchmark is an imported file that names no splits: share of the test, and examples of each subset
    drawn_test: float = Field(0.5, gt=0, lt=1)
    drawn_fewshot: int = Field(5, ge=1)
    tokenizer: str | None = None  # whose tokens are counted; None: the model's base
    tokenizer_revision: str | None = None
    heldout_consults: float = Field(0.1, gt=0, lt=1)  # share of consults no training step sees
    preference_consults: float = Field(0.5, gt=0, le=1)  # share of the other consults that get candidate answers
    reuse_sft_consults: bool = False  # True: SFT trains on the preference consults too, as a small set needs


class Lora(Section):
    """arXiv 2106.09685; targets as QLoRA has them: every linear layer (arXiv 2305.14314)."""

    r: int = Field(16, gt=0)
    alpha: int = Field(32, gt=0)
    dropout: float = Field(0.05, ge=0, lt=1)
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Training(Section):
    """What SFT and DPO have in common."""

    seed: int
    model: Model
    epochs: float = Field(gt=0)
    max_steps: int | None = Field(None, gt=0)  # None: as many as the epochs need
    learning_rate: float = Field(gt=0)
    warmup_ratio: float = Field(0.03, ge=0, lt=1)
    scheduler: Literal["linear", "cosine", "constant"] = "cosine"
    batch_size: int = Field(gt=0)  # rows a device and step
    gradient_accumulation: int = Field(1, gt=0)
    gradient_checkpointing: bool = True
    # True: rows stand in one sequence, nothing is computed for padding, and attention is kept apart by row (flex
    # attention on a GPU, a dense mask on a CPU); None: where rows are packed, or layers compiled on a GPU. Elsewhere
    # flex attention meets new lengths in every step and is compiled anew for them
    padding_free: bool | None = None
    compile: bool = False  # True: decoder layers are compiled on a GPU: slower at the start, faster then
    parallel: Literal["ddp", "fsdp"] = "ddp"  # over several GPUs; fsdp shards a base that does not fit on one
    max_length: int = Field(gt=0)  # tokens of prompt and answer together; longer rows are dropped, never cut
    optimizer: Literal["adamw_torch", "adamw_torch_fused", "paged_adamw_8bit"] = "adamw_torch"
    save_steps: int = Field(50, gt=0)  # a killed run goes on from the last multiple
    report_to: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()

    def batches_each(self, processes: int) -> int:
        """Batches that each of several processes adds up in a step: its share, where they divide; else all of them."""
        share, rest = divmod(self.gradient_accumulation, processes)
        return self.gradient_accumulation if rest else share


class Sft(Training):
    """Instruction rows to the SFT adapter."""

    epochs: float = Field(3, gt=0)
    learning_rate: float = Field(2e-4, gt=0)
    batch_size: int = Field(4, gt=0)
    max_length: int = Field(1280, gt=0)
    # rows are packed, whole, into sequences of so many tokens (best fit decreasing, arXiv 2404.10830), and batch_size
    # counts those; None: every row is a sequence of its own
    pack_tokens: int | None = Field(None, gt=0)
    lora: Lora = Lora()

    @model_validator(mode="after")
    def _packs_hold_whole_rows(self) -> "Sft":
        if self.pack_tokens is not None and self.pack_tokens < self.max_length:
            raise ValueError(f"pack_tokens is {self.pack_tokens}, a row may have max_length {self.max_length} tokens")
        if self.pack_tokens is not None and self.padding_free is False:
            raise ValueError("pack_tokens packs rows into one sequence, so padding_free cannot be false")
        return self


class Sampling(Section):
    temperature: float = Field(0.9, gt=0)
    top_p: float = Field(0.95, gt=0, le=1)


class Candidates(Section):
    """Several answers to each preference consult from the SFT model; the two most different ones are compared."""

    seed: int
    model: Model
    per_consult: int = Field(4, ge=2)
    limit: int | None = Field(None, gt=0)  # consults; None: all of the preference part
    sampling: Sampling = Sampling()
    max_new_tokens: int = Field(512, gt=0)
    batch_size: int = Field(256, gt=0)  # answers written side by side; fewer where memory or prompts are fewer
    near_identical: float = Field(
        0.9, gt=0, le=1
    )  # Jaccard of 3-character shingles from which two answers are the same
    allow_truncated: bool = False  # True: cut-off answers may be compared (a pretrained demo model hardly ever ends)


class Simulation(Section):
    """Simulated annotators, for the demo and tests: a stated rule with seeded disagreement."""

    disagreement: float = Field(0.15, ge=0, le=1)  # chance that an annotator answers at random instead of by the rule
    tie_margin: float = Field(0.05, ge=0, le=1)  # scores this near to each other are called a tie


def is_username(name: str) -> bool:
    """Whether Argilla takes it, and it is not the one that kormed itself signs in with."""
    return re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]*", name) is not None and name != "owner"


class Annotation(Section):
    """Who labels, and how often each comparison is judged."""

    seed: int
    annotators: tuple[str, ...] = Field(("annotator-1", "annotator-2"), min_length=1)
    adjudicators: tuple[str, ...] = ()  # who decide what the annotators leave undecided; none: nobody does
    responses_per_comparison: int = Field(1, ge=1)
    repeats: float = Field(0.05, ge=0, le=1)  # share of the comparisons that are shown once more with sides swapped
    port: int = Field(6900, ge=1024, le=65535)  # of the embedded server
    simulation: Simulation = Simulation()

    @field_validator("annotators", "adjudicators")
    @classmethod
    def _valid_usernames(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            if not is_username(name):
                raise ValueError(f"{name!r}: letters, digits, - and _ were wanted, and not 'owner' (Argilla's rule)")
        if len(set(names)) < len(names):
            raise ValueError("somebody is named twice")
        return names

    @model_validator(mode="after")
    def _enough_annotators(self) -> "Annotation":
        if self.responses_per_comparison > len(self.annotators):
            raise ValueError(
                f"responses_per_comparison is {self.responses_per_comparison}, "
                f"there are {len(self.annotators)} annotators"
            )
        if both := set(self.annotators) & set(self.adjudicators):
            raise ValueError(f"{', '.join(sorted(both))}: an adjudicator decides between others, so is no annotator")
        return self


class Agreement(Section):
    """How far annotators agree, with whom and with themselves, and what else moves their choice."""

    seed: int
    resamples: int = Field(2000, ge=100)  # of the comparisons, for bootstrap intervals
    longest_gap_minutes: float = Field(10, gt=0)  # between two submissions; a longer one is a break, not pace


class Preferences(Section):
    """Responses to chosen/rejected pairs."""

    seed: int
    min_responses: int = Field(1, ge=1)  # submitted responses a comparison needs
    unsafe: Literal["drop", "keep"] = "drop"  # comparisons whose better answer somebody marked as unsafe
    heldout: float = Field(0.1, ge=0, lt=1)  # share of the consults kept to measure the preference on


class Dpo(Training):
    """SFT adapter and preferences to the DPO adapter (arXiv 2305.18290)."""

    epochs: float = Field(2, gt=0)
    learning_rate: float = Field(5e-6, gt=0)
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    batch_size: int = Field(2, gt=0)
    gradient_accumulation: int = Field(4, gt=0)
    max_length: int = Field(1536, gt=0)
    beta: float = Field(0.1, gt=0)
    loss: Loss = "sigmoid"
    label_smoothing: float = Field(0.0, ge=0, lt=0.5)  # of `robust`: the share of labels taken to be wrong
    # weight of an answer's tokens beyond the other answer's length (LD-DPO, arXiv 2409.06411); None: all weigh the same
    length_desensitised: float | None = Field(None, ge=0, le=1)
    nll_weight: float = Field(0.0, ge=0)  # of the chosen answer's negative log-likelihood, added to the loss (RPO,
    # arXiv 2404.19733), against chosen log-probabilities that fall
    precompute_reference: bool = True  # the reference's log-probabilities once, before training; False: in every step
    eval_steps: int | None = Field(None, gt=0)  # steps between looks at the held-out preferences; None: at the end only
    early_stopping: int | None = Field(None, gt=0)  # looks without better reward accuracy until it stops; None: never

    @model_validator(mode="after")
    def _can_stop_early(self) -> "Dpo":
        if self.early_stopping is not None and self.eval_steps is None:
            raise ValueError("early_stopping counts looks at the held-out preferences; set eval_steps too")
        return self

    @model_validator(mode="after")
    def _every_setting_does_something(self) -> "Dpo":
        """TRL takes label smoothing with every loss and leaves it out of all of ours but `robust`."""
        if self.label_smoothing > 0 and self.loss != "robust":
            raise ValueError(f"label_smoothing does nothing with loss {self.loss}; set loss to robust")
        if self.length_desensitised is not None and self.loss == "ipo":
            raise ValueError(
                "ipo takes the mean over an answer's tokens already; length_desensitised is for the others"
            )
        return self


class Evaluate(Section):
    """lm-eval's stock KorMedMCQA 3.0, the exam in other forms, other tasks of lm-eval, answers to held-out consults."""

    seed: int
    model: Model
    fewshot: int = Field(5, ge=0)
    chat_template: bool = True
    limit: int | None = Field(None, gt=0)  # questions a subset; None: all
    batch_size: int = Field(8, gt=0)
    max_gen_toks: int | None = Field(None, gt=0)  # None: the task's own
    variants: tuple[Variant, ...] = ("zero_shot", "chat_form")  # other forms of the exam, every question in each
    heldout_limit: int | None = Field(None, gt=0)  # held-out consults answered; None: all
    heldout_max_new_tokens: int = Field(512, gt=0)
    tasks: tuple[str, ...] = ()  # other lm-eval tasks, groups or tags, so that a loss elsewhere shows
    task_folder: Path | None = None  # folder of lm-eval task files (.yaml) of your own; None: lm-eval's tasks alone

    @field_validator("tasks", "variants")
    @classmethod
    def _named_once(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        if len(set(names)) < len(names):
            raise ValueError(f"a {str(info.field_name).removesuffix('s')} is named twice")
        return names


class HeadToHead(Section):
    """Round two: the same people compare SFT's and DPO's answers to held-out consults, blinded."""

    seed: int
    limit: int | None = Field(None, gt=0)  # consults; None: all that both checkpoints answered
    resamples: int = Field(2000, ge=100)  # of the consults, for the win rate's interval


class Report(Section):
    """Everything measured to report.html and report.md."""

    side_by_side: int = Field(12, ge=0)  # held-out consults shown with both answers


SECTIONS: dict[str, type[Section]] = {
    "collect": Collect,
    "import": Import,
    "restructure": Restructure,
    "prepare": Prepare,
    "sft": Sft,
    "candidates": Candidates,
    "annotation": Annotation,
    "agreement": Agreement,
    "preferences": Preferences,
    "dpo": Dpo,
    "evaluate": Evaluate,
    "head_to_head": HeadToHead,
    "report": Report,
}
RENAMED = {"compare": "head_to_head"}  # sections of old recipes
OPTIONAL = ("collect", "import")  # a recipe without them crawls and imports nothing
SHARED = ("seed", "model")  # written once at the top of a recipe, part of every section that declares them


class Recipe(Section):
    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]*$")  # the run's name: models/<name>/
    seed: int = 42
    model: Model
    collect: Collect | None = None  # None: nothing is crawled
    import_: Import | None = Field(None, alias="import")  # None: nothing is imported
    restructure: Restructure
    prepare: Prepare
    sft: Sft
    candidates: Candidates
    annotation: Annotation
    agreement: Agreement
    preferences: Preferences
    dpo: Dpo
    evaluate: Evaluate
    head_to_head: HeadToHead
    report: Report

    @property
    def restructures(self) -> bool:
        """Whether raw consults are collected or imported, which restructure then turns into consults."""
        return self.collect is not None or (self.import_ is not None and self.import_.consults is not None)

    @property
    def has_consults(self) -> bool:
        return self.restructures or self.prepare.consults is not None

    @model_validator(mode="after")
    def _one_source(self) -> "Recipe":
        sources = {
            "collect": self.collect,
            "import.consults": self.import_ and self.import_.consults,
            "prepare.consults": self.prepare.consults,
        }
        given = [name for name, value in sources.items() if value is not None]
        if len(given) > 1:
            raise ValueError(f"consults come from one place, and {' and '.join(given)} are set; set the others to null")
        if self.prepare.benchmark is None and (self.import_ is None or self.import_.questions is None):
            raise ValueError("prepare.benchmark is null, and no exam questions are imported (import.questions)")
        return self

    @model_validator(mode="before")
    @classmethod
    def _share(cls, raw: Any) -> Any:
        """Give every section the shared keys that it declares and does not set: a stage needs only its own section."""
        if not isinstance(raw, dict):
            return raw
        shared = {"seed": cls.model_fields["seed"].default, **{key: raw[key] for key in SHARED if key in raw}}
        spread = dict(raw)
        for name, kind in SECTIONS.items():
            section = raw.get(name)
            if section is None and name in OPTIONAL:
                continue
            if section is None:
                section = {}
            if isinstance(section, dict):
                spread[name] = _merge({k: v for k, v in shared.items() if k in kind.model_fields}, section)
        model, prepare = raw.get("model"), spread.get("prepare")
        if isinstance(model, dict) and isinstance(prepare, dict) and prepare.get("tokenizer") is None:
            spread["prepare"] = prepare | {
                "tokenizer": model.get("base"),
                "tokenizer_revision": model.get("revision"),
            }
        return spread


class _Loader(yaml.SafeLoader):
    """YAML keeps the last of two equal keys and says nothing; here that is an error."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key.value} stands here twice", key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def load_recipe(path: Path, overrides: Sequence[str] = ()) -> Recipe:
    """The recipe at `path` with everything it extends, and `key=value` overrides, checked as one.

    Relative paths in a recipe are relative to the working directory, as in the commands that name the recipe.

    Raises:
        KormedError: lists every problem at once, with the nearest known key for each unknown one.
    """
    raw = _read(path, seen=())
    for override in overrides:
        _override(raw, override)
    try:
        return Recipe.model_validate(raw)
    except ValidationError as error:
        raise KormedError(_problems(path, error)) from None


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise KormedError(f"{path}: extends itself through {' -> '.join(p.name for p in seen)}; break the circle")
    try:
        raw = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise KormedError(f"{path}: no such recipe{_nearest_recipe(path)}") from None
    except (IsADirectoryError, UnicodeDecodeError):
        raise KormedError(f"{path}: a YAML file in UTF-8 was wanted") from None
    except yaml.YAMLError as error:
        raise KormedError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(raw, dict):
        raise KormedError(f"{path}: a mapping of sections was wanted, found {type(raw).__name__}")
    parent = raw.pop("extends", None)
    if parent is None:
        return raw
    if not isinstance(parent, str):
        raise KormedError(f"{path}: extends: the path of one recipe was wanted, found {parent!r}")
    above = path.parent / parent
    if not above.exists():
        raise KormedError(
            f"{path}: extends: {above} is not there; the path is taken from the recipe's own folder, so a copy "
            f"elsewhere needs the way from there, for example ../recipes/{Path(parent).name}"
        )
    return _merge(_read(above, (*seen, path.resolve())), raw)


def _merge(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for key, value in above.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _override(raw: dict[str, Any], override: str) -> None:
    key, equals, value = override.partition("=")  # the first = only: values may hold more
    if not equals or not key:
        raise KormedError(f"--set {override}: key=value was wanted, for example sft.learning_rate=1e-4")
    if key == "extends":
        raise KormedError(f"--set {override}: extends belongs in a recipe file; write a short one that names it")
    *parents, last = key.split(".")
    section = raw
    for parent in parents:
        below = section.get(parent)
        if below is None:
            below = section[parent] = {}
        if not isinstance(below, dict):
            raise KormedError(f"--set {override}: {parent} is not a section")
        section = below
    try:
        section[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        section[last] = value


def _problems(path: Path, error: ValidationError) -> str:
    top_level = {detail["loc"] for detail in error.errors()}
    lines = []
    for detail in error.errors():
        loc = detail["loc"]
        if len(loc) > 1 and loc[1] in SHARED and loc[1:] in top_level:
            continue  # the shared section's own problem, met again in each section that shares it
        key = ".".join(map(str, loc))
        match detail["type"]:
            case "extra_forbidden":
                lines.append(f"  {key}: unknown key{_nearest_key(loc)}")
            case "missing":
                lines.append(f"  {key}: missing")
            case _:
                message = detail["msg"].removeprefix("Value error, ")
                whole = isinstance(detail["input"], dict)  # a section, or all of the recipe: no value to show
                lines.append(
                    f"  {key or 'recipe'}: {message}" + ("" if whole else f" (found {str(detail['input'])[:60]!r})")
                )
    return "\n".join([f"{path}: {len(lines)} problem{'s' * (len(lines) != 1)}", *lines])


def _nearest_key(loc: tuple[int | str, ...]) -> str:
    model: type[BaseModel] = Recipe
    for part in loc[:-1]:
        field = {field.alias or name: field for name, field in model.model_fields.items()}.get(str(part))
        kinds = [field.annotation, *get_args(field.annotation)] if field else []  # a section, or one that may be None
        below = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not below:
            return ""
        model = below[0]
    known = [field.alias or name for name, field in model.model_fields.items()]
    known += ["extends"] if model is Recipe else []
    if model is Recipe and loc[-1] in RENAMED:
        return f"; it is called {RENAMED[str(loc[-1])]} now"
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    return f"; did you mean {near[0]}?" if near else f"; known here: {', '.join(known)}"


def _nearest_recipe(path: Path) -> str:
    known = sorted(map(str, Path("recipes").rglob("*.yaml")))
    near = difflib.get_close_matches(str(path), known, n=1, cutoff=0.4)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join(known)}" if known else ""


def subsets() -> tuple[str, ...]:
    return get_args(Subset)
