"""Traces of images that change over time: invented updates of real reference graphs.

A product is a graph of packages with versions. As in Nix, an update of a package gives it another
version and hash, and all packages that refer to it, directly or not, another hash.
"""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from nixdock.layering.package_keys import package_keys, version_of
from nixdock.nix.closure import Closure, PathInfo
from nixdock.nix.hashes import base32_encode
from nixdock.nix.store_path import StorePath

__all__ = [
    "APP",
    "Package",
    "Product",
    "app_steps",
    "churn_steps",
    "common_extra",
    "due_together",
    "extras_of",
    "single_steps",
    "weekly_steps",
]

APP = "app"
_APP_SIZE = 20_000_000
_WRAPPERS = {"app-config": 12_000, "entrypoint": 3_000}

# Updates per year, counted over three years of Debian's stable release.
_RATES = {
    "chromium": 47.6,
    "libsystemd0": 7.6,
    "libudev1": 7.6,
    "libssl3": 4.9,
    "openssl": 4.9,
    "libpq5": 4.9,
    "postgresql": 4.9,
    "curl": 4.4,
    "libcurl4": 4.4,
    "libcurl3-gnutls": 4.4,
    "imagemagick": 4.4,
    "libmagickcore": 4.4,
    "libc6": 4.1,
    "php8.2-common": 4.1,
    "nginx": 2.9,
    "python3.11-minimal": 2.6,
    "libglib2.0": 2.6,
    "tzdata": 2.3,
    "libgnutls30": 2.0,
    "nodejs": 1.7,
    "libxml2": 1.7,
    "libpng16": 1.7,
    "libexpat1": 1.5,
    "libkrb5": 1.5,
}
# The other packages: cumulative shares of them, and their updates per year.
_OTHER_RATES = ((0.87, 0.0), (0.96, 0.45), (1.0, 1.7))
_WEEKS = 52


@dataclass(frozen=True)
class Package:
    """A store path without its hash; packages of one source are updated together.

    `references` are the keys of packages.
    """

    name: str
    source: str
    size: int
    references: tuple[str, ...]


@dataclass(frozen=True)
class Product:
    """The packages of an image by key, with the numbers of updates and rebuilds of each."""

    name: str
    packages: Mapping[str, Package] = field(repr=False)
    updates: Mapping[str, int] = field(default_factory=dict, repr=False)
    rebuilds: Mapping[str, int] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, name: str, closure: Closure) -> Product:
        """Return the packages of a closure, adding an app and its wrappers if it has no app."""
        keys = {path: key for key, path in package_keys(closure.infos).items()}
        packages = {
            keys[info.path]: Package(
                name=info.path.name,
                source=version_of(info.path) or keys[info.path],
                size=info.nar_size,
                references=tuple(keys[r] for r in info.references if r != info.path),
            )
            for info in closure
        }
        if APP not in packages:
            roots = tuple(sorted(keys[path] for path in closure.roots))
            packages[APP] = Package("app-1.0.0", APP, _APP_SIZE, roots)
            below: tuple[str, ...] = (APP,)
            for wrapper, size in _WRAPPERS.items():
                packages[wrapper] = Package(f"{wrapper}-1.0.0", APP, size, below)
                below = (APP, wrapper)
        for key in (APP, *_WRAPPERS):
            packages[key] = replace(packages[key], source=APP)
        return cls(name, packages)

    def updated(self, *sources: str) -> Product:
        """Return the product with a new version of every package of `sources`."""
        keys = [key for key, package in self.packages.items() if package.source in sources]
        return replace(self, updates=_counted_up(self.updates, keys))

    def rebuilt(self, key: str) -> Product:
        """Return the product with another build of the same version of a package."""
        return replace(self, rebuilds=_counted_up(self.rebuilds, [key]))

    def with_extra(self, key: str, packages: Mapping[str, Package]) -> Product:
        """Return the product with more `packages`; the app refers to the one with `key`."""
        app = self.packages[APP]
        used = replace(app, references=(*app.references, key))
        return replace(self, packages={**self.packages, **packages, APP: used})

    def without_extra(self, keys: Iterable[str]) -> Product:
        """Return the product without packages that only the app uses."""
        removed = frozenset(keys)
        packages = {
            key: replace(p, references=tuple(r for r in p.references if r not in removed))
            for key, p in self.packages.items()
            if key not in removed
        }
        return replace(self, packages=packages)

    def closure(self) -> Closure:
        """Return the closure; a path's hash depends on its name, build and references."""
        paths: dict[str, StorePath] = {}
        infos = []
        for key in self._references_first():
            package = self.packages[key]
            updates = self.updates.get(key, 0)
            references = tuple(sorted(paths[r] for r in package.references))
            name = f"{package.name}+u{updates}" if updates else package.name
            text = "\n".join([name, str(self.rebuilds.get(key, 0)), *references])
            digest = hashlib.sha256(text.encode()).digest()
            paths[key] = StorePath.parse(f"/nix/store/{base32_encode(digest[:20])}-{name}")
            # A new version is a little larger or smaller.
            jitter = random.Random(name).uniform(0.97, 1.03) if updates else 1.0
            infos.append(PathInfo(paths[key], int(package.size * jitter), None, references))
        return Closure.of(infos)

    def _references_first(self) -> list[str]:
        """Return the keys, references before the packages that refer to them."""
        done: dict[str, None] = {}
        stack = [*self.packages]
        while stack:
            missing = [r for r in self.packages[stack[-1]].references if r not in done]
            if missing:
                stack += missing
            else:
                done.setdefault(stack.pop())
        return [*done]


def _counted_up(counts: Mapping[str, int], keys: Iterable[str]) -> dict[str, int]:
    return {**counts, **{key: counts.get(key, 0) + 1 for key in keys}}


def app_steps(product: Product, steps: int) -> Iterator[Product]:
    """Release the app again and again."""
    for _ in range(steps):
        yield product
        product = product.updated(APP)


def single_steps(product: Product, steps: int) -> Iterator[Product]:
    """Rebuild one random package at a time, and with it all packages that refer to it."""
    draw = random.Random(product.name)
    for _ in range(steps):
        yield product
        product = product.rebuilt(draw.choice(sorted(product.packages)))


def weekly_steps(product: Product, steps: int, weeks: int = 1) -> Iterator[Product]:
    """Release the app every `weeks` weeks, with the updates of dependencies since."""
    draw = random.Random(f"{product.name} weekly")
    rates = _source_rates(product)
    for _ in range(steps):
        yield product
        due = [
            s for s, rate in rates.items() if draw.random() < 1 - math.exp(-rate * weeks / _WEEKS)
        ]
        product = product.updated(APP, *due)


def due_together(products: Iterable[Product], steps: int, weeks: int) -> Iterator[tuple[str, ...]]:
    """Yield the sources of the products that are due every `weeks` weeks, with the apps."""
    rates: dict[str, float] = {}
    for product in products:
        for source, rate in _source_rates(product).items():
            rates[source] = max(rate, rates.get(source, 0.0))
    draw = random.Random("together")
    for _ in range(steps):
        yield (
            APP,
            *(
                source
                for source, rate in sorted(rates.items())
                if draw.random() < 1 - math.exp(-rate * weeks / _WEEKS)
            ),
        )


def churn_steps(product: Product, steps: int) -> Iterator[Product]:
    """Add or remove a dependency of the app in every release, four weeks apart."""
    draw = random.Random(f"{product.name} churn")
    extras = _extras(draw, product, 16)
    present: set[int] = set()
    rates = _source_rates(product)
    for _ in range(steps):
        yield product
        due = [s for s, rate in rates.items() if draw.random() < 1 - math.exp(-rate * 4 / _WEEKS)]
        product = product.updated(APP, *due)
        number = draw.randrange(len(extras))
        if number in present:
            present.remove(number)
            product = product.without_extra(extras[number])
        else:
            present.add(number)
            product = product.with_extra(next(iter(extras[number])), extras[number])


def extras_of(product: Product, count: int) -> list[dict[str, Package]]:
    """Return `count` packages that the product doesn't have, each with those that only it needs."""
    return _extras(random.Random(f"{product.name} extras"), product, count)


def common_extra(products: Iterable[Product], size: int) -> dict[str, Package]:
    """Return a package that refers to some of those that all products have."""
    common = set.intersection(*(set(product.packages) for product in products))
    references = tuple(sorted(common - {APP, *_WRAPPERS})[:3])
    return {"common": Package("common-1.0", "common", size, references)}


def _extras(draw: random.Random, product: Product, count: int) -> list[dict[str, Package]]:
    return [_extra(draw, product, number) for number in range(count)]


def _extra(draw: random.Random, product: Product, number: int) -> dict[str, Package]:
    """Return a package that the product doesn't have, and up to three that only it needs.

    The package that the app uses is the first.
    """
    usable = sorted(set(product.packages) - {APP, *_WRAPPERS})
    packages: dict[str, Package] = {}
    below: tuple[str, ...] = ()
    for part in reversed(range(draw.randint(1, 4))):
        name = f"extra{number}-{part}.0"
        size = int(min(draw.lognormvariate(12.5, 1.8), 5e7))
        references = {*below, *draw.sample(usable, min(3, len(usable)))}
        key = f"extra{number}.{part}"
        packages = {key: Package(name, key, size, tuple(sorted(references))), **packages}
        below = (key,)
    return packages


def _source_rates(product: Product) -> dict[str, float]:
    """Return the updates per year of each source, except the app."""
    rates: dict[str, float] = {}
    for key, package in sorted(product.packages.items()):
        if package.source == APP:
            continue
        known = next((rate for name, rate in _RATES.items() if key.startswith(name)), None)
        chance = random.Random(f"source {package.source}").random()
        other = next(rate for bound, rate in _OTHER_RATES if chance < bound)
        rates[package.source] = max(rates.get(package.source, 0.0), known or other)
    return rates
