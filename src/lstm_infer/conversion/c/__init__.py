"""A stream of a model as a folder of C that needs nothing but a compiler."""

from .form import CForm

FORM = CForm()
