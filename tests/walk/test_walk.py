"""The pages of docs/operations/ are true: their troubles are made, their commands run, and what they print compared."""

from pathlib import Path

import pytest

from tests.walk.likeness import alike
from tests.walk.page import Page, pages
from tests.walk.walk import walk

PAGES = {page.name: page for page in pages()}
# A daemon that is well, one that is gone, one that lost something. All of them: python -m tests.walk, some minutes.
SOME = ("README", "UtxodDown", "UtxodInDoubt")

TEXT = """\
# A page

<!-- walk: first -->
```console
$ one
as it was
$ two
```
1. in a list:

   <!-- walk: second -->
   ```console
   $ three \\
     four
   ...
   ```

```sh
not --walked
```
"""


@pytest.mark.parametrize("name", SOME)
def test_a_page_is_as_it_is_walked(name: str) -> None:
    walked = walk(PAGES[name])
    assert walked.is_true, f"{walked.difference}\n(python -m tests.walk {name} --write puts there what is printed now)"


def test_what_is_printed_otherwise_is_written_anew_in_its_place_and_nothing_else_is(tmp_path: Path) -> None:
    path = tmp_path / "APage.md"
    path.write_text(TEXT)
    printed = {"one": "as it is\n", "two": "", "three \\\n  four": "1\n2\n"}
    passed: list[str] = []

    def run(line: str) -> str:
        passed.append(line)
        return printed[line]

    page = Page(path)
    assert page.walk(run, passed.append, alike) == TEXT.replace("as it was", "as it is")
    assert passed == ["first", "one", "two", "second", "three \\\n  four"]
    printed["two"] = "more\n"
    assert page.walk(run, passed.append, alike) == TEXT.replace("as it was", "as it is").replace(
        "$ two\n", "$ two\nmore\n"
    )
