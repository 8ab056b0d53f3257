import pytest
import yaml

from seg_node.commands.train import _as_reported
from seg_node.share import share_path, shipped
from seg_node.training.recipe import Recipe, load_recipe, names
from seg_node.yaml_table import read_table


@pytest.mark.parametrize("name", names())
def test_every_shipped_recipe_reads_and_writes_itself(name: str, tmp_path) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    (tmp_path / "copy.yaml").write_text(recipe.as_text())
    assert load_recipe(tmp_path / "copy.yaml") == recipe


def test_the_papers_recipe_is_the_papers() -> None:
    """RDS-Net, section IV-B."""
    recipe = load_recipe("rdsnet_camvid")
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.weight_decay) == ("adam", 5e-4, 2e-4)
    assert (recipe.schedule.name, recipe.schedule.factor) == ("plateau", 0.5)
    assert recipe.augment.flip and recipe.augment.translate == 2 and recipe.augment.scale == (1, 1)
    assert recipe.loss.class_weights == "enet"


def test_changes() -> None:
    recipe = load_recipe("rdsnet_camvid", ("epochs=3", "optimizer.lr=1e-2", "network.options.order=authors", "ema=0.9"))
    assert recipe.epochs == 3 and recipe.optimizer.lr == 0.01
    assert recipe.network.options == {"order": "authors"} and recipe.ema == 0.9


@pytest.mark.parametrize(
    "change, says",
    [
        ("epoch=3", "epoch.*unknown.*epochs"),
        ("optimizer.rate=1", "optimizer.rate.*unknown"),
        ("epochs=many", "epochs.*int"),
        ("input.size=[1]", "input.size.*2"),
        ("epochs", "key=value"),
        ("optimizer={name: adam}", "optimizer.lr.*missing"),
        ("train=camvid", "train.*list"),
        ("train=[]", "train"),
        ("epochs=0", "epochs.*1 or more"),
        ("epochs=-1", "epochs.*1 or more"),
        ("batch_size=0", "batch_size"),
        ("validate_every=0", "validate_every"),
        ("validate.per_epoch=0", "per_epoch"),
        ("input.size=[0, 480]", "input.size"),
        ("input.mean=[0.4]", "input.mean"),
        ("input.std=[0.3, 0, 0.3]", "input.std"),
        ("augment.scale=[0, 2]", "augment.scale"),
        ("augment.translate=-1", "augment.translate"),
        ("ema=1.5", "ema"),
        ("optimizer.lr=-1", "optimizer.lr"),
        ("optimizer.lr=.nan", "optimizer.lr"),
        ("schedule.factor=.nan", "schedule.factor"),
        ("loss.ohem={keep: 7}", "loss.ohem.keep"),
        ("seed=-1", "seed"),
        ("epochs=[1", r"epochs=\[1.*YAML"),
    ],
)
def test_a_wrong_change_names_its_key(change: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        load_recipe("rdsnet_camvid", (change,))


def test_an_unknown_recipe_lists_the_names() -> None:
    with pytest.raises(ValueError, match="rdsnet_camvid"):
        load_recipe("rdsnet_camvit")


@pytest.mark.parametrize("text, says", [("", "table"), ("{", "YAML"), ("epochs: 1\nepochs: 2\n", "twice")])
def test_a_file_that_is_no_recipe(tmp_path, text: str, says: str) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=rf"mine\.yaml.*{says}"):
        load_recipe(tmp_path / "mine.yaml", ("epochs=3",))


def test_a_file_is_named(tmp_path) -> None:
    table = yaml.safe_load(load_recipe("rdsnet_camvid").as_text())
    del table["epochs"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(table))
    with pytest.raises(ValueError, match=r"mine\.yaml.*epochs"):
        load_recipe(tmp_path / "mine.yaml")


# ---------------------------------------------------------------- what the papers say


def stages(name: str) -> tuple[Recipe, ...]:
    recipe = load_recipe(name)
    return recipe.stages or (recipe,)


@pytest.mark.parametrize("name", [n for n in names() if n.endswith("_cityscapes") and "c3net" in n])
def test_c3_nets_are_trained_as_their_paper_says(name: str) -> None:
    """C3, section 4.1."""
    encoder, whole = stages(name)
    for stage in (encoder, whole):
        how = stage.schedule
        assert (stage.optimizer.name, stage.optimizer.lr, stage.optimizer.weight_decay) == ("adam", 1e-3, 2e-4)
        assert (how.name, how.factor, how.milestones, how.unit, stage.epochs) == ("step", 0.5, (150, 250), "epoch", 300)
        assert stage.augment.flip and min(stage.augment.scales) < 1 < max(stage.augment.scales)
        assert stage.input.size == (512, 1024) and stage.label_set == "cityscapes20"
    assert encoder.network.options["part"] == "encoder" and "part" not in whole.network.options


@pytest.mark.parametrize("name", [n for n in names() if "drn" in n and n.endswith("_imagenet")])
def test_imagenet_is_trained_as_the_c3_paper_says(name: str) -> None:
    """C3, section 4.3: 120 epochs, divided by 10 every 30."""
    (recipe,) = stages(name)
    how = recipe.optimizer
    assert (how.name, how.lr, how.momentum, how.weight_decay) == ("sgd", 0.1, 0.9, 1e-4)
    assert (recipe.epochs, recipe.schedule.milestones, recipe.schedule.factor) == (120, (30, 60, 90), 0.1)


def test_ndnet_is_trained_as_its_paper_says() -> None:
    """NDNet, section III-A."""
    (recipe,) = stages("ndnet45_cityscapes")
    assert (recipe.optimizer.name, recipe.optimizer.lr, recipe.optimizer.momentum) == ("sgd", 0.1, 0.9)
    assert (recipe.steps, recipe.schedule.milestones, recipe.schedule.unit) == (80_000, (35_000, 60_000), "step")
    assert (recipe.batch_size, recipe.augment.crop) == (16, (1024, 1024))
    assert recipe.epochs * (2975 // recipe.batch_size) >= recipe.steps  # the steps end it, not the epochs


@pytest.mark.parametrize("name", [n for n in names() if "aspp" in n or "mobilenet" in n])
def test_dual_aspp_has_no_augmentation(name: str) -> None:
    """Dual ASPP, section 4.1: not even flips, at full resolution."""
    (recipe,) = stages(name)
    assert recipe.augment == type(recipe.augment)() and recipe.input.size == (1024, 2048)


def test_gradual_grouping_is_as_its_paper_says() -> None:
    """Gradual Grouping, section 4.3: alpha from 1 to 0, at 0, the decoder with 5e-20 for the encoder, both at 5e-4."""
    gradual, settle, decoder, both = stages("dg2_star_gradual_cityscapes")
    assert (gradual.alpha, settle.alpha, decoder.alpha, both.alpha) == ((1, 0), (0, 0), None, None)
    assert [s.network.options.get("form") for s in (gradual, settle, decoder, both)] == ["dense", "dense", None, None]
    rates = {entry.of: entry.lr_times * decoder.optimizer.lr for entry in decoder.trains}
    assert rates == pytest.approx({"encoder": 5e-20, "all": 5e-4}) and not both.trains and both.optimizer.lr == 5e-4
    assert load_recipe("dg2_star_cityscapes").reported[0].gt_scale == 2


def papers_rows() -> list[tuple[str, str, str, str]]:
    """(paper, table, row, network) of the papers' tables, as far as the network is built here."""
    return [
        (path.stem, title, row["name"], row["network"])
        for path in shipped("config/papers", "*.yaml")
        for title, table in read_table(path)["tables"].items()
        for row in table["rows"]
        if "network" in row
    ]


# rows without a score of their own in the paper
UNSCORED = {
    ("dual_aspp", "Table 1", "ResNet101"),
    ("dual_aspp", "Table 3", "ENet"),  # quoted, and elsewhere with another figure: see enet_cityscapes
    ("dual_aspp", "Table 3", "ESPNet"),
    ("dual_aspp", "Table 3", "ERFNet"),
    ("ndnet", "Table II", "wider NDNet29"),
    ("rdsnet", "Table I", "RDS-Net (12 classes)"),
    ("rdsnet", "Table I", "RDS-Net (19 classes)"),
}


def test_every_result_that_a_paper_reports_has_a_recipe() -> None:
    reported = {
        (result.paper, result.table, result.row): load_recipe(name)
        for name in names()
        for result in load_recipe(name).reported
    }
    for paper, table, row, network in papers_rows():
        if (paper, table, row) in UNSCORED:
            continue
        assert (paper, table, row) in reported, f"no recipe for {row} of {paper}, {table}"
        assert (reported[paper, table, row].network.name) == network


@pytest.mark.parametrize("name", names())
def test_a_result_has_a_score_and_a_paper_of_ours(name: str) -> None:
    for result in load_recipe(name).reported:
        assert share_path(f"config/papers/{result.paper}.yaml")
        assert (result.miou is None) == (result.top1 is not None) and result.void in ("ignored", "counted")


# ---------------------------------------------------------------- how recipes build on one another

BASE = """
name: base
about: for tests
label_set: camvid11
network: {name: rdsnet, options: {dropout: [0.1, 0.1]}}
input: {size: [48, 64], mean: [0, 0, 0], std: [1, 1, 1]}
train: [{dataset: street, split: train}]
validate: {dataset: street, split: val}
epochs: 4
batch_size: 4
optimizer: {name: sgd, lr: 0.1, momentum: 0.5}
start: weights.pth
"""


@pytest.fixture
def base(tmp_path):
    (tmp_path / "base.yaml").write_text(BASE)

    def write(text: str, *changes: str) -> Recipe:
        (tmp_path / "mine.yaml").write_text("base: base.yaml\nname: mine\n" + text)
        return load_recipe(tmp_path / "mine.yaml", changes)

    return write


def test_a_recipe_is_its_base_but_for_what_it_says(base) -> None:
    recipe = base("optimizer: {lr: 0.2}\nnetwork: {options: {order: authors}}")
    assert recipe.name == "mine" and recipe.epochs == 4
    assert (recipe.optimizer.lr, recipe.optimizer.momentum) == (0.2, 0.5)
    assert recipe.network.options == {"dropout": [0.1, 0.1], "order": "authors"}


def test_a_table_with_a_name_of_its_own_replaces(base) -> None:
    recipe = base("optimizer: {name: adam, lr: 0.01}\nnetwork: {name: enet}")
    assert (recipe.optimizer.lr, recipe.optimizer.momentum) == (0.01, 0.9) and recipe.network.options == {}


STAGES = "stages: [{name: one, epochs: 2, network: {options: {order: authors}}}, {name: two, batch_size: 8}]"


def test_a_stage_is_the_recipe_but_for_what_it_says(base) -> None:
    one, two = base(STAGES).stages
    assert (one.name, one.epochs, one.batch_size) == ("one", 2, 4) and (two.epochs, two.batch_size) == (4, 8)
    assert one.network.options["order"] == "authors" and "order" not in two.network.options
    assert one.start == "weights.pth" and two.start is None  # the second begins with the first's
    assert not one.stages and not one.reported


def test_changes_are_of_all_stages_or_of_one(base) -> None:
    recipe = base(STAGES, "epochs=1", "stages.two.batch_size=3", "optimizer.lr=0.5", "start=mine.pth")
    one, two = recipe.stages
    assert (one.epochs, two.epochs) == (1, 1) and (one.batch_size, two.batch_size) == (4, 3)
    assert one.optimizer.lr == two.optimizer.lr == 0.5 and (one.start, two.start) == ("mine.pth", None)


def test_a_staged_recipe_reads_its_own_text(base, tmp_path) -> None:
    recipe = base(STAGES)
    (tmp_path / "text.yaml").write_text(recipe.as_text())
    assert load_recipe(tmp_path / "text.yaml") == recipe


@pytest.mark.parametrize(
    "text, says",
    [
        ("stages: [{name: a}, {name: a}]", "each once"),
        ("stages: [{name: ../a}]", "folder"),
        ("stages: [{name: a, stages: [{name: b}]}]", "no stages of its own"),
        ("stages: {name: a}", "list of tables"),
        ("stages: [{name: a, epoch: 3}]", "epoch.*unknown"),
        ("stages: [{name: a, alpha: [1, 0]}]", "keep: last"),
        ("alpha: [1, 2]\nkeep: last", "alpha"),
        ("alpha: [0, 0]\nema: 0.9", "averaged"),
        ("keep: first", "keep.*best, last"),
        ("task: detection", "task.*classification"),
        ("schedule: {name: step, unit: week}", "unit.*epoch, step"),
        ("augment: {crop: [0, 10]}", "crop"),
        ("augment: {gamma: 0.5}", "gamma"),
        ("schedule: {name: cosine, warm_up: 5}", "warm_up is a share"),
        ("stages: [{name: a}, {name: b, start: x.pt}]", "stage b has a start"),
        ("label_set: ''", "label_set.*missing"),
    ],
)
def test_what_cannot_be_meant_is_refused(base, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=rf"mine\.yaml.*{says}"):
        base(text)


def test_weights_to_begin_with_are_the_first_stages(base) -> None:
    recipe = base("stages: [{name: one}, {name: two}]", "start=other.pth")
    assert [stage.start for stage in recipe.stages] == ["other.pth", None]


def test_an_unknown_stage_lists_them(base) -> None:
    with pytest.raises(ValueError, match="stages: one, two"):
        base(STAGES, "stages.three.epochs=1")


def test_a_base_that_leads_back_is_refused(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text("base: b.yaml")
    (tmp_path / "b.yaml").write_text("base: a.yaml")
    with pytest.raises(ValueError, match="leads back"):
        load_recipe(tmp_path / "a.yaml")


def test_a_base_that_is_not_there_is_named(tmp_path) -> None:
    (tmp_path / "a.yaml").write_text("base: rdsnet_camvit")
    with pytest.raises(ValueError, match=r"a\.yaml.*base.*rdsnet_camvit"):
        load_recipe(tmp_path / "a.yaml")


@pytest.mark.parametrize("name", [name for name in names() if load_recipe(name).start in names()])
def test_a_recipe_takes_its_images_as_the_one_that_it_begins_with(name: str) -> None:
    recipe = load_recipe(name)
    assert load_recipe(str(recipe.start)).input.channels == recipe.input.channels


def test_training_scores_void_as_the_reported_result_does() -> None:
    assert load_recipe("rdsnet_camvid").counts_void and not load_recipe("rdsnet_cityscapes").counts_void
    assert load_recipe("erfnet_camvid").counts_void  # reported nowhere; it learns to say void
    assert not load_recipe("erfnet_camvid", ("loss.void_weight=0",)).counts_void


def test_stages_hand_weights_on_that_know_one_order_of_channels() -> None:
    with pytest.raises(ValueError, match=r"input\.channels differs between stages"):
        load_recipe("dg2_star_gradual_camvid", ("stages.both.input.channels=rgb",))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("d_star_cityscapes", " --dataset cityscapes --gt-scale 2"),
        ("rdsnet_camvid", " --dataset camvid --void counted"),
        ("ndnet45_cityscapes", " --dataset cityscapes"),
    ],
)
def test_what_to_evaluate_with_counts_as_the_paper_did(name: str, words: str) -> None:
    assert _as_reported(load_recipe(name)) == words
