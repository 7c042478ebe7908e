"""Words, stems and sentences: text processing shared by all stages."""
