"""Makes the pictures in docs/pictures: the page and `utxod top`, under load and in each fault."""

from tests.pictures.command import main

main()
