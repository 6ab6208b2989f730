"""The other rows of Table 1: deterministic, both paths, attention, without W; and uncertainty."""

import pytest
import torch
from torch import nn

from affcache.errors import RecipeError
from stages.train.ap.attention import ContextAttention
from stages.train.ap.settings import PATHS
from stages.train.gaussians import Gaussian
from stages.train.heads import head_class
from stages.train.heads.ap import AffectiveProcess
from stages.train.recipe import load
from tests.stages.train.ap.ap_windows import a_head, drawn, sizes, some_windows

RECIPES = (
    "ap", "ap-kl", "ap-reg", "ap-reg-kl", "ap-det", "ap-plus-det", "ap-plus-det-att",
    "ap-without-w", "ap-au-bp4d", "ap-au-disfa",
)  # fmt: skip


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_learns_a_batch(name: str) -> None:
    recipe = load(recipe=name)
    targets = {"ap-au-bp4d": 5, "ap-au-disfa": 12}.get(name, 2)
    torch.manual_seed(0)
    head = head_class(recipe.head)(sizes(12, targets), recipe.model)
    windows = some_windows(6, 40, torch.float32, targets)
    optimiser = torch.optim.Adam(head.parameters(), lr=3e-3)
    values = []
    for k in range(40):
        optimiser.zero_grad()
        loss = head.loss(windows, drawn(k))["loss"]
        loss.backward()
        optimiser.step()
        values.append(loss.item())
    assert sum(values[-5:]) < sum(values[:5])
    predicted = head.predict(windows)
    assert predicted.mean.shape == (6, 40, targets)
    assert predicted.mean[windows.mask].isfinite().all()


@pytest.mark.parametrize("path", PATHS)
def test_every_path_reaches_every_parameter(path: str) -> None:
    head = a_head(path=path, context=0)
    head.loss(some_windows(), drawn())["loss"].backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("path", PATHS)
def test_no_path_looks_at_frames_that_do_not_count_or_at_their_order(path: str) -> None:
    head, windows = a_head(path=path, selection="random", context=0), some_windows()
    garbage = windows._replace(
        features=windows.features.masked_fill(~windows.mask[..., None], 77.0),
        pseudo=windows.pseudo.nan_to_num(5.0),
        labels=windows.labels.nan_to_num(-9.0),
    )
    assert head.loss(windows, drawn())["loss"] == head.loss(garbage, drawn())["loss"]
    straight = head.predict(windows)
    torch.testing.assert_close(head.predict(garbage).mean, straight.mean, equal_nan=True)
    order = torch.randperm(20, generator=drawn(3))
    shuffled = head.predict(type(windows)(*(rows[:, order] for rows in windows)))
    torch.testing.assert_close(shuffled.mean, straight.mean[:, order], equal_nan=True)


@pytest.mark.parametrize("path", PATHS)
def test_a_window_without_any_frame_leaves_loss_and_gradients_finite(path: str) -> None:
    head, windows = a_head(path=path, context=0, loss="nll+reg"), some_windows()
    mask = windows.mask.clone()
    mask[1] = False
    head.loss(windows._replace(mask=mask), drawn())["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in head.parameters())


def test_labels_that_are_not_known_contribute_exactly_nothing() -> None:
    """As where two tasks are joined and a frame has labels of one."""
    head, windows = a_head(truth_probability=1.0, loss="nll+reg"), some_windows()
    partial = windows.labels.clone()
    partial[..., 1] = torch.nan
    head.loss(windows._replace(labels=partial), drawn())["loss"].backward()
    for layer in (head.mean, head.std):
        assert layer.weight.grad is not None
        assert torch.equal(layer.weight.grad[1], torch.zeros(8, dtype=torch.float64))
        assert layer.weight.grad[0].abs().sum() > 0


def test_a_deterministic_process_draws_nothing_and_has_one_branch() -> None:
    head, windows = a_head(path="deterministic", context=0, smallest_context=20), some_windows()
    assert not [name for name, _ in head.named_parameters() if name.startswith("latent_std")]
    shown_truth = a_head(
        path="deterministic", context=0, smallest_context=20, truth_probability=1.0
    )
    losses = {shown_truth.loss(windows, drawn(k))["loss"].item() for k in range(5)}
    assert len(losses) == 1
    predicted = head.predict(windows)
    assert set(predicted.details) == {"decoder_std", "context"}
    assert torch.equal(predicted.details["context"], windows.mask)
    with pytest.raises(RecipeError, match="draws no samples"):
        head.sample(windows, 3, drawn())


def test_the_second_path_is_the_printed_decoder_with_one_more_input() -> None:
    head, windows = a_head(path="both"), some_windows()
    first, posterior, context = head.summarise(windows)
    r = head.encode(windows.features, head.pseudo(windows))
    for i in range(3):
        summary = r[i, context[i]].mean(0).expand(20, -1)
        z = posterior.mean[i].expand(20, -1)
        given = torch.cat([windows.features[i], z, summary], dim=-1)
        hidden = torch.relu(head.decoder(head.decoder.first(given)))
        torch.testing.assert_close(head.decode(first, posterior.mean).mean[i], head.mean(hidden))


def test_attention_is_torchs_multi_head_attention() -> None:
    torch.manual_seed(1)
    mine = ContextAttention(12, 8, 2).double()
    theirs = nn.MultiheadAttention(8, 2, kdim=12, vdim=8, batch_first=True).double()
    features = torch.randn(3, 20, 12, dtype=torch.float64)
    r = torch.randn(3, 20, 8, dtype=torch.float64)
    context = torch.rand(3, 20) < 0.4
    with torch.no_grad():
        theirs.q_proj_weight.copy_(torch.eye(8))
        theirs.k_proj_weight.copy_(mine.key.weight)
        theirs.v_proj_weight.copy_(mine.value.weight)
        theirs.in_proj_bias.zero_()
        theirs.in_proj_bias[16:] = mine.value.bias
        theirs.out_proj.load_state_dict(mine.out.state_dict())
        expected, _ = theirs(mine.query(features), features, r, key_padding_mask=~context)
        torch.testing.assert_close(mine(features, r, context), expected)


def test_attention_without_a_preference_is_the_mean() -> None:
    attention = ContextAttention(12, 8, 2).double()
    nn.init.zeros_(attention.key.weight)
    r, context = torch.randn(2, 9, 8).double(), torch.rand(2, 9) < 0.6
    context[:, 0] = True
    heard = attention(torch.randn(2, 9, 12).double(), r, context)
    for i in range(2):
        mean = attention.out(attention.value(r[i, context[i]].mean(0)))
        torch.testing.assert_close(heard[i], mean.expand(9, -1))


def test_without_w_no_pseudo_label_is_ever_seen() -> None:
    head, windows = a_head(pseudo_labels="withheld"), some_windows()
    other = windows._replace(pseudo=windows.pseudo * -3 + 1)
    assert head.loss(windows, drawn())["loss"] == head.loss(other, drawn())["loss"]
    torch.testing.assert_close(
        head.predict(windows).mean, head.predict(other).mean, equal_nan=True, rtol=0, atol=0
    )
    seen = a_head(pseudo_labels="shown")
    assert seen.loss(windows, drawn())["loss"] != seen.loss(other, drawn())["loss"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"path": "deterministic", "loss": "nll+kl", "context": 0}, "needs a random latent"),
        ({"path": "deterministic"}, "no uncertainty to choose its 40 context frames of lowest by"),
        ({"path": "both+attention", "heads": 3}, "does not divide into model.heads = 3"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(
    settings: dict[str, object], message: str
) -> None:
    with pytest.raises(RecipeError, match=message):
        a_head(**settings)


@pytest.mark.parametrize("path", ["latent", "both", "both+attention"])
def test_the_latents_share_of_the_deviation_is_exact_for_a_narrow_latent(path: str) -> None:
    """Against 4,000 drawn functions; the decoder's ReLUs are linear within a narrow latent."""
    head, windows = a_head(path=path, context=5, latent_floor=0.0), some_windows()
    assert head.latent_std is not None
    nn.init.zeros_(head.latent_std.weight)
    nn.init.constant_(head.latent_std.bias, -12.0)
    predicted = head.predict(windows)
    functions = head.sample(windows, 4_000, drawn())[:, windows.mask]
    here = predicted.details["latent_std"][windows.mask]
    torch.testing.assert_close(here, functions.std(0), rtol=0.08, atol=1e-8)
    torch.testing.assert_close(
        functions.mean(0), predicted.mean[windows.mask], rtol=0.01, atol=5 * here.max().item() / 63
    )


def test_the_deviation_is_made_of_the_decoders_and_the_latents() -> None:
    head, windows = a_head(), some_windows()
    predicted = head.predict(windows)
    own, latent = (predicted.details[f"{part}_std"] for part in ("decoder", "latent"))
    assert predicted.std is not None
    here = windows.mask
    torch.testing.assert_close(predicted.std[here].square(), own[here] ** 2 + latent[here] ** 2)
    assert (own[here] >= 0.1).all()
    assert (latent[here] > 0).all()
    for rows in (own, latent, predicted.std):
        assert rows[~here].isnan().all()


def test_samples_are_the_decoder_at_draws_of_the_latent() -> None:
    head, windows = a_head(context=4), some_windows()
    functions = head.sample(windows, 5, drawn(2))
    assert functions.shape == (5, 3, 20, 2)
    assert functions[:, ~windows.mask].isnan().all()
    first, posterior, _ = head.summarise(windows)
    noise = torch.randn(5, 3, 8, generator=drawn(2), dtype=torch.float64)
    for s in range(5):
        one = head.decode(first, posterior.mean + posterior.std * noise[s]).mean
        torch.testing.assert_close(functions[s][windows.mask], one[windows.mask])


def test_the_context_can_be_chosen_anew_after_training() -> None:
    head, windows = a_head(), some_windows()
    head.use_context("largest:2")
    context = head.predict(windows).details["context"]
    assert context.sum(-1).tolist() == [2, 2, 2]
    r = head.encode(windows.features, head.pseudo(windows))
    uncertainty = head.uncertainty(r).masked_fill(~windows.mask, -torch.inf)
    for row, scores in zip(context, uncertainty, strict=True):
        assert set(row.nonzero()[:, 0].tolist()) == set(scores.topk(2).indices.tolist())
    with pytest.raises(RecipeError, match="such as lowest:40"):
        head.use_context("lowest")
    with pytest.raises(RecipeError, match="no uncertainty"):
        a_head(path="deterministic", context=0).use_context("lowest:3")


def test_the_divergence_asks_for_more_of_all_frames_than_of_the_context() -> None:
    """q(z | T) is that of all frames with their annotations, q(z | C) that of the drawn context."""
    head = a_head(loss="nll+kl", smallest_context=20, truth_probability=1.0)
    terms = head.loss(some_windows(), drawn())
    assert terms["kl"].item() == pytest.approx(0.0, abs=1e-12)
    assert isinstance(head, AffectiveProcess)
    assert a_head(loss="nll+kl").loss(some_windows(), drawn())["kl"].item() > 0
    assert isinstance(head.latent(torch.zeros(8, dtype=torch.float64)), Gaussian)
