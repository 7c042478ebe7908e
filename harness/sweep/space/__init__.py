"""What a sweep may vary: ranges, knobs, the ends that they can reach."""
