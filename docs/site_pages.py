"""Hook of mkdocs: pages that do not lie in docs/, and links that leave it.

The texts stay as GitHub shows them. Here README.md, eval/ and the notebooks become pages of the site, every
package becomes a page of the API reference, and each link is turned to where its target is on the site. A link
to a file that is not on the site, such as a test, becomes plain text.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]

#: Files outside of docs/ that are on the site, and their places there.
RENAMED = {
    "README.md": "overview.md",
    "CHANGELOG.md": "changes.md",
    ".github/CONTRIBUTING.md": "contributing.md",
    ".github/SECURITY.md": "security.md",
}
COPIED = ("eval/README.md", "eval/experiments.md", "eval/results/*.md", "eval/results/*.png", "examples/*.png",
          "examples/*.wav")  # fmt: skip

#: $$ an equation on a line of its own $$, or $one in the text$.
_EQUATION = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+?)\$", re.DOTALL)
_LINK = re.compile(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)")


def packages() -> dict[str, list[str]]:
    """Dotted names of the modules of each page of the API reference, in order: ``vae_se`` and its packages."""
    pages: dict[str, list[str]] = {}
    for path in sorted((ROOT / "vae_se").rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] == "__main__":
            continue
        module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        page = parts[1] if len(parts) > 2 else "vae_se"
        pages.setdefault(page, []).append(module)
    return {page: sorted(modules) for page, modules in sorted(pages.items())}


def place_of(path: str) -> str | None:
    """Where a file or folder of the repository is on the site, or None where it is not."""
    if path in RENAMED:
        return RENAMED[path]
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path.startswith("vae_se/") and (path.endswith(".py") or (ROOT / path).is_dir()):
        parts = path.removesuffix(".py").strip("/").split("/")
        top = parts[1] if len(parts) > 2 or (ROOT / path).is_dir() else "vae_se"
        return f"api/{top}.md#{'.'.join(parts)}"
    if path.endswith(".ipynb"):
        return path.removesuffix(".ipynb") + ".md"
    if any(Path(path).match(pattern) and (ROOT / path).is_file() for pattern in COPIED):
        return path
    return None


def origin_of(page: str) -> str:
    """The file of the repository that a page of the site was made from."""
    back = {place: path for path, place in RENAMED.items()}
    if page in back:
        return back[page]
    if page.startswith("examples/") and page.endswith(".md"):
        return page.removesuffix(".md") + ".ipynb"
    outside = page.startswith("eval/") or (ROOT / page).is_file()
    return page if outside else f"docs/{page}"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Add the generated pages to the navigation."""
    results = [f"eval/results/{path.name}" for path in sorted((ROOT / "eval/results").glob("*.md"))]
    config.nav += [
        {"Notebooks": [str(Path("examples", p.stem + ".md")) for p in sorted(ROOT.glob("examples/*.ipynb"))]},
        {"Evaluation": ["eval/README.md", "eval/experiments.md", {"Results": results}]},
        {"API": [{page: f"api/{page}.md"} for page in packages()]},
        {"Project": ["changes.md", "contributing.md", "security.md"]},
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files from outside of docs/, and the generated pages."""
    for path, place in RENAMED.items():
        files.append(File.generated(config, place, content=(ROOT / path).read_text(encoding="utf-8")))
    for pattern in COPIED:
        for path in ROOT.glob(pattern):
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    for path in ROOT.glob("examples/*.ipynb"):
        name = f"examples/{path.stem}.md"
        files.append(File.generated(config, name, content=from_notebook(json.loads(path.read_text()))))
    for page, modules in packages().items():
        title = "vae_se" if page == "vae_se" else f"vae_se.{page}"
        text = [f"# {title}\n"] + [
            f"::: {module}\n    options:\n      heading_level: 2\n" for module in modules
        ]
        files.append(File.generated(config, f"api/{page}.md", content="\n".join(text)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links to where their targets are on the site."""
    here = page.file.src_uri
    if here.startswith("api/"):
        return markdown
    folder = posixpath.dirname(origin_of(here))

    def turned(match: re.Match[str]) -> str:
        picture, label, target = match.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("data:") or not path:
            return match[0]
        place = place_of(posixpath.normpath(posixpath.join(folder, path)))
        if place is None:
            return label
        link = os.path.relpath(place, posixpath.dirname(here) or ".")
        return f"{picture}[{label}]({link}{f'#{anchor}' if anchor else ''})"

    return _LINK.sub(turned, markdown)


def from_notebook(notebook: dict[str, Any]) -> str:
    """A notebook as Markdown: text, code, and outputs that are text, pictures or sound."""
    parts = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append(_EQUATION.sub(_mathml, source))
            continue
        parts.append(f"```python\n{source}\n```")
        parts += [shown for output in cell.get("outputs", []) if (shown := _output(output))]
    return "\n\n".join(parts) + "\n"


def _mathml(match: re.Match[str]) -> str:
    """An equation as MathML, which browsers show without a script."""
    alone, inline = match.groups()
    return convert(alone or inline, display="block" if alone else "inline")


def _output(output: dict[str, Any]) -> str:
    """One output of a cell as Markdown; "" for one that cannot be shown."""
    if "text" in output:
        return "```text\n" + "".join(output["text"]).rstrip() + "\n```"
    data = output.get("data", {})
    for kind in ("image/png", "image/jpeg"):
        if kind in data:
            return f"![](data:{kind};base64,{''.join(data[kind]).strip()})"
    html = "".join(data.get("text/html", ""))
    if "<audio" in html:
        return "\n".join(line.strip() for line in html.splitlines() if line.strip())
    plain = "".join(data.get("text/plain", ""))
    return f"```text\n{plain}\n```" if plain else ""
