"""`utxod convert`: an embedded set of an older version becomes one of this version, and it is said how far it came."""

import contextlib

import click

from store.layout import is_key
from store.opening import open_conversion

from .plurals import many
from .rendering import count_progress


def convert_set(url: str, keep_damaged: bool) -> None:
    """keep_damaged: a record that is damaged stays so, and is named. Raises ValueError where the URL is no embedded
    set's, StoreError where the set cannot be converted now, or the conversion cannot go on."""
    with contextlib.closing(open_conversion(url, keep_damaged=keep_damaged)) as conversion:
        if not conversion.is_needed:
            click.echo("the set has this version's layout already: there is nothing to convert")
            return
        try:
            with count_progress("converting", conversion.total) as progress:
                progress(conversion.done)
                for records in conversion.steps():
                    progress(records)
        except KeyboardInterrupt:
            came = f"{conversion.done} of {conversion.total} records are converted"
            click.echo(f"{came}; asked again, it goes on", err=True)
            raise
        for key in conversion.damaged:
            problem = "is damaged" if is_key(key) else "is no record's key"
            click.echo(f"{key.hex()} {problem}, and was left as it is", err=True)
        click.echo(f"{many(conversion.done, 'record')} converted")
