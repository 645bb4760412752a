"""From `module:Class` or `path/file.py:Class` to the service."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from pathlib import Path
from types import ModuleType

from pssmr import Service
from pssmr._core import NativeService
from pssmr.cluster_fields import nearest
from pssmr.errors import ConfigError


def load_service_class(application: str) -> type[Service]:
    """The service class that `application` names.

    Args:
        application: `module:Class` or `path/file.py:Class`. Without `:Class`, the only service of the module.

    Raises:
        ConfigError: If there is none.
    """
    place, _, name = application.partition(":")
    module = _load_file(Path(place), application) if place.endswith(".py") else _load_module(place, application)
    own = {
        each: value
        for each, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, Service) and value is not Service
    }
    if not name:
        defined_here = [value for value in own.values() if value.__module__ == module.__name__]
        if len(defined_here) != 1:
            found = ", ".join(own) or "none"
            raise ConfigError(
                f"{place} has {len(defined_here)} services ({found})",
                field="APP",
                remedy=f"say which: {place}:Class",
            )
        return defined_here[0]
    value: object = module
    for part in name.split("."):
        value = getattr(value, part, None)
    if value is None:
        raise ConfigError(
            f"{place} has nothing called {name!r}{nearest(name, own)}",
            field="APP",
            remedy=f"its services are {', '.join(own) or 'none'}",
        )
    if not (isinstance(value, type) and issubclass(value, Service)):
        raise ConfigError(
            f"{application!r} is no service class but {value!r}", field="APP", remedy="derive it from pssmr.Service"
        )
    return value


def new_service(application: str) -> Service | NativeService:
    """A new service of the class that `application` names, or, as `native:NAME`, one in Rust.

    Raises:
        ConfigError: If there is no such class, or it can't be made without arguments.
    """
    place, _, name = application.partition(":")
    if place == "native":
        try:
            return NativeService(name)
        except ValueError as error:
            raise ConfigError(str(error), field="APP", remedy="write native:null or native:key_value") from None
    service_class = load_service_class(application)
    require_no_arguments(service_class)
    return service_class()


def require_no_arguments(service_class: type[Service]) -> None:
    """Lets a class pass that can be made as replicas do it.

    Raises:
        ConfigError: If it takes arguments.
    """
    required = [
        each.name
        for each in inspect.signature(service_class).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    if required:
        raise ConfigError(
            f"{service_class.__name__} takes {', '.join(required)}",
            field="APP",
            remedy="every replica makes its service without arguments: give them defaults",
        )


def _load_module(name: str, application: str) -> ModuleType:
    if not all(part.isidentifier() for part in name.split(".")):
        raise ConfigError(
            f"{application!r} names no module", field="APP", remedy="write module:Class or path/file.py:Class"
        )
    # As `python -m` does: modules of the current directory are found.
    if "" not in sys.path and str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(f"{error.name}.")):
            raise
        raise ConfigError(
            f"there is no module {name!r}",
            field="APP",
            remedy="run it where the module is, or write path/file.py:Class",
        ) from None


def _load_file(file: Path, application: str) -> ModuleType:
    if not file.is_file():
        raise ConfigError(f"there is no file {str(file)!r}", field="APP", remedy="write path/file.py:Class")
    # As `python file.py` does: what lies beside it is found.
    folder = str(file.resolve().parent)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    loaded = sys.modules.get(file.stem)
    if loaded is not None and getattr(loaded, "__file__", None) == str(file.resolve()):
        return loaded
    spec = importlib.util.spec_from_file_location(file.stem, file.resolve())
    if spec is None or spec.loader is None:
        raise ConfigError(f"{application!r} is no Python file", field="APP", remedy="write path/file.py:Class")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[file.stem]
        raise
    return module
