from pathlib import Path

import numpy as np
import pytest
import yaml
from cards import card_table

torch = pytest.importorskip("torch")

from seg_node import networks  # noqa: E402
from seg_node.label_set import load_label_set  # noqa: E402
from seg_node.model_card import load_card  # noqa: E402
from seg_node.training.checkpoint import save_weights  # noqa: E402
from seg_node.training.distillation import Distillation, distillation_loss, shared_classes  # noqa: E402
from seg_node.training.recipe import Recipe, load_recipe  # noqa: E402


def taught_by(teacher: Path, *changes: str) -> Recipe:
    return load_recipe("modern_camvid_all", (f"teacher.model={teacher}", *changes))


def batch(size: tuple[int, int] = (48, 64)) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (2, *size, 3)).astype(np.uint8)
    return torch.from_numpy(images), torch.from_numpy(rng.integers(0, 11, (2, *size)))


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_the_loss_is_the_softened_divergence(temperature: float) -> None:
    generator = torch.Generator().manual_seed(1)
    student, teacher = torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator)

    def soft(logits: torch.Tensor) -> np.ndarray:
        raised = np.exp(logits.numpy().astype(float) / temperature)
        return raised / raised.sum(1, keepdims=True)

    p, q = soft(teacher), soft(student)
    expected = (p * np.log(p / q)).sum(1).mean() * temperature**2
    assert float(distillation_loss(student, teacher, temperature)) == pytest.approx(expected, rel=1e-5)
    assert float(distillation_loss(teacher, teacher, temperature)) == pytest.approx(0, abs=1e-6)


def test_the_teacher_sees_what_it_would_on_the_robot(exported: Path) -> None:
    """Its own network and normalisation, computed here by hand; the student has a void class that it does not know."""
    recipe = taught_by(exported, "teacher.weight=3", "teacher.temperature=1")
    images, labels = batch()
    labels[:, :10] = 255
    card = load_card(exported)
    network = networks.build("rdsnet", 11)
    network.load_state_dict(torch.load(exported / "weights.pt", weights_only=True))
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (card.mean, card.std))
    pixels = images.permute(0, 3, 1, 2).float()
    if card.channels == "rgb":
        pixels = pixels.flip(1)
    with torch.no_grad():
        teacher = network.eval()((pixels / card.scale - mean) / std)
    student = torch.randn(2, 12, 48, 64, generator=torch.Generator().manual_seed(1))
    inside = labels != 255
    expected = (
        3
        * torch.nn.functional.kl_div(
            student[:, :11].log_softmax(1).movedim(1, -1)[inside],
            teacher.log_softmax(1).movedim(1, -1)[inside],
            reduction="sum",
            log_target=True,
        )
        / int(inside.sum())
    )
    found = Distillation(recipe)(images, student, labels)
    assert float(found) == pytest.approx(float(expected), rel=1e-4)


def test_only_the_student_learns_and_only_it_is_saved(exported: Path) -> None:
    distillation = Distillation(taught_by(exported)).train()
    teacher = distillation._teacher[0]
    assert not distillation.state_dict() and not list(distillation.parameters())
    assert not teacher.network.training and not any(p.requires_grad for p in teacher.parameters())
    distillation.to(torch.float64)  # it goes along
    assert next(teacher.parameters()).dtype == torch.float64


def test_a_student_near_its_teacher_costs_less(exported: Path) -> None:
    distillation = Distillation(taught_by(exported))
    images, labels = batch()
    right = torch.cat([distillation._teacher[0](images), torch.zeros(2, 1, 48, 64)], 1)
    assert float(distillation(images, right, labels)) == pytest.approx(0, abs=1e-6)
    wrong = right.clone().requires_grad_()
    loss = distillation(images, wrong.roll(1, 1), labels)
    loss.backward()
    assert float(loss) > 1e-4 and wrong.grad.any()


def test_nothing_labelled_teaches_nothing(exported: Path) -> None:
    images, labels = batch()
    logits = torch.zeros(2, 12, 48, 64, requires_grad=True)
    loss = Distillation(taught_by(exported))(images, logits, torch.full_like(labels, 255))
    loss.backward()
    assert loss.item() == 0 and not logits.grad.any()


def test_classes_are_matched_by_name() -> None:
    camvid11, camvid12 = load_label_set("camvid11"), load_label_set("camvid12")
    ours, theirs = shared_classes(camvid12, camvid11, "card")
    assert [camvid11.names[i] for i in ours] == [camvid12.names[i] for i in theirs] == list(camvid11.names)
    ours, _ = shared_classes(camvid12, camvid12, "card")
    assert len(ours) == 12  # void too, where both have it


def test_a_teacher_of_other_classes_is_refused(exported: Path) -> None:
    with pytest.raises(ValueError, match=r"card\.yaml.*cannot teach cityscapes19.*rider"):
        Distillation(load_recipe("modern_cityscapes", (f"teacher.model={exported}",)))


def test_a_model_that_is_no_network_of_ours_is_refused(tmp_path: Path) -> None:
    save_weights(networks.build("rdsnet", 11).state_dict(), tmp_path / "weights.pt")
    table = card_table(files={"torch": {"path": "weights.pt"}})
    table["network"]["name"] = "external"
    (tmp_path / "card.yaml").write_text(yaml.safe_dump(table), encoding="utf-8")
    with pytest.raises(ValueError, match=r"card\.yaml"):
        Distillation(taught_by(tmp_path))


def test_a_recipe_without_teacher_has_none() -> None:
    with pytest.raises(ValueError, match="no teacher"):
        Distillation(load_recipe("modern_camvid"))
