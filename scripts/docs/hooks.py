"""What mkdocs is told beside mkdocs.yml: pages made at build time, and links that leave docs/.

- The home page, `contributing.md` and `changelog.md` are the repository's own files.
- `leaderboard.html` shows every archived run; the home page carries it.
- `reference/keys.md` is made from the YAML files and the declared keys (scripts/docs/keys.py).
- A picture that lies outside docs/ is copied into the site. Any other link to a file outside docs/
  goes to the repository where mkdocs.yml has a `repo_url`, and is a plain path where it has none.
"""

from __future__ import annotations

import os
import posixpath
import re
import sys
import tempfile
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(Path(__file__).parent)]

import keys  # noqa: E402

from hapens_bench.analysis.report.page import write_report  # noqa: E402
from hapens_bench.config.paths import shipped_archive  # noqa: E402

LEADERBOARD = "leaderboard.html"
ROOT_PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md"}
ROOT_PAGES |= {"CHANGELOG.md": "changelog.md"}
PICTURES = (".png", ".svg")
LINK = re.compile(r"(?P<bang>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)


def source_of(page: str) -> str:
    """Give the path in the repository that a page of the site is made from."""
    back = {made: source for source, made in ROOT_PAGES.items()}
    return back.get(page, f"docs/{page}")


def place(source: str) -> str | None:
    """Give the place in the site of a file of the repository, if it has one."""
    if source in ROOT_PAGES:
        return ROOT_PAGES[source]
    if source.startswith("docs/"):
        return source.removeprefix("docs/")
    return source if source.endswith(PICTURES) else None


def relinked(match: re.Match[str], page: str, repo_url: str | None) -> str:
    """Write a link as the site has it."""
    target, hash_sign, anchor = match["target"].partition("#")
    if not target or re.match(r"[a-z]+:", target):
        return match[0]
    source = posixpath.normpath(posixpath.join(posixpath.dirname(source_of(page)), target))
    here = place(source)
    if here is not None:
        link = posixpath.relpath(here, posixpath.dirname(page) or ".")
        return f"{match['bang']}[{match['text']}]({link}{hash_sign}{anchor})"
    if repo_url:
        return f"[{match['text']}]({repo_url.rstrip('/')}/blob/main/{source})"
    text = match["text"].strip("`")
    return f"`{source}`" if source.endswith(text.lstrip("./")) else f"{text} (`{source}`)"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are made here, and the pictures that pages show from outside docs/."""
    for source, made in ROOT_PAGES.items():
        files.append(File.generated(config, made, content=(ROOT / source).read_text()))
    files.append(File.generated(config, "reference/keys.md", content=keys.page()))
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / LEADERBOARD
        write_report(Path("results/archive"), page, shipped_archive())
        files.append(File.generated(config, LEADERBOARD, content=page.read_text()))
    for page in [file for file in files if file.is_documentation_page()]:
        for match in LINK.finditer(FENCE.sub("", page.content_string)):
            folder = posixpath.dirname(source_of(page.src_uri))
            source = posixpath.normpath(posixpath.join(folder, match["target"]))
            outside = not source.startswith(("docs/", ".."))
            if outside and source.endswith(PICTURES) and files.get_file_from_path(source) is None:
                files.append(File.generated(config, source, abs_src_path=os.fspath(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite the links of a page, code left as it is."""
    parts, end = [], 0
    for fence in [*FENCE.finditer(markdown), None]:
        text = markdown[end : fence.start() if fence else len(markdown)]
        parts.append(
            LINK.sub(lambda match: relinked(match, page.file.src_uri, config.repo_url), text)
        )
        if fence:
            parts.append(fence[0])
            end = fence.end()
    if page.file.src_uri == "index.md":
        parts.append(
            f"\n## Leaderboard\n\nEvery archived run ([full page]({LEADERBOARD})):\n\n"
            f'<iframe src="{LEADERBOARD}" title="Leaderboard" class="leaderboard"></iframe>\n'
        )
    return "".join(parts)
