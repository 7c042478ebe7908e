"""Words, stems and sentences: how text is read, once for all rooms."""
