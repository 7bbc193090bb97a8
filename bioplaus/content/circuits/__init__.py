"""The package that circuits/ of the user's study and of bioplaus are loaded into, file by file."""

from bioplaus.content.path import SearchPath

__path__ = SearchPath("circuits")  # type: ignore[assignment]  # any sequence of folders will do
