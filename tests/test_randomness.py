from motherlode.randomness import derive, numpy_generator, torch_generator


def test_same_coordinates_same_numbers() -> None:
    assert derive(1, "noise", 2, 3) == derive(1, "noise", 2, 3)
    assert numpy_generator(0, "a", 5).integers(1 << 60) == numpy_generator(0, "a", 5).integers(1 << 60)
    assert torch_generator(0, "a", 5).initial_seed() == torch_generator(0, "a", 5).initial_seed()


def test_every_coordinate_matters() -> None:
    seeds = {derive(*c) for c in [(0, "a", 0, 0), (1, "a", 0, 0), (0, "b", 0, 0), (0, "a", 1, 0), (0, "a", 0, 1)]}
    assert len(seeds) == 5
    assert all(0 <= seed < 2**63 for seed in seeds)
