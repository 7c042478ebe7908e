from harness.sweep.run_names import LENGTH, sweep_name, trial_name


def test_a_sweep_is_called_by_its_experiment_and_when_it_began() -> None:
    assert sweep_name("quickstart-20261129-041059") == "quickstart 11-29 04:10"
    assert sweep_name("my-sweep-20261129-041059-2") == "my-sweep 11-29 04:10 (2)"
    assert sweep_name("elsewhere") == "elsewhere"


def test_a_trial_is_called_by_what_it_tries() -> None:
    values = {"index.chunker.recursive.size": 500, "retrieve.search.name": "hybrid", "retrieve.fusion.weight": 1 / 3}
    assert trial_name(3, "", values) == "trial 3 · size 500 · search hybrid · weight 0.333"
    assert trial_name(0, "base", values) == "trial 0 · base"
    assert len(trial_name(7, "", {f"a.b{number}": "long" * 5 for number in range(30)})) == LENGTH
