"""Walks the pages of docs/operations/: `python -m tests.walk [PAGE ...] [--write]`.

Each page has a set-up of its own, in which its trouble is really made (tests/walk/stories.py). Its commands are run as
they are written, and what they print is held against what the page shows (tests/walk/likeness.py). The exit status is 0
where all pages are true.
"""

import click

from tests.walk.page import pages
from tests.walk.walk import walk
from utxod.exits import run


@click.command()
@click.argument("names", metavar="[PAGE]...", nargs=-1)
@click.option("--write", is_flag=True, help="Put what is printed now in the place of what is not printed any more.")
def main(names: tuple[str, ...], write: bool) -> None:
    """Walks the PAGES of docs/operations/, all of them where none is named: UtxodBreakerOpen, say."""
    found = {page.name: page for page in pages()}
    if unknown := [name for name in names if name not in found]:
        raise click.UsageError(f"no such page: {', '.join(unknown)}; there are {', '.join(found)}")
    untrue = []
    for name in names or found:
        should = walk(found[name])
        click.echo(f"{name}: {'as it is written' if should.is_true else 'not as it is written'}")
        if not should.is_true:
            untrue.append(name)
            click.echo(should.difference)
            if write:
                found[name].path.write_text(should.text)
    if untrue:
        done = "written anew: look at what has become of them" if write else "--write puts what is printed now there"
        raise click.ClickException(f"{', '.join(untrue)}; {done}")


if __name__ == "__main__":
    run(main, "walk")
