"""From files to stable text: the table of loaders, by suffix."""

from serving.pipeline.index.loaders.base import LoadedText, Loader
from serving.pipeline.registry import Registry

__all__ = ["LOADERS", "LoadedText", "Loader", "unread"]

LOADERS = Registry[Loader](
    "loader",
    {
        ".txt": "serving.pipeline.index.loaders.text:TextLoader",
        ".text": "serving.pipeline.index.loaders.text:TextLoader",
        ".md": "serving.pipeline.index.loaders.markdown:MarkdownLoader",
        ".markdown": "serving.pipeline.index.loaders.markdown:MarkdownLoader",
        ".html": "serving.pipeline.index.loaders.html:HtmlLoader",
        ".htm": "serving.pipeline.index.loaders.html:HtmlLoader",
        ".pdf": "serving.pipeline.index.loaders.pdf:PdfLoader",
        ".docx": "serving.pipeline.index.loaders.docx:DocxLoader",
    },
    group="loaders",
    protocol=Loader,
)


def unread(suffix: str) -> str:
    """Why a file of a suffix that no loader reads is skipped."""
    return f"no loader for {suffix!r}" if suffix else "no suffix that says what it is"
