"""The page on an update from one image to another."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from nixdock.page.bars import bar_figure
from nixdock.page.document import html_document
from nixdock.page.layer_table import layer_key
from nixdock.page.markup import element, name, text
from nixdock.page.package_table import packages_that_change
from nixdock.page.pictures import image_bar, old_bar
from nixdock.page.references import references_of
from nixdock.page.sections import contents, header, section, tables, title_of
from nixdock.page.sheet import Sheet
from nixdock.page.styles import contents_legend, update_legend
from nixdock.page.tables import Cell, Column, Row, table
from nixdock.page.words import size_or_unknown
from nixdock.system.text import counted, size_text
from nixdock.view.model import ImageView, Status
from nixdock.view.sentence import update_sentence
from nixdock.view.update import Needless, TransferView, UpdateView

__all__ = ["page_of_update"]

_CLIENTS: Final = "Registries, containerd and Podman"
_DOCKER: Final = "Docker with its classic storage"


def page_of_update(update: UpdateView, document: Any) -> bytes:
    """Return the page on an update; `document` is embedded as data."""
    sheet = Sheet()
    new, old = update.new, update.old
    references = references_of(new, "p")
    moved, _, reason = update_sentence(update, name).partition(": ")
    lacking = [layer for layer in old.layers if layer.status in {Status.GONE, None}]
    figure = bar_figure(
        [
            old_bar("", old, new, f"old: {title_of(old)}"),
            image_bar("", new, f"new: {title_of(new)}"),
        ],
        update_legend(old, new),
        sheet,
    )
    parts = [
        header("diff", f"{moved[:1].upper()}{moved[1:]}", reason, _transfers(update)),
        section("Layers", "The old image over the new one, bottom first, to one scale.", figure),
    ]
    if update.packages:
        parts.append(section("Packages", "", packages_that_change(update.packages)))
    if update.needless:
        said = "The old image has these store paths too, but in layers that the new one has not."
        parts.append(section("What moves without need", said, _needless_table(update.needless)))
    parts += contents("", new, references, contents_legend(new), sheet)
    parts += tables("", new, lacking, references, sheet)
    body = element("main", element("article", "\n".join(parts)))
    title = f"{title_of(old)} to {title_of(new)} - nixdock"
    return html_document(title, body, sheet, document)


def _transfers(update: UpdateView) -> str:
    items = [
        element("div", element("dt", client) + element("dd", text(_transfer(transfer, update.new))))
        for client, transfer in ((_CLIENTS, update.registry), (_DOCKER, update.docker))
    ]
    return element("dl", "".join(items), class_="facts clients")


def _transfer(transfer: TransferView, new: ImageView) -> str:
    layers = counted(len(new.layers), "layer")
    said = f"{size_text(transfer.size)} in {transfer.layers} of {layers}"
    documents = (("config", transfer.config_size), ("manifest", transfer.manifest_size))
    return ", ".join([said, *(f"{key} {size_text(size)}" for key, size in documents if size)])


def _needless_table(needless: Iterable[Needless]) -> str:
    columns: list[Column[Needless]] = [
        Column("layer", "Layer", _layer, is_number=True),
        Column("title", "Contents", lambda each: Cell(name(each.title)), is_head=True),
        Column("size", "Size", lambda each: Cell(size_or_unknown(each.size), each.size), True),
        Column("paths", "Store paths", _count, is_number=True),
        Column("reason", "Why", lambda each: Cell(name(each.reason))),
    ]
    rows = [Row(f"needless{each.layer}", each) for each in needless]
    return table("What moves without need", columns, rows)


def _layer(needless: Needless) -> Cell:
    link = element("a", str(needless.layer), href=f"#{layer_key('', needless.layer)}")
    return Cell(link, needless.layer)


def _count(needless: Needless) -> Cell:
    return Cell(f"{needless.paths} of {needless.of}", needless.paths)
