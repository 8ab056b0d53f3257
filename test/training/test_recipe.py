import pytest
import yaml

from seg_node.training.recipe import load_recipe, names


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
