"""COVID-ChestXRay: both eras, and the traps of its table."""

import pytest

from covid_cxr import sources
from covid_cxr.sources import covid_chestxray
from tests.covid_cxr import trees
from tests.covid_cxr.trees import MARCH, MODERN, lines, modern_row, png, write


def build(root, *rows, header=MODERN, images=("a.png",), **options):
    write(root / "metadata.csv", lines(header, *rows))
    for i, name in enumerate(images):
        write(root / "images" / name, png(i))
    return sources.build(root, "covid_chestxray", **options)


def test_the_later_era(tmp_path):
    index, problems = sources.build(trees.covid_chestxray(tmp_path))
    assert problems == []
    assert index.path.tolist() == ["images/a.png", "images/b.jpg", "images/c.PNG"]
    assert index.patient.tolist() == [f"covid_chestxray/{i}" for i in (1, 2, 3)]
    assert index.view.tolist() == ["PA", "AP", "AP_SUPINE"]
    assert index.labels["covid"].tolist() == [1, 0, 0]
    assert index.labels["pneumonia"].tolist() == [1, 0, 1]
    assert index.labels["no_finding"].tolist() == [0, 1, 0]
    assert index.mask("lungs").tolist() == ["annotations/lungs/a.png", "", ""]
    assert index.licence.tolist() == ["CC BY"] * 3
    assert index.age.tolist() == [54] * 3


def test_the_first_era_has_flat_findings_no_modality_and_a_blank_before_url(tmp_path):
    rows = (
        '1,0,M,33,"COVID-19, ARDS",Y,PA,2020,"Hanoi, Vietnam",a.png,10/x, u,CC,n',
        "2,0,F,44,SARS,Y,AP,2004,Hanoi,b.png,,u,CC,n",
        "3,0,F,44,ARDS,Y,AP,2004,Hanoi,c.png,,u,CC,n",
        "4,0,F,44,COVID-19,Y,CT,2004,Hanoi,d.png,,u,CC,n",
    )
    names = ("a.png", "b.png", "c.png", "d.png")
    index, problems = build(tmp_path, *rows, header=MARCH, images=names)
    assert index.labels["covid"].tolist() == [1, 0, 0]
    # ARDS alone may have another cause than a pneumonia.
    assert index.labels["pneumonia"].tolist() == [1, 1, -1]
    assert index.site[0] == "Hanoi, Vietnam"
    assert problems.counts() == {"not a radiograph": 1}
    by_article = sources.build(tmp_path, "covid_chestxray", group="article").index
    assert by_article.patient.tolist() == [
        "covid_chestxray/10/x",
        "covid_chestxray/u",
        "covid_chestxray/u",
    ]


@pytest.mark.parametrize(
    ("finding", "covid", "pneumonia"),
    [
        ("Pneumonia/Viral/COVID-19", 1, 1),
        ("COVID-19, ARDS", 1, 1),
        ("Pneumonia/Viral/SARS", 0, 1),
        ("Pneumonia/Bacterial/E.Coli", 0, 1),
        ("ExColi", -1, -1),  # a pattern E.Coli would match it
        ("Tuberculosis", 0, -1),
        ("Not COVID-19 at all", -1, -1),  # no part equals COVID-19
        ("No Finding", 0, 0),
    ],
)
def test_findings_are_paths_never_patterns(finding, covid, pneumonia):
    found = covid_chestxray.labels(finding)
    assert (found["covid"], found["pneumonia"]) == (covid, pneumonia)


@pytest.mark.parametrize("finding", ["todo", "Unknown", "", "Todo"])
def test_what_is_no_label_stays_unknown(tmp_path, finding):
    row = modern_row(patientid="1", finding=finding, filename="a.png")
    index, problems = build(tmp_path, row)
    assert index.label("covid").tolist() == [-1]
    assert problems.counts() == {"unlabelled": 1}


def test_modality_and_view_both_decide(tmp_path):
    rows = [
        modern_row(patientid=str(i), finding="No Finding", filename=f"{i}.png", **cells)
        for i, cells in enumerate(
            [
                {"modality": "CT", "view": "PA"},
                {"modality": "X-ray", "view": "Axial"},
                {"view": "L"},
                {"view": "AP Erect"},
            ]
        )
    ]
    names = [f"{i}.png" for i in range(4)]
    index, problems = build(tmp_path, *rows, images=names)
    assert index.view.tolist() == ["AP"]
    assert problems.counts() == {"not a radiograph": 3}
    assert problems.faults() == []
    both = sources.build(tmp_path, lateral=True).index
    assert sorted(both.view.tolist()) == ["AP", "L"]


def test_one_person_under_two_ids_and_ids_with_letters(tmp_path):
    ids = ["97", "178", "331a", "331b", "97a"]
    rows = [
        modern_row(patientid=who, finding="No Finding", filename=f"{i}.png")
        for i, who in enumerate(ids)
    ]
    index, _ = build(tmp_path, *rows, images=[f"{i}.png" for i in range(5)])
    people = index.patient.tolist()
    assert people[0] == people[1] == people[4]
    assert people[2] == people[3] == "covid_chestxray/331"


def test_a_name_without_its_suffix(tmp_path):
    row = modern_row(patientid="1", finding="No Finding", filename="film.one")
    index, problems = build(tmp_path, row, images=("film.one.jpeg",))
    assert index.path.tolist() == ["images/film.one.jpeg"]
    assert problems == []
    write(tmp_path / "images" / "film.one.png", png(5))
    index, problems = sources.build(tmp_path, "covid_chestxray")
    assert len(index) == 0
    assert problems.counts() == {"ambiguous": 1}


def test_children_are_flagged(tmp_path):
    rows = [
        modern_row(patientid="1", finding="No Finding", filename="a.png", age="17"),
        modern_row(patientid="2", finding="No Finding", filename="b.png", age=""),
        modern_row(patientid="3", finding="No Finding", filename="c.png", age="18"),
    ]
    index, _ = build(tmp_path, *rows, images=("a.png", "b.png", "c.png"))
    assert index.flag("child").tolist() == [True, False, False]


def test_masks_of_v7_are_png_named_as_the_image(tmp_path):
    mask = trees.box_mask()
    mask[0, 0] = 127  # an arrow or device, not lung
    row = modern_row(patientid="1", finding="No Finding", filename="a.jpg")
    folder = tmp_path / "annotations" / "semantic_masks_v7labs_lungs"
    write(folder / "a.jpg", trees.encode(mask))
    index, problems = build(tmp_path, row, images=("a.jpg",))
    assert problems == []
    read = sources.read_mask(index, 0)
    assert read.sum() == (mask == 255).sum()


def test_an_unknown_group(tmp_path):
    with pytest.raises(ValueError, match="group: expected one of patient, article"):
        sources.build(tmp_path, "covid_chestxray", group="study")


@pytest.mark.parametrize(
    ("finding", "covid", "no_finding"),
    [
        ("COVID19", -1, -1),
        ("Covid", -1, -1),
        ("SARS-CoV-2", -1, -1),
        ("Pneumonia/Viral/COVID-19?", -1, 0),
        ("Pneumonia/Viral/COVlD-19", -1, 0),
        ("COVID-19, ARDSS", 1, 0),
        ("Nothing Found", -1, -1),
    ],
)
def test_a_misspelt_finding_is_named_and_no_negative(
    tmp_path, finding, covid, no_finding
):
    row = modern_row(patientid="1", finding=finding, filename="a.png")
    index, problems = build(tmp_path, row)
    assert index.label("covid").tolist() == [covid]
    assert index.label("no_finding").tolist() == [no_finding]
    assert problems.counts() == {"bad value": 1}
    assert "is not known" in problems[0].detail


@pytest.mark.parametrize("finding", ["No Finding, COVID-19", "No Finding/Pneumonia"])
def test_a_finding_that_contradicts_itself_is_unlabelled(tmp_path, finding):
    row = modern_row(patientid="1", finding=finding, filename="a.png")
    index, problems = build(tmp_path, row)
    assert index.label("covid").tolist() == index.label("no_finding").tolist() == [-1]
    assert problems.counts() == {"unlabelled": 1}
