"""Fits: what a generator is shown and asked for, how the loss changes, when it ends."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.pretended import DEVICE, pretended_device
from tests.samples import TINY, clean_picture
from torch import Tensor, nn

from napari_msdip import StopReason, devices, fit
from napari_msdip._fit.crops import Crops
from napari_msdip._fit.noise_bank import NoiseBank
from napari_msdip.fit import Fit, Problem, Step, fit_scale
from napari_msdip.generator import Generator, GeneratorConfig
from napari_msdip.losses import ScaleConsistency
from napari_msdip.pyramid import resize
from napari_msdip.steps import drive

if TYPE_CHECKING:
    from napari_msdip import Options

SHAPE = (24, 32)
# The code alone, as in the paper.
CODE = TINY.replace(
    code_channels=4, recorruption=0.0, guidance=False, symmetries=False, stopping="none"
)
# The noisy image with fresh noise, no code.
RECORRUPTED = CODE.replace(code_channels=0, recorruption=1.0)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def picture() -> Tensor:
    return torch.from_numpy(clean_picture(SHAPE)).float()[None, None]


def bank(level: float = 0.1, count: int = 3) -> NoiseBank:
    return NoiseBank(
        fields=torch.randn((count, 1, *SHAPE), generator=seeded(9)),
        sigma=torch.full((1, 1, *SHAPE), level),
    )


def problem(**changes: Any) -> Problem:
    noisy = picture() + 0.1 * torch.randn((1, 1, *SHAPE), generator=seeded(1))
    given: dict[str, Any] = {
        "target": noisy,
        "sigma": 0.1,
        "guide": None,
        "noise": None,
        "consistency": None,
        "weight": 0.0,
        "iterations": 4,
        "reach": 0,
    }
    return Problem(**given | changes)


def network(inputs: int, seed: int = 0) -> Generator:
    made = Generator(GeneratorConfig(in_channels=inputs, out_channels=1, widths=(8, 8)))
    made.initialise(seeded(seed))
    return made


class Recorder(nn.Module):
    """A network that learns one number, and keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(1))
        self.shown: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shown.append(x.clone())
        return x[:, :1] * 0 + self.level


def driven(
    given: Problem, options: Options, net: Any = None, seed: int = 0, **how: Any
) -> tuple[Fit, list[Step]]:
    if net is None:
        inputs = options.code_channels + (given.noise is not None)
        net = network(inputs + (given.guide is not None))
    steps = fit_scale(given, net, options, seeded(seed), **how)
    seen: list[Step] = []
    return drive(steps, lambda step: seen.append(copied(step))), seen


def copied(step: Step) -> Step:
    """Return a step that the next one does not change."""
    return dataclasses.replace(step, average=step.average.clone())


def test_steps_are_counted_to_the_cap() -> None:
    found, steps = driven(problem(iterations=5), CODE)
    assert [step.iteration for step in steps] == [1, 2, 3, 4, 5]
    assert (found.iterations, found.reason) == (5, StopReason.ITERATIONS)
    assert torch.equal(found.image, steps[-1].average)


@pytest.mark.parametrize("options", [CODE, RECORRUPTED.replace(symmetries=True)])
def test_same_random_numbers_give_the_same_fit(options: Options) -> None:
    given = problem(noise=bank() if options.recorruption else None)
    first, again, other = (driven(given, options, seed=s)[0].image for s in (3, 3, 4))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_fit_learns_the_image() -> None:
    given = problem(iterations=60)
    found, steps = driven(given, CODE.replace(learning_rate=1e-2))
    assert steps[-1].loss < 0.2 * steps[0].loss
    before = float((given.target - given.target.mean()).square().mean())
    assert float((found.image - picture()).square().mean()) < 0.5 * before


@pytest.mark.parametrize("options", [CODE, RECORRUPTED])
def test_nothing_of_the_process_changes(options: Options) -> None:
    given = problem(noise=bank() if options.recorruption else None, iterations=1)
    net = network(4 if options is CODE else 1)
    kept = given.target.clone()
    state = torch.random.get_rng_state()
    with torch.no_grad():
        steps = fit_scale(given, net, options, seeded())
        for _ in steps:
            assert not torch.is_grad_enabled()
            assert not torch.is_autocast_enabled("cpu")
    assert torch.equal(torch.random.get_rng_state(), state)
    assert torch.equal(given.target, kept)


def test_gradients_are_on_whatever_the_caller_does() -> None:
    with torch.no_grad():
        net = network(4)
        before = net.head.weight.clone()
        driven(problem(), CODE, net)
    assert not torch.equal(net.head.weight, before)


def test_code_is_uniform_and_stays() -> None:
    options = CODE.replace(code_channels=32, code_range=0.4, perturbation=0.0)
    recorder = Recorder()
    driven(problem(), options, recorder)

    first, *others = recorder.shown
    assert first.shape == (1, 32, *SHAPE)
    assert 0 <= float(first.min()) < 0.01
    assert 0.39 < float(first.max()) <= 0.4
    assert float(first.mean()) == pytest.approx(0.2, abs=0.01)
    assert float(first.std()) == pytest.approx(0.4 / 12**0.5, rel=0.02)
    assert all(torch.equal(shown, first) for shown in others)


def test_code_is_perturbed_anew_each_step() -> None:
    options = CODE.replace(code_channels=32, perturbation=0.05)
    recorder, still = Recorder(), Recorder()
    driven(problem(), options, recorder)
    driven(problem(), options.replace(perturbation=0.0), still)

    code = still.shown[0]
    noises = [shown - code for shown in recorder.shown]
    for noise in noises:
        assert float(noise.std()) == pytest.approx(0.05, rel=0.03)
        assert abs(float(noise.mean())) < 0.005
    assert abs(float((noises[0] * noises[1]).mean())) < 0.05**2 / 10


def test_guide_is_shown_as_it_is() -> None:
    recorder, guide = Recorder(), torch.rand((1, 1, *SHAPE), generator=seeded(5))
    driven(problem(guide=guide), CODE, recorder)
    for shown in recorder.shown:
        assert shown.shape[1] == CODE.code_channels + 1
        assert torch.equal(shown[:, -1:], guide)


@pytest.mark.parametrize("strength", [0.5, 1.0, 2.0])
def test_noise_is_added_to_what_is_shown_and_taken_from_what_is_asked(
    monkeypatch: pytest.MonkeyPatch, strength: float
) -> None:
    asked, recorder, given = [], Recorder(), problem(noise=bank())
    real = fit.reconstruction_loss

    def spy(output: Tensor, target: Tensor, **how: Any) -> Tensor:
        asked.append(target.clone())
        return real(output, target, **how)

    monkeypatch.setattr(fit, "reconstruction_loss", spy)
    driven(given, RECORRUPTED.replace(recorruption=strength), recorder)

    assert len(asked) == given.iterations
    for shown, target in zip(recorder.shown, asked, strict=True):
        added, taken = shown - given.target, given.target - target
        torch.testing.assert_close(added, strength**2 * taken, atol=1e-5, rtol=1e-3)
        assert float(added.std()) == pytest.approx(0.1 * strength, rel=0.15)


def test_bank_draws_its_fields_at_the_images_level_and_keeps_them() -> None:
    made = bank(level=0.3)
    kept = made.fields.clone()
    rng = seeded()
    drawn = [made.draw(rng) for _ in range(40)]

    assert torch.equal(made.fields, kept)
    stacked = torch.cat(drawn)
    assert float(stacked.std()) == pytest.approx(0.3, rel=0.05)
    # Signs are drawn too, so that fields with a mean do not shift the image.
    assert abs(float(stacked.mean())) < 0.02
    assert len({float(field[0, 0, 0, 0]) for field in drawn}) > 30


def test_bank_is_louder_where_the_image_is() -> None:
    level = torch.ones((1, 1, *SHAPE))
    level[..., 16:] = 5
    drawn = NoiseBank(bank(count=1).fields, level).draw(seeded())
    assert float(drawn[..., 16:].std()) == pytest.approx(
        5 * float(drawn[..., :16].std()), rel=0.3
    )


@pytest.mark.parametrize("asymmetry", [-0.1, 0.05, 0.15])
def test_bank_is_as_skewed_as_the_noise(asymmetry: float) -> None:
    fields = torch.randn((1, 1, 200, 200), generator=seeded(9))
    made = NoiseBank(fields, torch.full((1, 1, 1, 1), 0.1), asymmetry)
    drawn = made.draw(seeded())
    assert float(drawn.std()) == pytest.approx(0.1, rel=0.05)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.004)
    third = float((drawn - drawn.mean()).pow(3).mean())
    assert third / float(drawn.var()) == pytest.approx(asymmetry, rel=0.2)


def test_all_symmetries_are_shown() -> None:
    recorder, guide = Recorder(), torch.rand((1, 1, *SHAPE), generator=seeded(5))
    options = RECORRUPTED.replace(symmetries=True)
    driven(problem(guide=guide, noise=bank(), iterations=60), options, recorder)
    kinds = {tuple(shown[0, 0].flatten()[:50].tolist()) for shown in recorder.shown}
    assert len(kinds) == 8


@pytest.mark.parametrize(
    ("share", "before", "expected"),
    [(0.0, 0, "2222"), (0.5, 0, "1122"), (1.0, 0, "1111"), (0.5, 2, "1222")],
)
def test_l1_comes_first_then_l2(
    monkeypatch: pytest.MonkeyPatch, share: float, before: int, expected: str
) -> None:
    used = []
    real = fit.reconstruction_loss

    def spy(*args: Any, absolute: bool, **how: Any) -> Tensor:
        used.append("1" if absolute else "2")
        return real(*args, absolute=absolute, **how)

    monkeypatch.setattr(fit, "reconstruction_loss", spy)
    driven(problem(before=before), CODE.replace(l1_fraction=share))
    assert "".join(used) == expected


def test_reported_loss_is_reconstruction_plus_weighted_consistency() -> None:
    coarser = torch.full((1, 1, 12, 16), 3.0)
    given = problem(iterations=1)
    held = problem(iterations=1, consistency=ScaleConsistency(coarser, None), weight=0.5)
    options = CODE.replace(l1_fraction=0.0)

    plain = driven(given, options, Recorder())[1][0].loss
    total = driven(held, options, Recorder())[1][0].loss

    # The recorder's first output is 0 everywhere, 3 away from the coarser image.
    assert plain == pytest.approx(float(given.target.square().mean()), rel=1e-5)
    assert total == pytest.approx(plain + 0.5 * 9, rel=1e-5)


def test_consistency_compares_upright_images() -> None:
    """Let a network show its guide, of which the coarser result is a smaller copy."""

    class Echo(Recorder):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, :1] + 0 * self.level

    guide = picture()
    consistency = ScaleConsistency(resize(guide, (12, 16)), None)
    given = problem(guide=guide, consistency=consistency, weight=1e6, iterations=20)
    options = CODE.replace(code_channels=0, symmetries=True)

    _, steps = driven(given, options, Echo())

    assert max(step.loss for step in steps) < 1


@pytest.mark.parametrize("symmetries", [False, True])
def test_consistency_pulls_towards_the_coarser_result(symmetries: bool) -> None:
    coarser = 1 - resize(picture(), (12, 16))
    options = CODE.replace(learning_rate=1e-2, symmetries=symmetries)

    def distance(weight: float) -> float:
        consistency = ScaleConsistency(coarser, None)
        given = problem(consistency=consistency, weight=weight, iterations=40)
        return float(consistency(driven(given, options)[0].image))

    assert distance(20.0) < 0.5 * distance(0.0)


def test_average_is_that_of_the_outputs() -> None:
    given = problem(iterations=30)
    last = driven(given, CODE.replace(average=0.0), Recorder())[0].image
    smooth = driven(given, CODE.replace(average=0.99), Recorder())[0].image
    # The one number learned rises from 0 towards the image's mean.
    assert 0 < float(smooth.mean()) < float(last.mean())


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_learning_rate_follows_its_schedule(schedule: str) -> None:
    options = CODE.replace(schedule=schedule, learning_rate=1e-2)
    recorder, levels = Recorder(), [0.0]
    for _ in fit_scale(problem(iterations=20), recorder, options, seeded()):
        levels.append(float(recorder.level.detach()))
    moves = [abs(after - before) for before, after in itertools.pairwise(levels)]

    assert moves[0] == pytest.approx(1e-2, rel=0.01)
    if schedule == "constant":
        assert moves[-1] > 0.5e-2
    else:
        assert moves[-1] < 0.1e-2


def test_a_second_part_continues_the_course_of_the_first() -> None:
    options = CODE.replace(schedule="cosine", learning_rate=1e-2)
    recorder = Recorder()
    next(fit_scale(problem(iterations=10, before=10), recorder, options, seeded()))
    # Half way, a cosine is half as high.
    assert float(recorder.level.detach()) == pytest.approx(0.5e-2, rel=0.05)


@pytest.mark.parametrize(
    ("stopping", "reason"),
    [
        ("plateau", StopReason.PLATEAU),
        ("settled", StopReason.SETTLED),
        ("held-out", StopReason.HELD_OUT),
    ],
)
def test_each_criterion_ends_a_fit(stopping: str, reason: StopReason) -> None:
    options = CODE.replace(
        stopping=stopping, patience=3, l1_fraction=0.1, learning_rate=0.2
    )
    found, steps = driven(problem(iterations=200), options, Recorder())
    assert found.reason is reason
    assert found.iterations == len(steps) < 200


def test_no_criterion_goes_to_the_cap() -> None:
    options = CODE.replace(stopping="none", patience=1, learning_rate=0.2)
    found, _ = driven(problem(iterations=30), options, Recorder())
    assert (found.iterations, found.reason) == (30, StopReason.ITERATIONS)


def test_plateau_does_not_end_before_l2() -> None:
    options = CODE.replace(stopping="plateau", patience=1, l1_fraction=0.5)
    found, _ = driven(problem(iterations=20), options)
    assert found.iterations > 10


def test_plateau_ends_a_fit_that_stays_with_l1() -> None:
    options = CODE.replace(
        stopping="plateau", patience=3, l1_fraction=1.0, learning_rate=0.2
    )
    found, _ = driven(problem(iterations=200), options)
    assert found.reason is StopReason.PLATEAU


def test_held_out_pixels_are_not_fitted(monkeypatch: pytest.MonkeyPatch) -> None:
    weights = []
    real = fit.reconstruction_loss

    def spy(*args: Any, weight: Tensor | None = None, **how: Any) -> Tensor:
        weights.append(weight)
        return real(*args, weight=weight, **how)

    monkeypatch.setattr(fit, "reconstruction_loss", spy)
    recorder, given = Recorder(), problem(noise=bank(level=0.0))
    driven(given, RECORRUPTED.replace(stopping="held-out", patience=50), recorder)

    assert all(weight is not None for weight in weights)
    hidden = weights[0] == 0
    assert 0 < int(hidden.sum()) < hidden.numel() / 4
    # Nor are they shown: only their surroundings are.
    shown = recorder.shown[0]
    assert torch.equal(shown[~hidden], given.target[~hidden])
    assert not torch.equal(shown[hidden], given.target[hidden])


@pytest.mark.parametrize("after", [0, 1, 3])
def test_cancel_before_the_next_step(after: int) -> None:
    calls = iter(range(100))
    found, steps = driven(
        problem(iterations=50), CODE, should_stop=lambda: next(calls) >= after
    )
    assert len(steps) == found.iterations == after
    assert found.reason is StopReason.CANCELLED
    assert found.image.shape == (1, 1, *SHAPE)


def test_bfloat16_gives_float32_images_close_to_float32() -> None:
    options = CODE.replace(average=0.0)
    exact = driven(problem(), options)[0].image
    rough = driven(problem(), options, precision="bfloat16")[0].image
    assert rough.dtype == torch.float32
    assert bool(rough.isfinite().all())
    torch.testing.assert_close(rough, exact, atol=0.1, rtol=0)


def test_a_step_happens_where_the_image_is() -> None:
    here = problem(noise=bank())
    _, expected = driven(here, RECORRUPTED)
    with pretended_device():
        noise = NoiseBank(bank().fields.to(DEVICE), bank().sigma.to(DEVICE))
        there = problem(target=here.target.to(DEVICE), noise=noise)
        fit, steps = driven(there, RECORRUPTED, network(1).to(DEVICE))
        assert fit.image.device == DEVICE
        assert {step.average.device for step in steps} == {DEVICE}
    losses = [step.loss for step in steps]
    assert losses == pytest.approx([step.loss for step in expected], rel=1e-2)


def test_the_generator_is_shown_what_its_device_convolves_best(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    given = problem(noise=bank(), guide=picture())
    options = RECORRUPTED.replace(guidance=True)
    for proven, order in (
        (("cpu",), torch.channels_last),
        ((), torch.contiguous_format),
    ):
        monkeypatch.setattr(devices, "_PROVEN", proven)
        net = Recorder()
        driven(given, options, net)
        assert all(shown.is_contiguous(memory_format=order) for shown in net.shown)


# --- steps on crops ----------------------------------------------------------------

LARGE = (150, 170)
CROPPED = RECORRUPTED.replace(symmetries=True)


def large_bank(level: float = 0.0, asymmetry: float = 0.0) -> NoiseBank:
    return NoiseBank(
        fields=torch.randn((3, 1, *LARGE), generator=seeded(9)),
        sigma=torch.full((1, 1, *LARGE), level),
        asymmetry=asymmetry,
    )


def large_problem(**changes: Any) -> Problem:
    picture = torch.from_numpy(clean_picture(LARGE)).float()[None, None]
    noisy = picture + 0.1 * torch.randn((1, 1, *LARGE), generator=seeded(1))
    return problem(**{"target": noisy, "noise": large_bank(0.1), "crops": 2} | changes)


def test_a_step_sees_crops_and_in_the_end_the_whole_image_is_seen() -> None:
    recorder = Recorder()

    driven(large_problem(iterations=3), CROPPED.replace(symmetries=False), recorder)

    shapes = [tuple(each.shape) for each in recorder.shown]
    whole, crops = (1, 1, *LARGE), (2, 1, 64, 64)
    assert shapes == [crops, whole, *[crops] * 2, *[whole] * fit.FINAL_PASSES]


def test_looking_at_the_whole_image_counts_as_work() -> None:
    _, steps = driven(large_problem(iterations=3), CROPPED)
    shares = [step.share for step in steps]
    assert len(shares) == 3 + fit.FINAL_PASSES
    assert all(before < after for before, after in itertools.pairwise(shares))
    assert shares[2] < 0.5
    assert shares[-1] == pytest.approx(1)


def test_crops_are_parts_of_the_noisy_image() -> None:
    numbered = torch.arange(float(LARGE[0] * LARGE[1])).reshape(1, 1, *LARGE)
    recorder = Recorder()
    given = large_problem(target=numbered, noise=large_bank(0.0))

    driven(given, CROPPED.replace(symmetries=False), recorder)

    seen = [crop for shown in recorder.shown if len(shown) == 2 for crop in shown]
    assert len(seen) == 8
    assert len({int(crop[0, 0, 0]) for crop in seen}) == 2
    for crop in seen:
        top, left = divmod(int(crop[0, 0, 0]), LARGE[1])
        assert torch.equal(crop, numbered[0, :, top : top + 64, left : left + 64])


def test_a_fit_on_crops_is_the_same_for_the_same_random_numbers() -> None:
    first, again, other = (
        driven(large_problem(), CROPPED, seed=s)[0].image for s in (3, 3, 4)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_fit_on_crops_denoises_the_whole_image() -> None:
    clean = torch.from_numpy(clean_picture(LARGE)).float()
    given = large_problem(iterations=60)
    start = driven(large_problem(iterations=1), CROPPED)[0].image[0, 0]

    found = driven(given, CROPPED.replace(learning_rate=1e-2))[0].image[0, 0]

    def error(image: Tensor) -> float:
        return float((image - clean).square().mean())

    assert error(found) < error(given.target[0, 0])
    assert error(found) < 0.5 * error(start)


def test_a_fit_on_crops_learns_brightness() -> None:
    # Normalised by the statistics of other crops at every step, it would not.
    ramp = torch.linspace(0, 1, LARGE[1]).expand(1, 1, *LARGE)
    given = large_problem(target=ramp, noise=large_bank(0.02), iterations=60, crops=4)
    found = driven(given, CROPPED.replace(learning_rate=1e-2))[0].image
    for part in (slice(0, 40), slice(130, 170)):
        assert float(found[..., part].mean()) == pytest.approx(
            float(ramp[..., part].mean()), abs=0.1
        )


def test_a_fit_on_crops_agrees_with_the_coarser_result() -> None:
    dark = torch.zeros((1, 1, LARGE[0] // 2, LARGE[1] // 2))
    free, held = (
        driven(
            large_problem(
                consistency=ScaleConsistency(dark, None), weight=weight, iterations=30
            ),
            CROPPED.replace(learning_rate=1e-2, l1_fraction=0),
        )[0].image
        for weight in (0.0, 10.0)
    )
    assert float(held.mean()) < float(free.mean()) - 0.1


def test_a_fit_on_crops_can_be_cancelled_while_it_looks_at_the_whole() -> None:
    asked = itertools.count()
    found, steps = driven(
        large_problem(iterations=3), CROPPED, should_stop=lambda: next(asked) == 5
    )
    assert found.reason is StopReason.CANCELLED
    assert found.iterations == 3
    assert torch.equal(found.image, steps[-1].average)


def test_noise_in_crops_is_that_of_the_whole() -> None:
    level = torch.linspace(0.1, 0.5, LARGE[1]).expand(1, 1, *LARGE)
    noise = NoiseBank(large_bank().fields, level, asymmetry=0.2)
    rng = seeded()
    crops = Crops(((0, 0), (40, 100)), (64, 64))
    cropped = noise.cropped(crops)

    drawn = torch.stack([cropped.draw(rng) for _ in range(200)])
    whole = torch.stack([noise.draw(rng) for _ in range(200)])

    for n, (top, left) in enumerate(crops.corners):
        there = whole[:, 0, 0, top : top + 64, left : left + 64]
        assert drawn[:, n].mean() == pytest.approx(0, abs=0.01)
        assert float(drawn[:, n].std()) == pytest.approx(float(there.std()), rel=0.05)
        skews = [float((x**3).mean()) for x in (drawn[:, n], there)]
        assert skews[0] == pytest.approx(skews[1], rel=0.3)
