import re
from pathlib import Path

import pytest

from broker.doctor.catalogue import BY_ID, CATALOGUE, IDS, Group

DOCUMENT = Path(__file__).parents[2] / "docs" / "doctor.md"


def test_ids_are_words_of_their_own_and_come_by_group() -> None:
    assert len(set(IDS)) == len(IDS) == len(BY_ID)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", id_) for id_ in IDS)
    groups = [check.group for check in CATALOGUE]
    assert groups == sorted(groups, key=list(Group).index)


def rows(heading: str) -> list[list[str]]:
    text = DOCUMENT.read_text().partition(f"### {heading}\n")[2].partition("\n#")[0]
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("group", Group)
def test_the_document_says_the_same(group: Group) -> None:
    checks = [check for check in CATALOGUE if check.group is group]
    wanted = [[f"`{check.id}`", check.means, check.mend + (" **--fix**" if check.fixes else "")] for check in checks]
    assert rows(group.value.capitalize()) == wanted


def test_the_document_has_no_other_group() -> None:
    headings = re.findall(r"^### (.+)$", DOCUMENT.read_text(), flags=re.MULTILINE)
    assert headings == [group.value.capitalize() for group in Group]
