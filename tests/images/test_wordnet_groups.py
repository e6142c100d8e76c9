"""Groups of ImageNet's classes, and the class that an image's id tells."""

from ddp_tasks.images.wordnet_groups import wordnet_groups, wordnet_ids


def test_groups_hold_the_classes_that_their_names_say():
    groups = wordnet_groups()
    assert len(groups) == 20
    assert "n02085620" in groups["dogs"]  # Chihuahua
    every = [member for members in groups.values() for member in members]
    assert len(every) == len(set(every)) == 568


def test_the_id_is_that_of_a_folder_and_not_of_a_file():
    images = ["val/n02085620/7.JPEG", "n01440764/n02085620_1.JPEG", "n02085620_7.JPEG", "0007"]
    assert wordnet_ids(images) == ["n02085620", "n01440764", None, None]
