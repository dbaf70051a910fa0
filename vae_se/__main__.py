"""``python -m vae_se`` is ``vae-se``."""

from .cli import main

if __name__ == "__main__":
    main()
