"""Apps of the user's as subjects: a callable, a LangChain Runnable, an HTTP endpoint."""

import inspect
from typing import Any

from harness.evaluation.subject import Subject
from harness.evaluation.subjects.endpoint import EndpointSubject
from harness.evaluation.subjects.function import FunctionSubject
from harness.evaluation.subjects.runnable import RunnableSubject
from serving.pipeline.errors import ConfigError
from serving.pipeline.models.prices import PACKAGE, PriceList
from serving.pipeline.packages import add_current_folder, import_object

__all__ = ["EndpointSubject", "FunctionSubject", "RunnableSubject", "load_subject", "subject_of"]


def subject_of(app: Any, name: str = "", prices: PriceList = PACKAGE) -> Subject:
    """The subject that an object is, or makes: a subject as it is, a Runnable, or anything that is called with a question."""
    from langchain_core.runnables import Runnable

    if {"answer", "identity", "clock", "serial"} <= set(dir(app)):  # not `isinstance`, which would ask for the identity
        subject: Subject = app
        return subject
    if isinstance(app, Runnable):
        return RunnableSubject(app, name=name, prices=prices)
    if callable(app) and not isinstance(app, type):
        return FunctionSubject(app, name=name)
    if inspect.iscoroutine(app):
        app.close()  # else Python warns of it too, somewhere else
        raise ConfigError(f"{app.__qualname__} was not awaited: await it, or write run(…) around it.")
    raise ConfigError(f"{name or repr(app)[:100]} answers no questions: give a function of a question, a LangChain Runnable, or a Subject.")


def load_subject(word: str, prices: PriceList = PACKAGE) -> Subject:
    """The app behind `https://…` or `module:attribute`."""
    add_current_folder()
    return EndpointSubject(word) if word.startswith(("http://", "https://")) else subject_of(import_object(word, repr(word)), word, prices)
