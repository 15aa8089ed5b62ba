"""The distortion of images: both engines against an interpolation that scipy has, over places worked out one by one."""

import jax
import numpy as np
import pytest
import tensorflow as tf
from scipy.ndimage import map_coordinates

from sweep.study.config import Config
from sweep.train.cohort import augment as on_jax
from sweep.train.distortion import N_NODES, SMOOTHNESS, Strengths, build_basis
from sweep.train.graph import augment as on_tensorflow

N = 12
SHAPES = {"square": (9, 9, 1), "wide": (6, 11, 1), "of three channels": (8, 7, 3)}
STRENGTHS = {
    "nothing": Strengths(0, 0, 0, 0),
    "shift": Strengths(2.5, 0, 0, 0),
    "rotation": Strengths(0, 30, 0, 0),
    "scale": Strengths(0, 0, 0.4, 0),
    "elastic": Strengths(0, 0, 0, 1.2),
    "everything": Strengths(1.5, 180, 0.9, 0.8),
}
ENGINES = {"tensorflow": on_tensorflow, "jax": on_jax}


def images_of(shape):
    return np.random.default_rng(1).integers(0, 256, (N, np.prod(shape)), dtype=np.uint8)


def draws_of(n):
    rng = np.random.default_rng(2)
    return tuple(rng.uniform(-1, 1, s).astype(np.float32) for s in ((4, n), (2 * n, N_NODES**2)))


def place(point, shape, draws, noise, strengths):
    """Where one pixel of one image is read, in float64. draws: its four. noise: (2, N_NODES, N_NODES), along y and x."""
    (y, x), center = point, (np.array(shape[:2]) - 1) / 2
    size, angle = 1 + strengths.scale * draws[2], np.deg2rad(strengths.rotation * draws[3])
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    near = []
    for at, middle, n in zip((y, x), center, shape[:2], strict=True):
        nodes = middle + SMOOTHNESS * n * (np.arange(N_NODES) - N_NODES // 2)
        weights = np.exp(-(((at - nodes) / (SMOOTHNESS * n)) ** 2) / 2)
        near.append(weights / np.linalg.norm(weights))
    displacement = np.sqrt(3) * strengths.elastic * np.einsum("i,aij,j->a", near[0], noise, near[1])
    return turn @ (np.array([y, x]) - center) / size + center + strengths.shift * draws[:2] + displacement


def reference(images, shape, draws, noise, strengths):
    read = np.empty((N, *shape))
    for i, image in enumerate(images.reshape(N, *shape).astype(float)):
        its_noise = noise.reshape(2, N, N_NODES, N_NODES)[:, i]
        places = [place(point, shape, draws[:, i], its_noise, strengths) for point in np.ndindex(*shape[:2])]
        for channel in range(shape[2]):
            values = map_coordinates(image[..., channel], np.transpose(places), order=1, mode="grid-constant")
            read[i, ..., channel] = values.reshape(shape[:2])
    return read.reshape(N, -1)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("strengths", STRENGTHS.values(), ids=STRENGTHS)
def test_images_are_read_bilinearly_where_shift_rotation_scale_and_field_say(engine, shape, strengths):
    images, (draws, noise) = images_of(shape), draws_of(N)
    distorted = engine.resample(images, engine.locate(draws, noise, strengths, shape), shape)
    # A place that is off by rounding, 1e-5 of a pixel, changes a pixel by up to 255 times as much.
    np.testing.assert_allclose(distorted, reference(images, shape, draws, noise, strengths), atol=0.02)


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
def test_at_strengths_of_0_an_image_is_what_it_was_to_the_bit(engine):
    images, shape = images_of((28, 28, 1)), (28, 28, 1)
    places = engine.locate(*draws_of(N), STRENGTHS["nothing"], shape)
    np.testing.assert_array_equal(engine.resample(images, places, shape), images)


def drawn_by_tensorflow(seed, n):
    return on_tensorflow.draw(n, on_tensorflow.derive_step_seed(seed, 3, 64))


def drawn_by_jax(seed, n):
    return on_jax.draw(n, on_jax.derive_step_key(np.array([seed, 3], np.uint32), 2))


@pytest.mark.parametrize("draw", [drawn_by_tensorflow, drawn_by_jax])
def test_draws_are_even_differ_by_image_and_follow_from_the_seed_alone(draw):
    numbers, noise = (np.asarray(values) for values in draw(7, 4000))
    for values in (*numbers, noise[:4000].ravel(), noise[4000:].ravel()):
        assert (values.min() >= -1, values.max() < 1) == (True, True)
        assert abs(values.mean()) < 4 / np.sqrt(3 * values.size)
        assert abs((values**2).mean() - 1 / 3) < 4 * np.sqrt(4 / 45 / values.size)
    assert np.abs(np.corrcoef(numbers) - np.eye(4)).max() < 4 / np.sqrt(4000)
    assert len(np.unique(numbers)) > 15_900
    again, other = draw(7, 4000), draw(8, 4000)
    np.testing.assert_array_equal(again[0], numbers)
    assert (np.asarray(other[0]) != numbers).mean() > 0.99


def test_steps_and_epochs_draw_anew():
    seeds = [on_tensorflow.derive_step_seed(7, epoch, start).numpy().tolist() for epoch in (1, 2) for start in (0, 32)]
    keys = [
        jax.random.key_data(on_jax.derive_step_key(np.array([7, e], np.uint32), s)).tolist()
        for e in (1, 2)
        for s in (0, 1)
    ]
    assert len({*map(tuple, seeds)}) == len({*map(tuple, keys)}) == 4


@pytest.mark.parametrize("shape", [(28, 28), (20, 33)])
def test_the_field_displaces_every_pixel_alike_and_neighbours_together(shape):
    noise = np.random.default_rng(0).uniform(-1, 1, (20_000, N_NODES**2))
    field = np.sqrt(3) * (noise @ build_basis(*shape)[3:]).reshape(-1, *shape)
    assert np.sqrt((field**2).mean(axis=0)) == pytest.approx(np.ones(shape), abs=0.03)
    steps = np.diff(field, axis=2)
    assert np.sqrt((steps**2).mean()) < 1.5 / (SMOOTHNESS * shape[1])


def test_the_strengths_are_those_of_the_config():
    config = Config(
        units=(8,),
        dropout=0,
        batch_size=8,
        learning_rate=0.1,
        augment_shift=1,
        augment_rotation=2,
        augment_scale=0.3,
        augment_elastic=4,
    )
    assert Strengths.of(config) == (1, 2, 0.3, 4)
    assert config.augments


def test_distortion_in_a_graph_is_what_it_is_outside():
    images, shape = images_of((28, 28, 1)), (28, 28, 1)
    seed = on_tensorflow.derive_step_seed(1, 2, 3)
    distort = tf.function(lambda rows: on_tensorflow.augment(rows, seed, STRENGTHS["everything"], shape))
    np.testing.assert_allclose(
        distort(images), on_tensorflow.augment(images, seed, STRENGTHS["everything"], shape), atol=0.02
    )
