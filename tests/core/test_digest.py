from serving.pipeline.digest import digest_all, digest_of, digest_text


def test_digests_are_the_same_on_every_machine() -> None:
    assert digest_text("touchstone") == "0d3d1709a1b1ede6"  # sha256sum of the word, its first 16 digits
    assert digest_of({"b": 1, "a": [1.5, None, "ü"]}) == digest_of({"a": [1.5, None, "ü"], "b": 1}) == "031aae5ec535fa7e"


def test_the_order_of_a_set_of_digests_does_not_matter() -> None:
    assert digest_all(["a", "b"]) == digest_all(["b", "a"]) != digest_all(["a", "c"])
