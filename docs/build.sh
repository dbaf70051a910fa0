#!/usr/bin/env bash
# Build the documentation site into build/site, in an environment of its own; about two minutes with the install.
# Afterwards: python3 -m http.server -d build/site
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
environment=${1:-build/docs-environment}
if [ ! -x "$environment/bin/mkdocs" ]; then
  python3 -m venv "$environment"
  # The requirements of the extra "docs" alone: the reference is made from the source, without importing it.
  python3 -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["docs"], sep="\n")' |
    "$environment/bin/pip" install -q -r /dev/stdin
fi
"$environment/bin/mkdocs" build --strict
